"""Lineage of whole DAG runs: what is told, to whom, and that nobody waits for it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from skyferry.batch_tally import MAX_COPIES_KEPT
from tests.airflow_home import PROJECT
from tests.docs.pages import blocks
from tests.e2e.conftest import SECRET, Buckets, read_xcoms
from tests.e2e.listening import listening
from tests.openlineage_schemas import LineageSchemas, facet_errors

ON_DEMAND = str(PROJECT / "dags" / "transfer.py")


@dataclass(frozen=True)
class Run:
    """A run that has ended, with its lineage events in the order they were sent."""

    state: str
    report: dict[str, Any] | None
    seconds: float
    events: list[dict[str, Any]]

    def events_of(self, task_id: str, kind: str) -> list[dict[str, Any]]:
        return [
            event
            for event in self.events
            if event["eventType"] == kind and event["job"]["name"].endswith(f".{task_id}")
        ]


class LineageRuns:
    """Runs DAGs in one process whose lineage goes to a file, or wherever it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self.log = ""

    def run(self, *confs: dict[str, Any], dag_file: str = ON_DEMAND, dag_id: str = "transfer", **variables: str):
        number = next(self._numbers)
        events = self._folder / f"events-{number}.ndjson"
        asked = self._folder / f"runs-{number}.json"
        asked.write_text(json.dumps([{"dag_id": dag_id, "conf": conf, "dags_folder": dag_file} for conf in confs]))
        transport = json.dumps({"type": "file", "log_file_path": str(events), "append": True})
        settings = {
            "AIRFLOW__OPENLINEAGE__DISABLED": "False",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": transport,
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "skyferry",
            "SKYFERRY_RETRIES": "0",
        }
        self.log = run_module("tests.e2e.lineage_process", str(asked), **(settings | variables))
        lines = events.read_text().splitlines() if events.exists() else []
        told = [json.loads(line) for line in lines]
        assert SECRET not in json.dumps(told)
        return [
            Run(
                state=ended["state"],
                report=next(iter(read_xcoms(dag_id, ended["run_id"]).get(("report", "return_value"), [])), None),
                seconds=ended["seconds"],
                events=[event for event in told if _run_id(event) == ended["run_id"]],
            )
            for ended in json.loads(asked.with_suffix(".ended").read_text())
        ]


def run_module(*arguments: str, **variables: str) -> str:
    """Return what a Python module printed; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **variables},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _run_id(event: dict[str, Any]) -> str:
    facets = event["run"]["facets"]
    return (facets.get("airflow") or facets["airflowDagRun"])["dagRun"]["run_id"]


@pytest.fixture(scope="module")
def lineage_runs(airflow_database: None, tmp_path_factory: pytest.TempPathFactory) -> LineageRuns:
    return LineageRuns(tmp_path_factory.mktemp("lineage"))


@dataclass(frozen=True)
class Told:
    """The runs all tests here look at: one for each kind of source and destination, and one that fails in part."""

    by_pair: dict[tuple[str, str], Run]
    failed: Run
    many: Run
    many_copies: int


PAIRS = (("s3", "az"), ("az", "gs"), ("gs", "file"), ("file", "s3"))
MANY = 130


@pytest.fixture(scope="module")
def told(lineage_runs: LineageRuns, buckets: Buckets) -> Told:
    confs = []
    for source_kind, destination_kind in PAIRS:
        source, destination = buckets.new(source_kind), buckets.new(destination_kind)
        source.put("a/{{ 6*7 }}.csv", b"123")
        source.put("b", b"4567")
        confs.append({"source": source.url, "destination": destination.url})
    source, destination = buckets.new("s3"), buckets.new("file")
    source.put("good", b"12345")
    source.put("x/", b"a marker with content, which no folder can hold")
    confs.append({"source": source.url, "destination": destination.url})
    source, destination = buckets.new("file"), buckets.new("file")
    for number in range(MANY):
        source.put(f"{number:03d}", b"x")
    confs.append({"source": source.url, "destination": destination.url, "batch_objects": MANY - 10})
    *pairs, failed, many = lineage_runs.run(*confs)
    return Told(by_pair=dict(zip(PAIRS, pairs, strict=True)), failed=failed, many=many, many_copies=MANY)


def all_runs(told: Told) -> list[Run]:
    return [*told.by_pair.values(), told.failed, told.many]


def statistics(event: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return objects and bytes read, objects and bytes written."""
    [read], [written] = event["inputs"], event["outputs"]
    before, after = read["inputFacets"]["inputStatistics"], written["outputFacets"]["outputStatistics"]
    return before["fileCount"], before["size"], after["fileCount"], after["size"]


def facet(event: dict[str, Any]) -> dict[str, Any]:
    return event["run"]["facets"]["skyferry_transfer"]


def test_each_stage_begins_and_ends_with_an_event(told):
    for run in told.by_pair.values():
        assert run.state == "success"
        for task_id in ("plan", "copy", "report"):
            assert len(run.events_of(task_id, "START")) == len(run.events_of(task_id, "COMPLETE")) == 1


def test_every_event_keeps_to_the_published_schemas(told, corpora):
    schemas = LineageSchemas(corpora / "openlineage-spec")
    events = [event for run in all_runs(told) for event in run.events]
    assert len(events) > 30
    assert [(event["job"]["name"], schemas.errors(event)) for event in events if schemas.errors(event)] == []


def test_our_facet_keeps_to_its_own_schema(told):
    facets = [
        facet(event) for run in all_runs(told) for event in run.events if "skyferry_transfer" in event["run"]["facets"]
    ]
    assert len(facets) > 15
    assert [error for one in facets for error in facet_errors(one)] == []
    assert facet_errors({**facets[0], "surprise": 1}) != []


def test_data_sets_have_the_names_of_the_specification(told):
    expected = {
        "s3": r"s3://bucket-[0-9-]+ /",
        "az": r"wasbs://bucket-[0-9-]+@devstoreaccount1\.dfs\.core\.windows\.net /",
        "gs": r"gs://bucket-[0-9-]+ /",
        "file": r"file /.*/roots/bucket-[0-9-]+",
    }
    for (source_kind, destination_kind), run in told.by_pair.items():
        for task_id in ("copy", "report"):
            [event] = run.events_of(task_id, "COMPLETE")
            [read], [written] = event["inputs"], event["outputs"]
            assert re.fullmatch(expected[source_kind], f"{read['namespace']} {read['name']}")
            assert re.fullmatch(expected[destination_kind], f"{written['namespace']} {written['name']}")
        [plan] = run.events_of("plan", "COMPLETE")
        assert (len(plan["inputs"]), plan["outputs"]) == (1, []), "a plan writes nothing"


def test_the_start_names_what_needs_no_connection(told):
    for (source_kind, destination_kind), run in told.by_pair.items():
        [event] = run.events_of("copy", "START")
        assert len(event["inputs"]) == (source_kind != "az")
        assert len(event["outputs"]) == (destination_kind != "az")


def test_the_numbers_are_those_of_the_report(told):
    for run in told.by_pair.values():
        assert (run.report["objects_copied"], run.report["bytes_copied"]) == (2, 7)
        for task_id in ("copy", "report"):
            [event] = run.events_of(task_id, "COMPLETE")
            assert statistics(event) == (2, 7, 2, 7)
            assert (facet(event)["objects_copied"], facet(event)["bytes_copied"]) == (2, 7)
            assert facet(event)["verified_by"] == run.report["verified_by"]
        assert run.report["records"].startswith(facet(run.events_of("copy", "COMPLETE")[0])["records"])
        [planned] = run.events_of("plan", "COMPLETE")
        assert (facet(planned)["objects_to_copy"], facet(planned)["bytes_to_copy"]) == (2, 7)


def test_each_copy_is_told_with_its_source_version_and_its_proof(told):
    [event] = told.by_pair["s3", "az"].events_of("copy", "COMPLETE")
    copies = {copy["source_object"]: copy for copy in facet(event)["copies"]}
    assert set(copies) == {"a/{{ 6*7 }}.csv", "b"}, "names are data"
    assert copies["b"]["source_etag"] == hashlib.md5(b"4567").hexdigest()
    assert copies["b"]["checksums"]["md5"] == copies["b"]["source_etag"]
    assert copies["b"]["destination_etag"].startswith("0x")
    assert (copies["b"]["verified_by"], copies["b"]["size_bytes"]) == ("md5", 4)


def test_a_failure_tells_what_really_was_copied(told):
    run = told.failed
    assert run.state == "failed"
    [event] = run.events_of("report", "FAIL")
    assert statistics(event) == (1, 5, 1, 5)
    assert (run.report["objects_copied"], run.report["bytes_copied"]) == (1, 5)
    assert facet(event)["objects_refused"] + facet(event)["objects_failed"] == 1
    assert "errorMessage" in event["run"]["facets"]


def test_events_are_bounded_however_many_objects_there_are(told):
    copies = told.many.events_of("copy", "COMPLETE")
    assert sum(facet(event)["objects_copied"] for event in copies) == MANY
    assert [len(facet(event)["copies"]) for event in copies] == [MAX_COPIES_KEPT, MAX_COPIES_KEPT]
    assert sum(facet(event)["copies_left_out"] for event in copies) == MANY - 2 * MAX_COPIES_KEPT
    assert all(len(event["inputs"]) == len(event["outputs"]) == 1 for event in copies)
    [end] = told.many.events_of("report", "COMPLETE")
    assert statistics(end) == (MANY, MANY, MANY, MANY)
    assert "copies" not in facet(end)


SENSORS = """
from airflow.sdk import DAG
from sensors.s3_new_objects import S3NewObjectsSensor
from sensors.sqs_object_events import SqsObjectEventsSensor

with DAG("lineage_of_sensors", schedule=None) as dag:
    S3NewObjectsSensor(task_id="azure", url="{azure}", timeout=5, retries=0)
    S3NewObjectsSensor(task_id="s3", url="{s3}in/", timeout=0, retries=0)
    SqsObjectEventsSensor(task_id="queue", queue_url="{queue}", timeout=5, retries=0)
"""


def test_sensors_tell_what_they_watch(lineage_runs, buckets, emulators, tmp_path):
    azure, empty = buckets.new("az"), buckets.new("s3")
    azure.put("a", b"1")
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    sqs = boto3.client("sqs", endpoint_url=emulators.s3, **keys)
    queue_url = sqs.create_queue(QueueName=f"lineage-{os.getpid()}")["QueueUrl"]
    sqs.send_message(QueueUrl=queue_url, MessageBody="anything")
    file = tmp_path / "lineage_of_sensors.py"
    file.write_text(SENSORS.format(azure=azure.url, s3=empty.url, queue=queue_url))
    [run] = lineage_runs.run({}, dag_file=str(file), dag_id="lineage_of_sensors")

    def watched(task_id: str, kind: str) -> list[tuple[str, str]]:
        [event] = run.events_of(task_id, kind)
        assert event["outputs"] == []
        return [(one["namespace"], one["name"]) for one in event["inputs"]]

    assert watched("azure", "START") == []
    assert watched("azure", "COMPLETE") == [(f"wasbs://{azure.name}@devstoreaccount1.dfs.core.windows.net", "/")]
    assert watched("s3", "START") == watched("s3", "FAIL") == [(f"s3://{empty.name}", "in")]
    assert watched("queue", "COMPLETE") == [("sqs://127.0.0.1", urllib.parse.urlsplit(queue_url).path[1:])]
    if os.environ.get("SKYFERRY_CORPORA"):
        schemas = LineageSchemas(Path(os.environ["SKYFERRY_CORPORA"]) / "openlineage-spec")
        assert [schemas.errors(event) for event in run.events if schemas.errors(event)] == []


class DeadBackend:
    """A server that takes every request and answers none, and counts them."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._held: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    @property
    def requests(self) -> int:
        return len(self._held)

    def take_requests(self) -> None:
        """Work until the server is closed."""
        while True:
            try:
                self._held.append(self._server.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._held:
            connection.close()


@pytest.fixture
def hanging_backend() -> Iterator[DeadBackend]:
    backend = DeadBackend()
    taking = threading.Thread(target=backend.take_requests)
    taking.start()
    yield backend
    backend.close()
    taking.join()


def recommended_transport(url: str) -> str:
    [recommended] = [json.loads(block.text) for block in blocks("json", "transport")]
    return json.dumps({**recommended, "url": url})


EVENTS = 7
"""Of a transfer: three tasks with two each, and the end of the run."""


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what a process nobody waits for does."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def transfer_with(lineage_runs: LineageRuns, buckets: Buckets, url: str, **variables: str) -> Run:
    source, destination = buckets.new("file"), buckets.new("file")
    source.put("a", b"1")
    conf = {"source": source.url, "destination": destination.url}
    [run] = lineage_runs.run(conf, AIRFLOW__OPENLINEAGE__TRANSPORT=recommended_transport(url), **variables)
    assert (run.state, destination.content()) == ("success", {"a": b"1"})
    return run


def test_nobody_waits_for_a_lineage_backend_that_hangs(lineage_runs, buckets, hanging_backend):
    run = transfer_with(lineage_runs, buckets, hanging_backend.url, AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT="60")
    # Waiting for one event would take the ten seconds of the recommended transport, six times in the tasks alone.
    assert run.seconds < 6 * 10
    wait_for(lambda: hanging_backend.requests >= EVENTS)


def test_a_lineage_backend_that_is_not_there_fails_no_transfer_and_is_told_of(lineage_runs, buckets, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    logs = {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path)}
    transfer_with(lineage_runs, buckets, f"http://127.0.0.1:{port}", **logs)
    log = tmp_path / "lineage.log"
    wait_for(lambda: log.exists() and log.read_text().count("an event was not sent") == EVENTS)


def test_a_backend_that_answers_gets_every_event(lineage_runs, buckets):
    with listening() as backend:
        run = transfer_with(lineage_runs, buckets, backend.url)
        wait_for(lambda: len(backend.requests) == EVENTS)
    told = [event for _, _, event in backend.requests]
    assert run.state == "success"
    kinds = Counter(event["eventType"] for event in told)
    assert kinds == {"START": 3, "COMPLETE": 4}
