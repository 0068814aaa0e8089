"""The request: strict values, one message for everything that is wrong, defaults by store, and what the form gets."""

from __future__ import annotations

import json
import time
from typing import cast

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.errors import RequestError
from skyferry.request import (
    TransferRequest,
    parameter_names,
    params_defaults,
    params_schema,
    request_from_conf,
)

GOOD: dict[str, object] = {"source": "s3://shop/orders", "destination": "az://lake/raw"}


def refused(conf: object) -> str:
    with pytest.raises(RequestError) as caught:
        request_from_conf(conf)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith("the ")
    assert len(message.splitlines()) == 1
    return message


def test_a_request_has_exactly_the_parameters_it_promises() -> None:
    assert set(parameter_names()) == {
        "id",
        "source",
        "source_conn_id",
        "destination",
        "destination_conn_id",
        "data",
        "include",
        "exclude",
        "min_age_seconds",
        "min_size_bytes",
        "max_size_bytes",
        "copy",
        "on_conflict",
        "verify",
        "dry_run",
        "max_objects_in_flight",
        "batch_objects",
        "batch_bytes",
        "order",
        "max_bytes_per_second",
        "max_requests_per_second",
        "max_objects",
        "max_bytes",
        "max_seconds",
        "create_destination",
    }


def test_only_source_and_destination_are_needed() -> None:
    request = request_from_conf(GOOD)
    assert request.to_conf() == {
        "id": "on-demand",
        "source": "s3://shop/orders/",
        "source_conn_id": "aws_default",
        "destination": "az://lake/raw/",
        "destination_conn_id": "wasb_default",
        "data": "",
        "include": [],
        "exclude": [],
        "min_age_seconds": 0,
        "min_size_bytes": 0,
        "max_size_bytes": None,
        "copy": True,
        "on_conflict": "replace_if_different",
        "verify": "checksum",
        "dry_run": False,
        "create_destination": False,
        "max_objects_in_flight": 128,
        "batch_objects": 1000,
        "batch_bytes": 4 * 1024**3,
        "order": "key",
        "max_bytes_per_second": "",
        "max_requests_per_second": None,
        "max_objects": None,
        "max_bytes": None,
        "max_seconds": None,
    }
    assert request_from_conf(request.to_conf()) == request
    assert request_from_conf(json.loads(json.dumps(request.to_conf()))) == request


@pytest.mark.parametrize(
    ("url", "conn_id"),
    [
        ("s3://shop", "aws_default"),
        ("az://lake", "wasb_default"),
        ("gs://archive", "google_cloud_default"),
        ("file:///srv/out", ""),
    ],
)
def test_an_empty_connection_means_the_default_of_the_store(url: str, conn_id: str) -> None:
    conf = {"source": url, "destination": "s3://other", "source_conn_id": ""}
    assert request_from_conf(conf).source_conn_id == conn_id
    assert request_from_conf(conf | {"source_conn_id": None}).source_conn_id == conn_id


def test_the_parsed_parts_of_a_request() -> None:
    request = request_from_conf({**GOOD, "data": "2026/*.csv", "copy": False})
    assert (request.source_location.kind, request.source_location.bucket, request.source_location.prefix) == (
        "s3",
        "shop",
        "orders/",
    )
    assert request.destination_location.url == "az://lake/raw/"
    assert request.selection.kind == "glob"
    assert request.keep_source is False


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_objects_in_flight", "12", 'max_objects_in_flight is "12"; expected a whole number from 1 to 256'),
        ("max_objects_in_flight", 12.0, "max_objects_in_flight is 12.0; expected a whole number"),
        ("max_objects_in_flight", True, "max_objects_in_flight is true; expected a whole number"),
        ("max_objects_in_flight", 0, "max_objects_in_flight is 0; expected"),
        ("max_objects_in_flight", 257, "max_objects_in_flight is 257; expected"),
        ("batch_objects", 100_001, "batch_objects is 100001; expected a whole number from 1 to 100,000"),
        ("max_bytes_per_second", "10", 'max_bytes_per_second is "10"; expected bytes a second such as 10M, or a'),
        ("max_requests_per_second", 0, "max_requests_per_second is 0; expected a whole number from 1 to 100,000, or"),
        ("max_seconds", 0, "max_seconds is 0; expected a whole number from 1 to"),
        ("batch_bytes", 1024**2 - 1, "batch_bytes is 1048575; expected a whole number from 1,048,576 to"),
        pytest.param("batch_bytes", 10**5000, "batch_bytes is a number of more than 19 digits", id="huge integer"),
        ("batch_bytes", float("nan"), "batch_bytes is nan; expected a whole number"),
        ("copy", "yes", 'copy is "yes"; expected true or false'),
        ("copy", 1, "copy is 1; expected true or false"),
        ("copy", None, "copy is null; expected true or false"),
        ("dry_run", "false", 'dry_run is "false"; expected true or false'),
        ("on_conflict", "overwrite", "expected one of replace_if_different, skip, replace, fail"),
        ("verify", None, "verify is null; expected one of checksum, readback"),
        ("id", "Orders", 'id is "Orders"; expected 1 to 63 lower-case letters'),
        ("id", "orders\n", 'id is "orders\\n"; expected 1 to 63'),
        ("id", "../x", 'id is "../x"'),
        ("id", "o" * 64, "id is"),
        ("source", "ftp://host", 'source "ftp://host" has the unknown scheme "ftp"'),
        ("source", None, "source is null; expected a URL such as s3://bucket/prefix"),
        ("source", ["s3://shop"], "source is a list of 1; expected a URL"),
        ("destination", {"url": "s3://shop"}, "destination is a group of 1 fields; expected a URL"),
        ("destination", "s3://shop/orders/copy", "destination s3://shop/orders/copy/ is inside source"),
        ("data", 7, "data is 7; expected a key, a folder, a glob, or nothing"),
        ("data", "s3://shop/x", "data is a URL"),
        ("data", "{a,b}" * 7, "64 alternatives"),
        ("include", "*.csv", 'include is "*.csv"; expected a list of at most 64 keys, folders or globs'),
        ("include", ["a", 5], "include.1 is 5; expected a list of at most 64"),
        ("exclude", ["a"] * 65, "exclude is a list of 65; expected a list of at most 64"),
        ("exclude", {"a": 1}, "exclude is a group of 1 fields; expected a list"),
        ("exclude", ["s3://shop/x"], "a pattern of exclude is a URL; expected a key, a folder or a glob"),
        ("include", ["{a,b}" * 7], "a pattern of include has more than 64 alternatives"),
        ("min_age_seconds", 1.5, "min_age_seconds is 1.5; expected a whole number from 0 to 316,224,000"),
        ("min_size_bytes", True, "min_size_bytes is true; expected a whole number"),
        ("min_size_bytes", -1, "min_size_bytes is -1; expected a whole number"),
        ("max_size_bytes", "7", 'max_size_bytes is "7"; expected a whole number from 0 to 1,125,899,906,842,624, or'),
        ("source_conn_id", "x" * 201, "source_conn_id is another text; expected the id of an Airflow connection"),
    ],
)
def test_each_wrong_value_is_named_with_what_was_expected(name: str, value: object, message: str) -> None:
    assert message in refused({**GOOD, name: value})


def test_the_sizes_must_fit_each_other() -> None:
    assert "min_size_bytes is 5 and max_size_bytes is 4" in refused({**GOOD, "min_size_bytes": 5, "max_size_bytes": 4})
    assert request_from_conf({**GOOD, "min_size_bytes": 5, "max_size_bytes": 5}).max_size_bytes == 5


def test_an_empty_line_of_the_form_is_no_pattern() -> None:
    request = request_from_conf({**GOOD, "include": ["", "*.csv", ""], "exclude": [""]})
    assert (request.include, request.exclude) == (("*.csv",), ())


def test_the_filter_of_a_request_has_all_that_selects() -> None:
    values: dict[str, object] = {
        "data": "2026/",
        "include": ["**/*.csv"],
        "exclude": ["2026/tmp/"],
        "min_age_seconds": 30,
        "min_size_bytes": 1,
        "max_size_bytes": 9,
    }
    assert request_from_conf({**GOOD, **values}).object_filter.to_json() == values


def test_a_local_folder_takes_no_connection() -> None:
    message = refused({"source": "file:///srv/out", "source_conn_id": "aws_default", "destination": "s3://shop"})
    assert "source_conn_id is set, but the source is a local folder" in message


def test_what_is_missing_is_named() -> None:
    for conf in ({}, None):
        message = refused(conf)
        assert "2 parameters are wrong" in message
        assert "source is missing" in message
        assert "destination is missing" in message


def test_everything_that_is_wrong_is_in_one_message() -> None:
    message = refused({**GOOD, "copy": "no", "verify": "size", "sourc": "s3://shop", "batch_objects": -1})
    for part in (
        "4 parameters are wrong",
        '"sourc" is not',
        'did you mean "source"?',
        "copy is",
        "verify is",
        "batch_objects is",
    ):
        assert part in message


def test_a_name_of_nothing_known_gets_the_list_of_names() -> None:
    assert "known: id, source, destination, data, include" in refused({**GOOD, "aws_secret_access_key": "SECRET"})
    assert "SECRET" not in refused({**GOOD, "aws_secret_access_key": "SECRET"})
    assert '"keep_source" is not a known name' in refused({**GOOD, "keep_source": True})
    assert '"5" is not a known name' in refused({**GOOD, 5: 1})


@pytest.mark.parametrize("conf", [[], "source", 5, True, [GOOD]])
def test_a_conf_that_is_no_object_is_refused(conf: object) -> None:
    assert "expected an object of names and values" in refused(conf)


@pytest.mark.parametrize(
    "conf",
    [
        {"source_conn_id": "aws://AKIA:SECRET@/"},
        {"source": "s3://AKIA:SECRET@shop"},
        {"destination": "https://lake.blob.core.windows.net/raw?sig=SECRET"},
        {"source_conn_id": {"password": "SECRET"}},
    ],
)
def test_a_secret_is_not_repeated(conf: dict[str, object]) -> None:
    assert "SECRET" not in refused(GOOD | conf)


def test_braces_and_percent_signs_in_values_are_only_characters() -> None:
    message = refused({"source": "s3://shop/{key!r}%s{0}", "destination": "s3://shop/{key!r}%s{0}/{{ x }}"})
    assert "s3://shop/{key!r}%s{0}/{{ x }}/ is inside" in message


def test_a_hostile_conf_costs_little_and_its_message_is_short() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    conf: dict[str, object] = {
        "source": "s3://shop/" + "a" * 10_000_000,
        "destination": "{" * 10_000_000,
        "data": "{" * 10_000_000,
        "copy": deep,
        "\x1b[2J" * 100_000: 1,
        **{f"unknown{number}": number for number in range(100_000)},
    }
    started = time.process_time()
    message = refused(conf)
    assert time.process_time() - started < 2  # measured: 0.03 s
    assert len(message) < 4000
    assert "100,005 parameters are wrong" in message
    assert "\x1b" not in message


@given(
    st.dictionaries(
        st.sampled_from(parameter_names()),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_any_conf_is_a_request_or_one_clear_error(values: dict[str, object]) -> None:
    try:
        request = request_from_conf({**GOOD, **values})
    except RequestError as error:
        message = str(error)
    else:
        message = ""
        assert request_from_conf(request.to_conf()) == request
    assert len(message.splitlines()) <= 1
    assert len(message) < 4000


def test_a_request_cannot_be_changed() -> None:
    request = request_from_conf(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        request.data = "other"  # type: ignore[misc]


# What the form and REST get


@pytest.mark.parametrize("name", parameter_names())
def test_each_parameter_has_what_a_form_shows(name: str) -> None:
    schema = params_schema()[name]
    for needed in ("type", "title", "description", "section", "examples"):
        assert schema[needed], needed
    assert not {"default", "expected"} & set(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    for example in cast("list[object]", schema["examples"]):
        jsonschema.validate(example, schema)
        if not name.endswith("conn_id"):
            request_from_conf({**GOOD, name: example})
    if name in params_defaults():
        jsonschema.validate(params_defaults()[name], schema)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "ftp://host"),
        ("source", "s3://shop?sig=SECRET"),
        ("source", None),
        ("id", "../x"),
        ("max_objects_in_flight", 257),
        ("max_objects_in_flight", "12"),
        ("batch_bytes", 1),
        ("copy", "yes"),
        ("verify", "size"),
        ("data", "k" * 1025),
        ("include", "*.csv"),
        ("exclude", [5]),
        ("exclude", ["x"] * 65),
        ("min_age_seconds", -1),
        ("max_size_bytes", "7"),
    ],
)
def test_the_schema_refuses_before_a_run_exists(name: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, params_schema()[name])


def test_an_emptied_field_of_the_form_is_null_and_means_its_default() -> None:
    texts = ("id", "data", "source_conn_id", "destination_conn_id")
    for name in (*texts, "include", "exclude", "min_age_seconds", "min_size_bytes", "max_size_bytes"):
        jsonschema.validate(None, params_schema()[name])
        assert request_from_conf({**GOOD, name: None}) == request_from_conf(GOOD)


def test_a_request_is_made_by_the_names_of_its_parameters() -> None:
    request = TransferRequest(source="s3://shop", destination="file:///srv/in", copy=False)
    assert request.keep_source is False
