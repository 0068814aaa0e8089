"""Routes: the examples, each kind of mistake with file and line, and folders in which some files are wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from skyferry.config_folder import project_folder
from skyferry.detect.consumption import ConsumeOptions
from skyferry.errors import RequestError, RouteConfigError, UnknownRouteError
from skyferry.reference import route_schema_text
from skyferry.request import request_from_conf
from skyferry.route_detection import DetectFiles, DetectQueue
from skyferry.routes import Route, find_route, load_route, load_routes, route_ids, routes_folder

GOOD = """\
id: orders
source: {url: s3://shop/orders}
destination:
  url: az://lake/raw
"""


def written(folder: Path, text: str, name: str = "orders") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    written(folder, text)
    routes, found = load_routes(folder)
    assert routes == []
    return [str(problem).removeprefix(f"{folder}/") for problem in found]


def test_a_short_route_has_the_defaults_of_a_request(tmp_path: Path) -> None:
    route = load_route(written(tmp_path, GOOD))
    assert (route.description, route.schedule) == ("", None)
    conf = {"id": "orders", "source": "s3://shop/orders", "destination": "az://lake/raw"}
    assert route.request() == request_from_conf(conf)


def test_each_field_of_a_route_reaches_the_request(tmp_path: Path) -> None:
    text = """\
id: orders
description: Orders
source: {url: "s3://shop/orders", conn_id: aws_shop}
destination: {url: "gs://archive", conn_id: gcs_archive, create: true}
data: "**/*.csv"
select: {include: [2026/], exclude: [tmp/, "*.part"], min_age_seconds: 30, min_size_bytes: 1, max_size_bytes: 99}
schedule: "*/10 * * * *"
copy: {keep_source: false, on_conflict: fail, verify: readback}
limits:
  {max_objects_in_flight: 8, batch_objects: 50, batch_bytes: 1048576, order: largest_first, max_bytes_per_second: 10M,
   max_requests_per_second: 99, max_objects: 7, max_bytes: 8, max_seconds: 9}
"""
    route = load_route(written(tmp_path, text))
    assert route.schedule == "*/10 * * * *"
    assert route.request().to_conf() == {
        "id": "orders",
        "source": "s3://shop/orders/",
        "source_conn_id": "aws_shop",
        "destination": "gs://archive/",
        "destination_conn_id": "gcs_archive",
        "create_destination": True,
        "data": "**/*.csv",
        "include": ["2026/"],
        "exclude": ["tmp/", "*.part"],
        "min_age_seconds": 30,
        "min_size_bytes": 1,
        "max_size_bytes": 99,
        "copy": False,
        "on_conflict": "fail",
        "verify": "readback",
        "dry_run": False,
        "max_objects_in_flight": 8,
        "batch_objects": 50,
        "batch_bytes": 1048576,
        "order": "largest_first",
        "max_bytes_per_second": "10M",
        "max_requests_per_second": 99,
        "max_objects": 7,
        "max_bytes": 8,
        "max_seconds": 9,
    }


def test_the_examples_are_valid_and_match_their_schema() -> None:
    routes, found = load_routes(project_folder() / "include/config/routes")
    assert found == []
    kinds = {(route.request().source_location.kind, route.request().destination_location.kind) for route in routes}
    assert kinds >= {("s3", "az"), ("s3", "gs"), ("file", "s3")}
    schema = json.loads(route_schema_text())
    for path in (project_folder() / "include/config/routes").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            GOOD.replace("id: orders", "id: order"),
            'orders.yaml:1: id: found "order"; expected the name of the file, "orders"',
        ),
        (GOOD.replace("id: orders", "id: Orders"), 'orders.yaml:1: id: found "Orders"; expected 1 to 63 lower-case'),
        (GOOD.replace("id: orders", "id: 7"), "orders.yaml:1: id: found 7; expected 1 to 63 lower-case"),
        (GOOD.replace("id: orders\n", ""), "orders.yaml:1: id: missing; expected 1 to 63 lower-case"),
        (
            GOOD.replace("s3://shop/orders", "s3a://shop"),
            'orders.yaml:2: source.url: "s3a://shop" has the unknown scheme',
        ),
        (GOOD.replace("az://lake/raw", "lake"), 'orders.yaml:4: destination.url: "lake" has no scheme'),
        (
            GOOD.replace("  url: az", "  ulr: az"),
            'orders.yaml:4: destination: "ulr" is not a known name; did you mean "url"?',
        ),
        (GOOD + "  create: yes\n", 'orders.yaml:5: destination.create: found "yes"; expected true or false'),
        (
            GOOD + "copy: {verfy: checksum}\n",
            'orders.yaml:5: copy: "verfy" is not a known name; did you mean "verify"?',
        ),
        (
            GOOD + "copy: true\n",
            "orders.yaml:5: copy: found true; expected a group of keep_source, on_conflict, verify",
        ),
        (GOOD + "copy:\n", "orders.yaml:5: copy: found null; expected a group of"),
        (
            GOOD + "limits: {batch_objects: 1.5}\n",
            "orders.yaml:5: limits.batch_objects: found 1.5; expected a whole number",
        ),
        (GOOD + "schedule: hourly\n", 'did you mean "@hourly"?'),
        (GOOD + "schedule: 0 5 * *\n", 'orders.yaml:5: schedule: found "0 5 * *"; expected a cron expression of five'),
        (GOOD + "schedule: 61 5 * * *\n", 'found "61 5 * * *"; expected a cron expression'),
        (GOOD + "schedule: 0 0 31 2 *\n", 'found "0 0 31 2 *"; expected a cron expression'),
        (GOOD + "schedule: R R * * *\n", 'found "R R * * *"; expected a cron expression'),
        (GOOD + "schedule: 1 2 3 4 5 6\n", 'found "1 2 3 4 5 6"; expected a cron expression'),
        (GOOD + "schedule: 5\n", "orders.yaml:5: schedule: found 5; expected a cron expression"),
        (GOOD + "data: s3://x/y\n", "orders.yaml:5: data: is a URL; expected a key"),
        (GOOD + "select: {include: [a, s3://x/y]}\n", "orders.yaml:5: select.include: a pattern of include is a URL"),
        (GOOD + "select: {exclude: tmp/}\n", 'select.exclude: found "tmp/"; expected a list of at most 64 keys'),
        (GOOD + "select: {include: [a, '']}\n", "select.include: include holds an empty pattern; leave it out"),
        (GOOD + "select: {exclude: [5]}\n", "select.exclude.0: found 5; expected a list of at most 64 keys"),
        (
            GOOD + "select: {min_age: 30s}\n",
            'orders.yaml:5: select: "min_age" is not a known name; did you mean "min_age_',
        ),
        (
            GOOD + "select: {max_size_bytes: 1.5}\n",
            "select.max_size_bytes: found 1.5; expected a whole number from 0 to",
        ),
        (
            GOOD + "select: {min_size_bytes: 2, max_size_bytes: 1}\n",
            "orders.yaml:5: select: min_size_bytes is 2 and max_",
        ),
        (GOOD + "notify: {kind: sqs}\n", 'orders.yaml:5: "notify" is not a known name'),
        (GOOD.replace("az://lake/raw", "s3://shop/orders/x"), "is inside source s3://shop/orders/"),
        (
            GOOD.replace("az://lake/raw", "s3://shop/orders/x\n  conn_id: aws_default"),
            "is inside source s3://shop/orders/",
        ),
        (
            GOOD.replace("{url: s3://shop/orders}", '{url: "file:///srv", conn_id: "x"}'),
            "conn_id is set, but a local folder needs no",
        ),
        ("- a\n- b\n", "orders.yaml:1: found a list of 2"),
        ("just text\n", "orders.yaml:1: found"),
    ],
)
def test_each_mistake_is_named_with_file_line_and_what_was_expected(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert any(expected in problem for problem in found), found


def test_all_mistakes_of_a_file_are_named_in_the_order_of_its_lines(tmp_path: Path) -> None:
    found = problems(tmp_path, "id: Orders\nsource: {url: x}\nid: orders\nlimits: {batch_objects: 0}\ncopi: {}\n")
    assert [problem.partition("; ")[0] for problem in found] == [
        "orders.yaml:1: destination: missing",
        'orders.yaml:2: source.url: "x" has no scheme',
        "orders.yaml:3: id: given twice, first on line 1",
        "orders.yaml:4: limits.batch_objects: found 0",
        'orders.yaml:5: "copi" is not a known name',
    ]


def test_a_secret_in_a_route_is_not_repeated(tmp_path: Path) -> None:
    found = problems(
        tmp_path, GOOD.replace("s3://shop/orders", '"s3://AKIA:SECRET@shop"') + "  conn_id: aws://SECRET@\n"
    )
    assert len(found) == 2
    assert "SECRET" not in "".join(found)


@pytest.mark.parametrize("schedule", ["0 5 * * *", "@hourly", "@once", "0 0 * * MON-FRI", "0 0 1,15 * *", "0 0 L * *"])
def test_schedules_airflow_takes_are_taken(tmp_path: Path, schedule: str) -> None:
    assert load_route(written(tmp_path, GOOD + f'schedule: "{schedule}"\n')).schedule == schedule


@pytest.mark.parametrize("schedule", ["none", "null", "~", ""])
def test_no_schedule_is_none(tmp_path: Path, schedule: str) -> None:
    assert load_route(written(tmp_path, GOOD + f"schedule: {schedule}\n")).schedule is None


QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
DETECT_QUEUE = f"detect: {{kind: sqs, queue_url: {QUEUE}}}\n"
LOCAL = GOOD.replace("s3://shop/orders", "file:///srv/in")


def test_each_kind_of_detection_has_its_defaults(tmp_path: Path) -> None:
    route = load_route(written(tmp_path, GOOD + "detect: {kind: objects}\nschedule: event\n"))
    assert (route.schedule, route.backstop, route.queue) == ("event", "@hourly", None)
    assert route.detect is not None
    assert route.detect.model_dump() == {"kind": "objects", "poll_seconds": 10, "overlap_seconds": 86_400}
    text = LOCAL + "detect: {kind: files, done_suffix: .done}\nschedule: '@continuous'\n"
    files = load_route(written(tmp_path, text)).detect
    assert files == DetectFiles(kind="files", poll_seconds=2, settle_seconds=10, done_suffix=".done")


def test_a_queue_s_values_are_those_of_its_consumers(tmp_path: Path) -> None:
    text = GOOD + DETECT_QUEUE + "reconcile: '@daily'\nmirror_deletes: true\nmax_deletes: 7\n"
    route = load_route(written(tmp_path, text))
    assert route.queue is not None
    assert (route.queue.queue_name, route.reconcile, route.mirror_deletes, route.max_deletes) == (
        "orders",
        "@daily",
        True,
        7,
    )
    defaults = ConsumeOptions()
    for name, value in route.queue.consume_options().items():
        if hasattr(defaults, name):
            assert value == getattr(defaults, name), name


@pytest.mark.parametrize("name", ["max_messages", "max_bytes", "max_seconds", "visibility_seconds", "wait_seconds"])
def test_a_queue_s_bounds_are_those_of_its_consumers(name: str) -> None:
    field = DetectQueue.model_fields[name]
    least, most = (next(getattr(one, end) for one in field.metadata if hasattr(one, end)) for end in ("ge", "le"))
    for value in (least, most):
        ConsumeOptions(**{name: value})
    for value in (least - 1, most + 1):
        with pytest.raises(RequestError, match=name):
            ConsumeOptions(**{name: value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "schedule: event\n", "orders.yaml:5: schedule: event needs detect, which says how"),
        (GOOD + "schedule: '@continuous'\n", "orders.yaml:5: schedule: @continuous needs detect"),
        (GOOD + "schedule: evnt\n", 'did you mean "event"?'),
        (GOOD + "backstop: '@daily'\n", "orders.yaml:5: backstop: is for the schedule event"),
        (
            GOOD + "detect: {kind: objects}\nschedule: event\nbackstop: '@once'\n",
            'orders.yaml:7: backstop: found "@once"; expected a cron expression of five fields',
        ),
        (GOOD + "reconcile: '@daily'\n", "orders.yaml:5: reconcile: needs a queue: detect with kind sqs"),
        (GOOD + DETECT_QUEUE + "reconcile: event\n", 'orders.yaml:6: reconcile: found "event"; expected a cron'),
        (GOOD + "detect: {kind: objects}\nmirror_deletes: true\n", "orders.yaml:6: mirror_deletes: needs a queue"),
        (GOOD + "max_deletes: 5\n", "orders.yaml:5: max_deletes: needs a queue"),
        (
            GOOD + DETECT_QUEUE + "select: {min_age_seconds: 30}\n",
            "orders.yaml:5: detect: kind sqs does not go with select.min_age_seconds",
        ),
        (
            GOOD + DETECT_QUEUE + "mirror_deletes: true\ncopy: {keep_source: false}\n",
            "orders.yaml:7: copy: keep_source is false and mirror_deletes is true",
        ),
        (GOOD + "detect: {kind: files}\n", "orders.yaml:5: detect: kind files is for local folders, and source is s3"),
        (LOCAL + DETECT_QUEUE, "orders.yaml:5: detect: kind sqs is for sources in S3, and source is file:///srv/in/"),
        (GOOD + "detect: sqs\n", 'orders.yaml:5: detect: found "sqs"; expected a group whose kind is'),
        (
            GOOD + "detect: {poll_seconds: 5}\n",
            "orders.yaml:5: detect.kind: missing; expected one of objects, files, sqs",
        ),
        (
            GOOD + "detect: {kind: sqss}\n",
            'orders.yaml:5: detect.kind: found "sqss"; expected one of objects, files, sqs',
        ),
        (GOOD + "detect:\n  kind: sqs\n", "orders.yaml:5: detect.queue_url: missing; expected the URL of a standard"),
        (
            GOOD + "detect:\n  kind: objects\n  poll_second: 5\n",
            'orders.yaml:7: detect: "poll_second" is not a known name; did you mean "poll_seconds"?',
        ),
        (
            GOOD + f"detect:\n  kind: sqs\n  queue_url: {QUEUE}\n  consumers: 65\n",
            "orders.yaml:8: detect.consumers: found 65; expected a whole number from 1 to 64",
        ),
        (GOOD + f"detect: {{kind: sqs, queue_url: {QUEUE}.fifo}}\n", '"orders.fifo" is a FIFO queue; S3 sends'),
        (GOOD + f"detect: {{kind: sqs, queue_url: '{QUEUE}?x'}}\n", "detect.queue_url: found another text; expected"),
        (GOOD + f"detect: {{kind: sqs, queue_url: '{QUEUE}/'}}\n", '"" is no name of a queue'),
        (GOOD + "detect: {kind: sqs, queue_url: orders}\n", "detect.queue_url: found another text; expected"),
        (GOOD + "detect: {kind: sqs, queue_url: 'https://sqs.amazonaws.com/q'}\n", '"q" is no name of a queue'),
    ],
)
def test_fields_that_do_not_go_together_are_named(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert any(expected in problem for problem in found), found
    assert len(found) == 1, found


def test_a_password_in_a_queue_s_url_is_not_repeated(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + "detect: {kind: sqs, queue_url: 'https://AKIA:SECRET@sqs/1/q'}\n")
    assert "SECRET" not in "".join(found)


def test_a_file_that_is_wrong_never_takes_the_others_down(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, GOOD.replace("id: orders", "id: later"), "later")
    written(tmp_path, "a: [", "broken")
    written(tmp_path, "!!python/object/apply:os.system ['false']", "hostile")
    (tmp_path / "old.yml").write_text(GOOD)
    (tmp_path / "notes.txt").write_text("not a route")
    routes, found = load_routes(tmp_path)
    assert [route.id for route in routes] == ["later", "orders"]
    assert {Path(problem.file).name for problem in found} == {"broken.yaml", "hostile.yaml", "old.yml"}


def test_a_folder_that_does_not_exist_has_no_routes(tmp_path: Path) -> None:
    assert load_routes(tmp_path / "absent") == ([], [])


def test_a_folder_below_the_project_can_be_named_without_knowing_where_it_is(tmp_path: Path) -> None:
    route = load_route(written(tmp_path, GOOD.replace("s3://shop/orders", '"file:./exchange/outbox"')))
    assert route.source.url == f"file://{project_folder()}/exchange/outbox/"
    found = problems(tmp_path, GOOD.replace("s3://shop/orders", '"file:./../../etc"'))
    assert 'path element ".."' in found[0]


def test_find_route_opens_only_its_own_file(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, "a: [", "broken")
    assert find_route("orders", tmp_path).id == "orders"
    with pytest.raises(RouteConfigError, match="this is not YAML"):
        find_route("broken", tmp_path)


@pytest.mark.parametrize("route_id", ["order", "../orders", "orders.yaml", "", "x" * 10_000, "\x1b[2J"])
def test_an_unknown_route_names_the_nearest_and_all(tmp_path: Path, route_id: str) -> None:
    written(tmp_path, GOOD)
    with pytest.raises(UnknownRouteError) as caught:
        find_route(route_id, tmp_path)
    message = str(caught.value)
    assert "Known routes: orders. See: transfer config list" in message
    assert len(message) < 300
    assert "\x1b" not in message
    if route_id == "order":
        assert message.startswith('no route "order"; did you mean "orders"?')


def test_the_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "routes").mkdir()
    written(tmp_path / "routes", GOOD)
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path))
    assert routes_folder() == tmp_path / "routes"
    assert route_ids() == ["orders"]
    assert find_route("orders").id == "orders"


def test_100_routes_load_in_less_than_400_ms(tmp_path: Path) -> None:
    example = (project_folder() / "include/config/routes/orders_to_lake.yaml").read_text()
    for number in range(100):
        written(tmp_path, example.replace("id: orders_to_lake", f"id: r{number:03}"), f"r{number:03}")
    started = time.process_time()
    routes, found = load_routes(tmp_path)
    assert time.process_time() - started < 0.4  # measured: 0.03 s
    assert (len(routes), found) == (100, [])


def test_the_schema_and_the_model_agree_about_mistakes(tmp_path: Path) -> None:
    schema = json.loads(route_schema_text())
    good: dict[str, Any] = yaml.safe_load(GOOD)
    for change in (
        {"id": "Orders"},
        {"source": {}},
        {"source": {"url": "ftp://x"}},
        {"destination": {"url": "az://lake", "creat": True}},
        {"copy": {"verify": "size"}},
        {"limits": {"batch_objects": 0}},
        {"detect": {"kind": "sqs"}},
        {"detect": {"kind": "objects", "poll_seconds": 0}},
        {"detect": {"kind": "sqs", "queue_url": "orders"}},
        {"unknown": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | change, schema)
        with pytest.raises(ValueError, match="validation error"):
            Route.model_validate(good | change)
