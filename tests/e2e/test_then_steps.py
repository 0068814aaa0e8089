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

    def states(self, ended: Ended) -> dict[str, str]:
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(TaskInstance).where(TaskInstance.dag_id == self.dag_id, TaskInstance.run_id == ended.run_id)
        with create_session() as session:
            return {one.task_id: str(one.state) for one in session.scalars(query) if one.task_id.startswith("then_")}


@pytest.fixture
def followed(
    witnesses: HistoryWitnesses,
    buckets: Buckets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Followed]:
    """Make a route with these steps, and the DAG `next_<pid>` some of them start."""

    def make(*steps: dict[str, Any]) -> Followed:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        source, destination = buckets.new("s3"), buckets.new("gs")
        route_id = f"followed-{os.getpid()}-{source.url.rpartition('-')[2].strip('/')}"
        route = {"id": route_id, "source": {"url": source.url}, "destination": {"url": destination.url}}
        folder = tmp_path / "config" / "routes"
        folder.mkdir(parents=True)
        (folder / f"{route_id}.yaml").write_text(json.dumps({**route, "then": list(steps)}))
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
        runner = Runner(bag, capfd, buckets, witnesses)
        return Followed(runner, source, destination, dag_id=f"transfer__{route_id}")

    return make


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
    assert set(route.states(ended).values()) == {"success"}

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
    assert route.states(third) == {"then_1_bigquery_load": "skipped", "then_2_webhook": "success"}
    rehearsal = route.run({"dry_run": True})
    assert set(route.states(rehearsal).values()) == {"skipped"}


def test_a_step_that_fails_ends_the_row_and_fails_the_run(followed: Any, listener: Listener, queue: Queue) -> None:
    route = followed({"kind": "webhook", "conn_id": "http_catalogue"}, {"kind": "sqs", "queue_url": queue.url})
    route.source.put("a.csv", b"id\n1\n")
    listener.statuses = [403]
    ended = route.run()
    assert (ended.state, ended.report["state"]) == ("failed", "success")
    assert route.states(ended) == {"then_1_webhook": "failed", "then_2_sqs": "upstream_failed"}
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
