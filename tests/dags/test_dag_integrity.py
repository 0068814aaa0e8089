"""The DAG files: what they define, and what they must not do while they are parsed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from airflow.sdk import TriggerRule

from skyferry.detect.consumption import options_from
from skyferry.queue_groups import group_by_queue
from skyferry.request import params_defaults, params_schema
from skyferry.routes import load_routes, route_ids
from tests.airflow_home import PROJECT

ROUTE = """\
id: {id}
source: {{url: "s3://shop/{id}/", conn_id: aws_default}}
destination: {{url: "gs://archive/{id}/", create: true}}
schedule: "0 5 * * *"
copy: {{on_conflict: skip}}
limits: {{batch_objects: 7}}
"""

PARSE = """
import json, os, sys, time
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
baseline = set(sys.modules)
started = time.process_time()
bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
cpu_seconds = time.process_time() - started
assert not bag.import_errors, bag.import_errors
print(json.dumps({"cpu_seconds": cpu_seconds, "dags": sorted(bag.dags), "new": sorted(set(sys.modules) - baseline)}))
"""


ALWAYS = ("audit", "doctor", "maintenance", "provision")
"""The DAGs that are there whatever the routes are, beside `transfer`."""


def parse_in_a_fresh_process(config: Path | None = None, dag_id: str | None = None) -> dict:
    environment = dict(os.environ)
    if config is not None:
        environment["SKYFERRY_CONFIG"] = str(config)
    if dag_id is not None:
        environment["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = dag_id
    done = subprocess.run(
        [sys.executable, "-c", PARSE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    result["log"] = done.stdout + done.stderr
    return result


def write_routes(folder: Path, ids: list[str]) -> Path:
    (folder / "routes").mkdir(parents=True)
    for route_id in ids:
        (folder / "routes" / f"{route_id}.yaml").write_text(ROUTE.format(id=route_id))
    return folder


def transfer_dags(bag):
    return [dag for dag_id, dag in bag.dags.items() if dag_id.startswith("transfer")]


def test_there_is_one_dag_on_demand_and_one_for_each_route_file_and_each_queue(dag_bag):
    assert dag_bag.import_errors == {}
    transfers = {"transfer", *(f"transfer__{route_id}" for route_id in route_ids())}
    queues = {f"consume__{queue.name}" for queue in group_by_queue(load_routes()[0])[0]}
    assert set(dag_bag.dags) == transfers | queues | set(ALWAYS)


def test_every_transfer_is_plan_then_copies_then_a_report_that_always_runs(dag_bag):
    for dag in transfer_dags(dag_bag):
        plan, copy, report = (dag.get_task(task_id) for task_id in ("plan", "copy", "report"))
        assert set(dag.task_ids) == {"plan", "copy", "report"}
        assert (plan.downstream_task_ids, copy.downstream_task_ids) == ({"copy"}, {"report"})
        assert copy.is_mapped
        assert report.trigger_rule == TriggerRule.ALL_DONE
        assert report.downstream_task_ids == set()
        assert not dag.catchup


def test_nothing_that_may_hold_a_key_is_templated(dag_bag):
    for dag in dag_bag.dags.values():
        assert not dag.render_template_as_native_obj
        for task in dag.tasks:
            assert tuple(task.template_fields) == ()


# Of what JSON Schema defines in draft 7 and in 2020-12; `section` is Airflow's own, and means nothing to it.
SAME_IN_BOTH_DIALECTS = frozenset(
    {"type", "title", "section", "enum", "examples", "items", "minimum", "exclusiveMinimum", "maximum"}
    | {"pattern", "maxLength", "minLength", "maxItems", "minItems", "uniqueItems"}
)


def test_the_params_are_the_parameters_of_the_request(dag_bag):
    params = dag_bag.dags["transfer"].params
    schemas, defaults = params_schema(), params_defaults()
    assert list(params) == list(schemas)
    for name, schema in schemas.items():
        param = params.get_param(name)
        expected = {key: value for key, value in schema.items() if key != "description"}
        assert expected.keys() <= SAME_IN_BOTH_DIALECTS
        expected["$schema"] = "http://json-schema.org/draft-07/schema#"
        if name in ("source", "destination"):
            expected["type"] = ["string", "null"]  # the route that `id` names may supply them
        if schema["section"] == "What":
            expected["section"] = "Run Parameters"  # what Airflow's form shows unfolded
        if name in ("include", "exclude"):
            del expected["examples"]  # the form would offer nothing else
        assert param.schema == expected
        assert param.description == schema["description"].replace("`", '"')
        assert param.value == defaults.get(name)


def test_a_route_s_values_are_the_defaults_of_its_form(dag_bag):
    routes, _ = load_routes()
    for route in routes:
        dag = dag_bag.dags[f"transfer__{route.id}"]
        assert dag.params.dump() == route.request().to_conf()
        assert dag.max_active_runs == 1


def test_parsing_imports_no_client_of_a_store():
    new = parse_in_a_fresh_process()["new"]
    heavy = {"boto3", "botocore", "aiobotocore", "azure", "google", "aiohttp", "obstore", "pandas", "pycurl", "rich"}
    assert [name for name in new if name.split(".")[0] in heavy] == []
    working = [f"skyferry.{name}" for name in ("stages", "plan", "stores.s3", "stores.azure", "stores.gcs")]
    assert [name for name in new if name in working] == []


def test_a_hundred_routes_are_parsed(tmp_path):
    config = write_routes(tmp_path / "config", [f"route-{number:03d}" for number in range(100)])
    result = parse_in_a_fresh_process(config)
    assert len(result["dags"]) == 101 + len(ALWAYS)
    # bench/parse_case.py measures; this only finds what grows with the square.
    assert result["cpu_seconds"] < 10


def test_a_worker_builds_only_the_dag_it_runs(tmp_path):
    config = write_routes(tmp_path / "config", ["one", "two"])
    assert parse_in_a_fresh_process(config, "transfer__two")["dags"] == [
        "audit",
        "doctor",
        "maintenance",
        "provision",
        "transfer",
        "transfer__two",
    ]
    assert parse_in_a_fresh_process(config, "transfer")["dags"] == [*ALWAYS, "transfer"]


BAD_ROUTES = {
    "misspelt": "id: misspelt\nsource: {url: 's3://shop/a/'}\ndestinaton: {url: 'gs://archive/'}\n",
    "hostile": "id: hostile\nsource: !!python/object/apply:os.system ['touch PWNED']\n",
    "tabs": "id: tabs\n\tsource: x\n",
    "huge": "id: huge\ndescription: " + "x" * 10_000_000,
    "renamed": ROUTE.format(id="good"),
}


def test_bad_route_files_are_left_out_with_a_warning_each_and_take_no_other_down(tmp_path):
    config = write_routes(tmp_path / "config", ["good"])
    for stem, text in BAD_ROUTES.items():
        (config / "routes" / f"{stem}.yaml").write_text(text)
    result = parse_in_a_fresh_process(config)
    assert result["dags"] == [*ALWAYS, "transfer", "transfer__good"]
    for stem in BAD_ROUTES:
        assert re.search(rf"route left out: \S*{stem}\.yaml:", result["log"]), f"no warning about {stem}.yaml"
    assert 'did you mean "destination"' in result["log"]


def test_a_route_s_schedule_is_its_dag_s(tmp_path, monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("SKYFERRY_CONFIG", str(write_routes(tmp_path / "config", ["nightly"])))
    dag = DagBag(str(PROJECT / "dags")).dags["transfer__nightly"]
    assert dag.schedule == "0 5 * * *"
    assert dag.params["batch_objects"] == 7
    assert dag.params["on_conflict"] == "skip"
    assert dag.start_date is not None, "Airflow schedules nothing without one"


OBJECTS = "detect: {kind: objects, poll_seconds: 7}\n"
FILES = "detect: {kind: files, settle_seconds: 3}\n"


def dags_of(tmp_path, monkeypatch, **routes):
    """Return the DAGs of routes, given by what follows their `id`."""
    from airflow.dag_processing.dagbag import DagBag

    folder = tmp_path / "config" / "routes"
    folder.mkdir(parents=True)
    for route_id, text in routes.items():
        (folder / f"{route_id}.yaml").write_text(f"id: {route_id}\n{text}")
    monkeypatch.setenv("SKYFERRY_CONFIG", str(folder.parent))
    bag = DagBag(str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return bag.dags


S3_TO_GCS = 'source: {url: "s3://shop/in/", conn_id: aws_shop}\ndestination: {url: "gs://archive/"}\n'
FOLDER_TO_S3 = 'source: {url: "file:///srv/in/"}\ndestination: {url: "s3://shop/"}\n'


def test_an_event_route_is_rung_by_an_asset_of_its_own_and_has_a_backstop(tmp_path, monkeypatch):
    dags = dags_of(
        tmp_path,
        monkeypatch,
        prefix=S3_TO_GCS + 'data: "**/*.csv"\nschedule: event\nbackstop: "*/20 * * * *"\n' + OBJECTS,
        folder=FOLDER_TO_S3 + "schedule: event\n" + FILES,
    )
    schedule = dags["transfer__prefix"].schedule
    assert schedule.timetable.expression == "*/20 * * * *"
    (asset,) = schedule.asset_condition.objects
    (watcher,) = asset.watchers
    assert (asset.name, watcher.name) == ("transfer__prefix.detect",) * 2
    assert watcher.trigger.poke_interval == 7
    watch = watcher.trigger.watch
    assert (watch["kind"], watch["url"], watch["conn_id"]) == ("objects", "s3://shop/in/", "aws_shop")
    assert watch["data"] == "**/*.csv"
    (files,) = dags["transfer__folder"].schedule.asset_condition.objects
    watch = files.watchers[0].trigger.watch
    assert (watch["kind"], watch["settle_seconds"], watch["include"]) == ("files", 3, [])
    assert set(dags["transfer__folder"].task_ids) == {"plan", "copy", "report"}


def test_a_continuous_route_waits_in_the_triggerer_before_it_plans(tmp_path, monkeypatch):
    dag = dags_of(tmp_path, monkeypatch, prefix=S3_TO_GCS + 'schedule: "@continuous"\n' + OBJECTS)["transfer__prefix"]
    assert (dag.schedule, dag.max_active_runs) == ("@continuous", 1)
    detect = dag.get_task("detect")
    assert detect.downstream_task_ids == {"plan"}
    assert (detect.deferrable, detect.manual_runs_wait, detect.done_after_timeout) == (True, False, True)
    assert (detect.poke_interval, detect.retries) == (7, 2)
    assert [asset.name for asset in detect.inlets] == ["transfer__prefix.detect"]


QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
EVENTS = f"detect: {{kind: sqs, queue_url: {QUEUE}, consumers: 3, max_seconds: 60, unmatched: dead_letter}}\n"


def test_routes_of_one_queue_share_one_dag_that_consumes_it(tmp_path, monkeypatch):
    dags = dags_of(
        tmp_path,
        monkeypatch,
        b=S3_TO_GCS + "schedule: event\nreconcile: '@daily'\n" + EVENTS,
        a=S3_TO_GCS + "schedule: event\n" + EVENTS,
    )
    assert set(dags) == {*ALWAYS, "transfer", "transfer__a", "transfer__b", "consume__orders"}
    dag = dags["consume__orders"]
    consume, report = dag.get_task("consume"), dag.get_task("report")
    assert (dag.max_active_runs, dag.catchup, set(dag.task_ids)) == (1, False, {"consume", "report"})
    assert consume.expand_input.value == {"slot": [0, 1, 2]}
    given = consume.partial_kwargs
    assert (given["route_ids"], given["queue_url"], given["queue_conn_id"]) == (["a", "b"], QUEUE, "aws_shop")
    assert (given["options"]["max_seconds"], given["options"]["unmatched"]) == (60, "dead_letter")
    assert (report.route_ids, report.consumers, report.upstream_task_ids) == (["a", "b"], 3, {"consume"})
    assert tuple(consume.template_fields) == tuple(report.template_fields) == ()
    options_from(given["options"])


def test_a_queue_is_rung_for_by_one_trigger_and_its_routes_are_listed_at_their_own_times(tmp_path, monkeypatch):
    dags = dags_of(
        tmp_path,
        monkeypatch,
        a=S3_TO_GCS + "schedule: event\nbackstop: '@daily'\n" + EVENTS,
        b=S3_TO_GCS + "schedule: event\nbackstop: '@daily'\nreconcile: '@weekly'\n" + EVENTS,
    )
    schedule = dags["consume__orders"].schedule
    (asset,) = schedule.asset_condition.objects
    (watcher,) = asset.watchers
    assert asset.name == "consume__orders.detect"
    assert watcher.trigger.serialize() == (
        "triggers.queue_events_trigger.QueueEventsTrigger",
        {"queue_url": QUEUE, "conn_id": "aws_shop", "poll_seconds": 2},
    )
    assert schedule.timetable.expression == "0 0 * * *"
    assert (dags["transfer__a"].schedule, dags["transfer__b"].schedule) == (None, "@weekly")


def test_a_queue_can_be_consumed_continuously_or_at_times(tmp_path, monkeypatch):
    waits = dags_of(tmp_path / "1", monkeypatch, a=S3_TO_GCS + 'schedule: "@continuous"\n' + EVENTS)["consume__orders"]
    detect = waits.get_task("detect")
    assert (waits.schedule, detect.downstream_task_ids) == ("@continuous", {"consume"})
    assert (detect.queue_url, detect.conn_id, detect.deferrable) == (QUEUE, "aws_shop", True)
    hourly = dags_of(tmp_path / "2", monkeypatch, a=S3_TO_GCS + 'schedule: "@hourly"\n' + EVENTS)
    assert (hourly["consume__orders"].schedule, hourly["transfer__a"].schedule) == ("@hourly", None)
    never = dags_of(tmp_path / "3", monkeypatch, a=S3_TO_GCS + EVENTS)
    assert (never["consume__orders"].schedule, never["transfer__a"].schedule) == (None, None)


def test_a_worker_builds_only_the_queue_it_consumes(tmp_path):
    config = write_routes(tmp_path / "config", ["one"])
    for route_id, queue in (("a", QUEUE), ("b", QUEUE), ("c", QUEUE + "2")):
        text = f"id: {route_id}\n{S3_TO_GCS}" + EVENTS.replace(QUEUE, queue)
        (config / "routes" / f"{route_id}.yaml").write_text(text)
    assert parse_in_a_fresh_process(config, "consume__orders")["dags"] == [
        "audit",
        "consume__orders",
        "doctor",
        "maintenance",
        "provision",
        "transfer",
    ]
    assert parse_in_a_fresh_process(config, "transfer__a")["dags"] == [
        "audit",
        "doctor",
        "maintenance",
        "provision",
        "transfer",
        "transfer__a",
    ]


def test_the_tasks_of_a_route_are_for_its_workers_and_those_that_use_stores_take_slots_of_its_pool(
    tmp_path, monkeypatch
):
    placed = "queue: on_premises\npool: shop_bucket\nthen: [{kind: trigger_dag, dag_id: next}]\n"
    dags = dags_of(
        tmp_path,
        monkeypatch,
        plain=S3_TO_GCS,
        listed=FOLDER_TO_S3 + 'schedule: "@continuous"\n' + FILES + placed,
        fed=S3_TO_GCS + "schedule: event\n" + EVENTS + placed,
    )
    consumption = next(dag for dag_id, dag in dags.items() if dag_id.startswith("consume__"))
    for dag, users in ((dags["transfer__listed"], {"plan", "copy"}), (consumption, {"consume"})):
        assert {task.queue for task in dag.tasks} == {"on_premises"}
        assert {task.task_id for task in dag.tasks if task.pool == "shop_bucket"} == users
        assert {task.pool for task in dag.tasks} == {"shop_bucket", "default_pool"}
    for task in [*dags["transfer__plain"].tasks, *dags["transfer"].tasks]:
        assert (task.queue, task.pool) == ("default", "default_pool")


def test_a_hundred_routes_that_run_by_themselves_are_parsed(tmp_path):
    config = write_routes(tmp_path / "config", ["one"])
    kinds = [OBJECTS + "schedule: event\n", OBJECTS + "schedule: '@continuous'\n", EVENTS + "schedule: event\n"]
    for number in range(99):
        text = f"id: r{number:02d}\n{S3_TO_GCS}" + kinds[number % 3].replace("/orders", f"/orders{number}")
        (config / "routes" / f"r{number:02d}.yaml").write_text(text)
    result = parse_in_a_fresh_process(config)
    assert len(result["dags"]) == 1 + len(ALWAYS) + 100 + 33
    assert result["cpu_seconds"] < 10
    assert [name for name in result["new"] if name.split(".")[0] in {"boto3", "botocore", "aiobotocore"}] == []


def test_the_same_route_files_make_the_same_dags(tmp_path, monkeypatch):
    from airflow.serialization.serialized_objects import DagSerialization

    routes = {
        "event": S3_TO_GCS + "schedule: event\n" + OBJECTS,
        "waiting": FOLDER_TO_S3 + 'schedule: "@continuous"\n' + FILES,
        "queue": S3_TO_GCS + "schedule: event\n" + EVENTS,
    }
    texts = []
    for number in (1, 2):
        dags = dags_of(tmp_path / str(number), monkeypatch, **routes)
        texts.append({dag_id: json.dumps(DagSerialization.serialize_dag(dag)) for dag_id, dag in dags.items()})
    assert texts[0] == texts[1]


def test_the_dags_survive_airflow_s_serialisation(dag_bag):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dag_bag.dags.values():
        restored = DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dag))))
        assert restored.dag_id == dag.dag_id
        assert all(task.has_retry_policy for task in restored.tasks)
