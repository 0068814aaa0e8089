"""What a user can get wrong: one clear message each, and nothing is changed."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import HOME


def assert_one_clear_message(ended, *, says: str) -> None:
    assert ended.state == "failed"
    explained = [line for line in ended.errors if re.search(says, line)]
    assert explained, f"no error says {says!r}: {ended.errors}"
    assert "Traceback" not in ended.log
    assert len([line for line in ended.errors if "Task exited" not in line]) == 2, "the plan's, and the report's"


# The conf's problem to what is said about it; none of these begins a run.
REFUSED_CONFS = [
    ({"source": "s3a://shop/", "destination": "az://lake/"}, r'unknown scheme "s3a".*did you mean s3://'),
    ({"source": "s3://", "destination": "az://lake/"}, r"names no bucket"),
    ({"source": "s3://shop/", "destination": "az://lake/", "soruce": 1}, r'"soruce".*did you mean "source"'),
    ({"source": "s3://shop/", "destination": "az://lake/", "copy": "yes"}, r'copy is "yes"; expected true or false'),
    (
        {"source": "s3://shop/", "destination": "az://lake/", "max_objects_in_flight": "12"},
        r'max_objects_in_flight is "12"; expected a whole number from 1 to 256',
    ),
    ({"source": "s3://shop/a/", "destination": "s3://shop/a/b/"}, r"inside source"),
    ({"source": "s3://shop/"}, r"destination is missing"),
    ({"id": "ordrs_to_lake"}, r'no route "ordrs_to_lake"; did you mean "orders_to_lake"'),
    ({}, r"source is missing"),
]


@pytest.mark.parametrize(("conf", "says"), REFUSED_CONFS, ids=[says for _, says in REFUSED_CONFS])
def test_a_wrong_conf_is_refused_before_anything_runs(airflow, conf, says):
    with pytest.raises(SystemExit, match=says):
        airflow.run(conf)


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"source_conn_id": "aws_defualt"}, r'source_conn_id "aws_defualt" may not be used .*aws_default'),
        ({"source_conn_id": "wasb_default"}, r'"wasb_default".*has the type "wasb"; expected "aws"'),
        ({"source": "s3://no-such-bucket-anywhere/"}, r"no bucket s3://no-such-bucket-anywhere/"),
        ({"data": "no/such/key.csv"}, r"there is no object s3://.*/no/such/key.csv"),
        ({"source": "file:///etc/"}, r"source: local folder file:///etc.* outside the allowed roots"),
        ({"source": f"file://{HOME}/roots/not-there/"}, r"not-there"),
    ],
)
def test_a_wrong_place_fails_the_run_with_one_message_and_changes_nothing(airflow, buckets, conf, says):
    source, destination = buckets.new("s3"), buckets.new("az", create=False)
    source.put("a.csv", b"1")
    ended = airflow.run(
        {"source": source.url, "destination": destination.url, "create_destination": True, "copy": False, **conf}
    )
    assert ended.tasks == {"plan": ["failed"], "copy": ["upstream_failed"], "report": ["failed"]}
    assert_one_clear_message(ended, says=says)
    assert source.content() == {"a.csv": b"1"}
    assert not destination.exists() or destination.content() == {}


def test_a_missing_destination_is_not_created_unasked(airflow, buckets):
    source, destination = buckets.new("s3"), buckets.new("gs", create=False)
    source.put("a.csv", b"1")
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert_one_clear_message(ended, says=r"gs://.*bucket does not exist.*create_destination")
    assert not destination.exists()


def test_an_allowed_connection_that_does_not_exist_is_named(airflow, buckets, monkeypatch):
    source, destination = buckets.new("s3"), buckets.new("az")
    monkeypatch.delenv("AIRFLOW_CONN_WASB_DEFAULT")
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert_one_clear_message(
        ended,
        says=r'no Airflow connection "wasb_default", which destination az://.*AIRFLOW_CONN_WASB_DEFAULT',
    )


def test_a_connection_without_credentials_does_not_use_the_machine_s(airflow, buckets, monkeypatch):
    source, destination = buckets.new("s3"), buckets.new("az")
    monkeypatch.setenv("AIRFLOW_CONN_WASB_DEFAULT", '{"conn_type": "wasb", "login": "someaccount"}')
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert_one_clear_message(ended, says=r'"wasb_default" has no credentials.*use_instance_metadata')
