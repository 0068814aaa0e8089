"""What follows a transfer: each step gets the run's own numbers and objects, once, and only after success."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_home import PROJECT
from tests.e2e.buckets import Bucket
from tests.e2e.conftest import Buckets, Ended, Runner, read_xcoms
from tests.e2e.history_witnesses import HistoryWitnesses
from tests.e2e.listening import Listener, listening
from tests.e2e.test_queue_runs import Queue

LISTENER_DAG = """
from airflow.sdk import DAG, task

with DAG("{dag_id}", schedule=None, is_paused_upon_creation={is_paused}) as dag:
    @task
    def take():
        return "taken"
    take()
"""


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with listening() as found:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", found.url)
        connection = {"conn_type": "http", "host": found.url, "extra": {"X-Team": "lake"}}
        monkeypatch.setenv("AIRFLOW_CONN_HTTP_CATALOGUE", json.dumps(connection))
        yield found


@pytest.fixture
def queue(emulators: Any) -> Queue:
    return Queue(emulators.s3)


class Followed:
    """A route from S3 to GCS with steps behind it."""

    def __init__(self, runner: Runner, source: Bucket, destination: Bucket, *, dag_id: str) -> None:
        self._runner = runner
        self.source = source
        self.destination = destination
        self.dag_id = dag_id

    def run(self, conf: dict[str, Any] | None = None) -> Ended:
        return self._runner.run(conf or {}, self.dag_id)


def states_of_steps(ended: Ended) -> dict[str, str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance).where(TaskInstance.dag_id == ended.dag_id, TaskInstance.run_id == ended.run_id)
    with create_session() as session:
        return {one.task_id: str(one.state) for one in session.scalars(query) if one.task_id.startswith("then_")}


@pytest.fixture
def serve(
    witnesses: HistoryWitnesses,
    buckets: Buckets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Runner]:
    """Write route files, and return what runs their DAGs, and the DAG `next_<pid>` some steps start."""

    def make(*routes: dict[str, Any]) -> Runner:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        folder = tmp_path / "config" / "routes"
        folder.mkdir(parents=True)
        for route in routes:
            (folder / f"{route['id']}.yaml").write_text(json.dumps(route))
        monkeypatch.setenv("SKYFERRY_CONFIG", str(folder.parent))
        monkeypatch.setenv("SKYFERRY_RETRIES", "0")
        dags = tmp_path / "dags"
        dags.mkdir()
        shutil.copy(PROJECT / "dags" / "transfer_routes.py", dags)
        for name, is_paused in (("next", False), ("asleep", True)):
            (dags / f"{name}.py").write_text(LISTENER_DAG.format(dag_id=f"{name}_{os.getpid()}", is_paused=is_paused))
        bag = DagBag(str(dags))
        assert bag.import_errors == {}
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        return Runner(bag, capfd, buckets, witnesses)

    return make


@pytest.fixture
def followed(serve: Callable[..., Runner], buckets: Buckets) -> Callable[..., Followed]:
    """Make a route with these steps."""

    def make(*steps: dict[str, Any]) -> Followed:
        source, destination = buckets.new("s3"), buckets.new("gs")
        route_id = f"followed-{os.getpid()}-{source.url.rpartition('-')[2].strip('/')}"
        route = {"id": route_id, "source": {"url": source.url}, "destination": {"url": destination.url}}
        runner = serve({**route, "then": list(steps)})
        return Followed(runner, source, destination, dag_id=f"transfer__{route_id}")

    return make


class Shared:
    """Two routes that share a queue: `orders` to GCS with a load and a webhook, `returns` to S3 with a message."""

    LOAD, HOOK = "then_1_bigquery_load__orders", "then_2_webhook__orders"
    SEND = "then_1_sqs__returns"

    def __init__(self, serve: Callable[..., Runner], buckets: Buckets, events: Queue, reports: Queue) -> None:
        self.orders, self.returns = buckets.new("s3"), buckets.new("s3")
        self.lake, self.archive = buckets.new("gs"), buckets.new("s3")
        self._dag_id, self._reports = f"consume__{events.name}", reports
        for source in (self.orders, self.returns):
            events.listen(source)
        hook = {"kind": "webhook", "conn_id": "http_catalogue"}
        send = {"kind": "sqs", "queue_url": reports.url}
        self._runner = serve(
            self._route("orders", events, (self.orders, self.lake), load(), hook),
            self._route("returns", events, (self.returns, self.archive), send),
        )

    @staticmethod
    def _route(route_id: str, events: Queue, places: tuple[Bucket, Bucket], *steps: dict[str, Any]) -> dict[str, Any]:
        source, destination = ({"url": place.url} for place in places)
        detect = {"kind": "sqs", "queue_url": events.url, "wait_seconds": 2, "consumers": 2}
        route = {"id": route_id, "source": source, "destination": destination, "schedule": "none"}
        return {**route, "detect": detect, "then": list(steps)}

    def run(self) -> Ended:
        return self._runner.run({}, self._dag_id)

    def taken_reports(self) -> list[dict[str, Any]]:
        """Return what the step has sent, and take it out of its queue."""
        client, url = self._reports.client, self._reports.url
        messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]


@pytest.fixture
def shared(serve: Callable[..., Runner], buckets: Buckets, queue: Queue, emulators: Any) -> Shared:
    return Shared(serve, buckets, queue, Queue(emulators.s3))


def load(**more: Any) -> dict[str, Any]:
    return {"kind": "bigquery_load", "table": "sales.orders", "format": "csv", "autodetect": True, **more}


def test_each_step_gets_what_the_run_did(followed: Any, listener: Listener, queue: Queue) -> None:
    route = followed(
        {"kind": "webhook", "conn_id": "http_catalogue", "path": "hooks/arrived"},
        {"kind": "sqs", "queue_url": queue.url},
        load(skip_leading_rows=1, write="replace"),
    )
    hostile = "orders/{{ run_id }} ü.csv"
    for key in ("orders/a.csv", hostile):
        route.source.put(key, b"id\n1\n")
    ended = route.run()
    assert ended.state == "success", ended.log
    assert set(states_of_steps(ended).values()) == {"success"}

    posted = next(request for request in listener.requests if request[0] == "/hooks/arrived")
    assert posted[2] == ended.report
    assert posted[1]["X-Team"] == "lake"
    assert posted[1]["Idempotency-Key"].endswith(f"/{ended.run_id}/then_1_webhook")
    [message] = queue.client.receive_message(QueueUrl=queue.url)["Messages"]
    assert json.loads(message["Body"]) == ended.report
    [config] = listener.loads
    assert sorted(config["sourceUris"]) == sorted(f"{route.destination.url}{key}" for key in ("orders/a.csv", hostile))
    assert (config["writeDisposition"], config["sourceFormat"], config["autodetect"]) == ("WRITE_TRUNCATE", "CSV", True)
    assert config["destinationTable"] == {"projectId": "skyferry", "datasetId": "sales", "tableId": "orders"}


def test_a_second_run_has_only_its_own_objects_and_none_means_no_step(followed: Any, listener: Listener) -> None:
    route = followed(load(), {"kind": "webhook", "conn_id": "http_catalogue", "only_if_copied": False})
    route.source.put("a.csv", b"id\n1\n")
    assert route.run().state == "success"
    route.source.put("b.csv", b"id\n2\n")
    assert route.run().state == "success"
    third = route.run()
    assert third.state == "success"
    assert [one["sourceUris"] for one in listener.loads] == [
        [f"{route.destination.url}a.csv"],
        [f"{route.destination.url}b.csv"],
    ]
    assert states_of_steps(third) == {"then_1_bigquery_load": "skipped", "then_2_webhook": "success"}
    rehearsal = route.run({"dry_run": True})
    assert set(states_of_steps(rehearsal).values()) == {"skipped"}


def test_a_step_that_fails_ends_the_row_and_fails_the_run(followed: Any, listener: Listener, queue: Queue) -> None:
    route = followed({"kind": "webhook", "conn_id": "http_catalogue"}, {"kind": "sqs", "queue_url": queue.url})
    route.source.put("a.csv", b"id\n1\n")
    listener.statuses = [403]
    ended = route.run()
    assert (ended.state, ended.report["state"]) == ("failed", "success")
    assert states_of_steps(ended) == {"then_1_webhook": "failed", "then_2_sqs": "upstream_failed"}
    assert any("the endpoint answered 403; expected 2xx" in line for line in ended.errors)
    assert "Traceback" not in ended.log


def test_a_load_that_fails_and_a_name_bigquery_cannot_take_fail_the_run(followed: Any, listener: Listener) -> None:
    route = followed(load())
    route.source.put("a.csv", b"id\n1\n")
    listener.fail_next_job = True
    assert route.run().state == "failed"
    route.source.put("b*.csv", b"id\n1\n")
    ended = route.run()
    assert ended.state == "failed"
    assert any("b*.csv has a * in its name" in line for line in ended.errors)
    assert len(listener.jobs) == 1


def test_a_job_is_begun_once_and_one_that_failed_is_begun_anew(listener: Listener, emulators: Any) -> None:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    from airflow_bridge.bigquery_jobs import begin_job_once

    hook = BigQueryHook(gcp_conn_id="google_cloud_default", use_legacy_sql=False)
    table = {"projectId": "skyferry", "datasetId": "sales", "tableId": "orders"}
    configuration = {"load": {"sourceUris": ["gs://lake/a.csv"], "destinationTable": table}}

    def begin() -> str:
        return begin_job_once(
            lambda job_id: hook.insert_job(configuration=configuration, job_id=job_id, nowait=True),
            hook,
            "skyferry_1",
            location=None,
        ).job_id

    listener.fail_next_job = True
    assert [begin(), begin(), begin()] == ["skyferry_1_0", "skyferry_1_1", "skyferry_1_1"]
    assert list(listener.jobs) == ["skyferry_1_0", "skyferry_1_1"]


def test_nothing_follows_a_transfer_that_failed(followed: Any, listener: Listener) -> None:
    route = followed({"kind": "webhook", "conn_id": "http_catalogue"})
    route.source.put("a.csv", b"id\n1\n")
    ended = route.run({"data": "missing.csv"})
    assert ended.state == "failed"
    assert listener.requests == []


@pytest.mark.parametrize(
    ("dag_id", "message"),
    [("asleep_{pid}", "is switched off, so no run of it was started"), ("nobody", "there is no DAG nobody")],
)
def test_a_dag_that_cannot_be_started_is_one_message(followed: Any, dag_id: str, message: str) -> None:
    route = followed({"kind": "trigger_dag", "dag_id": dag_id.format(pid=os.getpid())})
    route.source.put("a.csv", b"id\n1\n")
    ended = route.run()
    assert ended.state == "failed"
    assert len([line for line in ended.errors if message in line]) == 1, ended.log
    assert "Traceback" not in ended.log


def test_a_dag_is_started_once_with_the_report(followed: Any) -> None:
    next_dag = f"next_{os.getpid()}"
    route = followed({"kind": "trigger_dag", "dag_id": next_dag, "conf": {"full": True}})
    route.source.put("{{ 6*7 }}.csv", b"id\n1\n")
    ended = route.run()
    assert ended.state == "success", ended.log
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        runs = session.scalars(select(DagRun).where(DagRun.dag_id == next_dag)).all()
    [conf] = [run.conf for run in runs if ended.run_id in run.run_id]
    assert conf["full"] is True
    assert conf["report"] == ended.report
    assert read_xcoms(route.dag_id, ended.run_id)["report", "return_value"] == [ended.report]


def test_steps_of_routes_that_share_a_queue_get_only_what_is_theirs(shared: Shared, listener: Listener) -> None:
    shared.orders.put("a.csv", b"id\n1\n")
    shared.orders.put("b.csv", b"id\n22\n")
    shared.returns.put("{{ 6*7 }}.csv", b"id\n333\n")
    first = shared.run()
    assert first.state == "success", first.log
    assert states_of_steps(first) == dict.fromkeys((shared.LOAD, shared.HOOK, shared.SEND), "success")
    assert first.report is not None
    shares = first.report["by_route"]
    posted, [sent] = posts(listener), shared.taken_reports()
    assert [of_route(one, shares) for one in (*posted, sent)] == ["orders", "returns"]
    assert {one["run_id"] for one in (*posted, sent)} == {first.run_id}
    assert [(one["objects_copied"], one["bytes_copied"]) for one in (*posted, sent)] == [(2, 11), (1, 7)]
    assert [(one["source"], one["destination"]) for one in (*posted, sent)] == [
        (shared.orders.url, shared.lake.url),
        (shared.returns.url, shared.archive.url),
    ]
    assert [sorted(one["sourceUris"]) for one in listener.loads] == [
        [f"{shared.lake.url}a.csv", f"{shared.lake.url}b.csv"]
    ]

    shared.returns.put("c.csv", b"id\n4444\n")
    second = shared.run()
    assert second.state == "success", second.log
    assert states_of_steps(second) == {shared.LOAD: "skipped", shared.HOOK: "skipped", shared.SEND: "success"}
    [sent] = shared.taken_reports()
    assert (sent["run_id"], sent["route"]) == (second.run_id, "returns")
    assert (sent["objects_copied"], sent["bytes_copied"]) == (1, 8), "the first run's objects are not told of again"
    assert (len(posts(listener)), len(listener.jobs)) == (1, 1)

    shared.orders.put("d.csv", b"id\n5\n")
    third = shared.run()
    assert states_of_steps(third) == {shared.LOAD: "success", shared.HOOK: "success", shared.SEND: "skipped"}
    assert listener.loads[-1]["sourceUris"] == [f"{shared.lake.url}d.csv"]
    assert [posts(listener)[-1][name] for name in ("run_id", "objects_copied")] == [third.run_id, 1]
    assert shared.taken_reports() == []


def test_a_step_of_one_route_that_fails_holds_up_no_step_of_another(shared: Shared, listener: Listener) -> None:
    shared.orders.put("a.csv", b"id\n1\n")
    shared.returns.put("b.csv", b"id\n22\n")
    listener.fail_next_job = True
    ended = shared.run()
    assert ended.state == "failed"
    assert ended.report is not None
    assert ended.report["state"] == "success", "the transfer is complete"
    assert states_of_steps(ended) == {
        shared.LOAD: "failed",
        shared.HOOK: "upstream_failed",
        shared.SEND: "success",
    }
    assert [one["route"] for one in shared.taken_reports()] == ["returns"]


def posts(listener: Listener) -> list[dict[str, Any]]:
    """Return the reports that came to the webhook."""
    return [body for path, _, body in listener.requests if "/bigquery/" not in path]


def of_route(report: dict[str, Any], shares: dict[str, dict[str, Any]]) -> str:
    """Return the route of a report, whose numbers have to be that route's and which must not hold another's."""
    assert "by_route" not in report
    share = shares[report["route"]]
    assert {name: report[name] for name in share} == share
    return str(report["route"])
