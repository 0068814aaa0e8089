"""Queues in whole DAG runs: the sensor that waits for work, and the consumers that do it."""

from __future__ import annotations

import itertools
import json
import os
import textwrap
import threading
import time
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from skyferry.history.statistics import compute_statistics
from skyferry.history.transfer_run import TransferRun
from tests.airflow_home import PROJECT
from tests.e2e.buckets import Bucket
from tests.e2e.conftest import SECRET, Buckets, Emulators, Ended, Runner
from tests.e2e.history_witnesses import HistoryWitnesses
from tests.e2e.test_arrivals import events as arrivals

DAG_FILE = """
from airflow.sdk import DAG
from airflow_bridge.arrival_assets import arrival_links
from operators.consumption_report import ReportConsumptionOperator
from operators.transfer_consume import ConsumeQueueOperator
from sensors.sqs_object_events import SqsObjectEventsSensor

with DAG("{dag_id}", schedule=None, tags=["skyferry"]) as dag:
    {body}
"""
SENSOR = "SqsObjectEventsSensor(task_id='detect', queue_url='{url}', poke_interval=0.2, retries=0, {arguments})"
CONSUMERS = (
    "ConsumeQueueOperator.partial(task_id='copy', route_ids={routes}, queue_url='{url}', retries=0,"
    " options={{'wait_seconds': 2, {options}}}).expand(slot=[0, 1])"
    " >> ReportConsumptionOperator("
    "task_id='report', route_ids={routes}, queue_url='{url}', consumers=2, retries=0,"
    " **arrival_links('queue', {routes}))"
)
ROUTE = """
id: {id}
source: {{url: "{source}"}}
destination: {{url: "{destination}"}}
{more}
"""
_NUMBERS = itertools.count()


class Queue:
    """A queue of an emulator."""

    def __init__(self, endpoint: str) -> None:
        self.client = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.name = f"queue-{os.getpid()}-{next(_NUMBERS)}"
        self.url = self.client.create_queue(QueueName=self.name)["QueueUrl"]

    def listen(self, bucket: Any) -> None:
        target = {"QueueArn": f"arn:aws:sqs:us-east-1:123456789012:{self.name}", "Events": ["s3:ObjectCreated:*"]}
        bucket.client.put_bucket_notification_configuration(
            Bucket=bucket.name, NotificationConfiguration={"QueueConfigurations": [target]}
        )

    def send(self, body: str) -> None:
        self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def counts(self) -> tuple[int, int]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture
def queue(emulators: Emulators) -> Queue:
    return Queue(emulators.s3)


RunBody = Callable[..., Ended]
RunFile = Callable[[Path, str, dict[str, Any]], Ended]


@pytest.fixture
def run(run_file: RunFile, tmp_path: Path) -> RunBody:
    """Run a DAG of these tasks once."""

    def run_body(body: str, conf: dict[str, Any] | None = None) -> Ended:
        dag_id = f"consume__{os.getpid()}_{next(_NUMBERS)}"
        file = tmp_path / f"{dag_id}.py"
        file.write_text(textwrap.dedent(DAG_FILE).format(dag_id=dag_id, body=body))
        return run_file(file, dag_id, conf or {})

    return run_body


@pytest.fixture
def run_file(capfd: pytest.CaptureFixture[str], buckets: Buckets, witnesses: HistoryWitnesses) -> RunFile:
    """Run a DAG of a file once."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    def run_once(file: Path, dag_id: str, conf: dict[str, Any]) -> Ended:
        bag = DagBag(str(file))
        assert bag.import_errors == {}
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        return Runner(bag, capfd, buckets, witnesses).run(conf, dag_id)

    return run_once


@pytest.fixture
def audit(run_file: RunFile) -> Callable[[Ended], Ended]:
    """Audit a run as `transfer audit` does."""
    file = PROJECT / "dags" / "transfer_audit.py"
    return lambda ended: run_file(file, "audit", {"dag_id": ended.dag_id, "run_id": ended.run_id})


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write route files `route_0`, `route_1`, ...; returns their ids as Python text."""

    def write(*places: tuple[Bucket, Bucket], more: str = "") -> str:
        folder = tmp_path / "config" / "routes"
        folder.mkdir(parents=True)
        ids = [f"route_{number}" for number in range(len(places))]
        for route_id, (source, destination) in zip(ids, places, strict=True):
            text = ROUTE.format(id=route_id, source=source.url, destination=destination.url, more=more)
            (folder / f"{route_id}.yaml").write_text(text)
        monkeypatch.setenv("SKYFERRY_CONFIG", str(folder.parent))
        return repr(ids)

    return write


def consumers(routes: str, queue: Queue, options: str = "") -> str:
    return CONSUMERS.format(routes=routes, url=queue.url, options=options)


def sensor(queue: Queue, arguments: str) -> str:
    return SENSOR.format(url=queue.url, arguments=arguments)


@pytest.mark.parametrize("how", ["mode='poke'", "mode='reschedule'", "deferrable=True"])
def test_the_sensor_waits_for_work_and_takes_nothing(run: RunBody, queue: Queue, how: str) -> None:
    sender = threading.Timer(3, queue.send, ["anything"])
    sender.start()
    started = time.monotonic()
    ended = run(sensor(queue, how))
    sender.join()
    assert time.monotonic() - started > 3
    assert ended.state == "success"
    assert ended.xcoms["detect", "return_value"] == [{"waiting": 1, "in_flight": 0}]
    assert queue.counts() == (1, 0), "the message is where it was, and visible"


@pytest.mark.parametrize("how", ["mode='poke'", "mode='reschedule'", "deferrable=True"])
def test_the_sensor_gives_up_after_its_time(run: RunBody, queue: Queue, how: str) -> None:
    assert run(sensor(queue, f"{how}, timeout=1")).state == "failed"


@pytest.mark.parametrize("how", ["mode='poke'", "deferrable=True"])
def test_a_queue_that_is_not_there_is_one_message(run: RunBody, queue: Queue, how: str) -> None:
    queue.url += "-typo"
    ended = run(sensor(queue, how))
    assert ended.state == "failed"
    assert len([line for line in ended.errors if "there is no queue" in line]) == 1
    assert "queue_watch.py" not in ended.log, "a foreseen error has no traceback"


def test_a_connection_that_is_not_there_is_one_message(run: RunBody, queue: Queue) -> None:
    ended = run(sensor(queue, "conn_id='nobody'"))
    assert any('there is no Airflow connection "nobody", which queue http' in line for line in ended.errors)


def test_sensor_and_consumers_bring_notified_objects_to_every_destination(
    run: RunBody, buckets: Buckets, queue: Queue, routes: Callable[..., str]
) -> None:
    source, container, folder = buckets.new("s3"), buckets.new("az"), buckets.new("file")
    queue.listen(source)
    content = {f"in/{number} {{{{ 6*7 }}}}.csv": f"content {number}".encode() for number in range(30)}
    for key, body in content.items():
        source.put(key, body)

    ids = routes((source, container), (source, folder))
    ended = run(sensor(queue, "") + " >> " + consumers(ids, queue))

    assert ended.state == "success"
    assert container.content() == content
    assert folder.content() == content
    results = ended.xcoms["copy", "return_value"]
    assert len(results) == 2
    assert sum(result["copied"] for result in results) == 60
    assert queue.counts() == (0, 0)
    report = ended.report
    assert report is not None
    assert (report["state"], report["objects_copied"], report["objects_planned"]) == ("success", 60, 60)
    assert {route: one["objects_copied"] for route, one in report["by_route"].items()} == {"route_0": 30, "route_1": 30}
    assert report["messages"] == {"received": 31, "deleted": 31}
    announced = [arrivals(route_id)[-1] for route_id in ("route_0", "route_1")]
    assert [one["objects_copied"] for one in announced] == [30, 30]
    assert [one["destination"] for one in announced] == [container.url, folder.url]
    assert SECRET not in ended.log
    assert not [key for key in content if key in json.dumps([results, report, announced])], "names stay out of XCom"


def test_a_run_of_a_queue_is_audited_and_counted_by_what_it_reported(
    run: RunBody, audit: Callable[[Ended], Ended], buckets: Buckets, queue: Queue, routes: Callable[..., str]
) -> None:
    source, container, folder = buckets.new("s3"), buckets.new("az"), buckets.new("file")
    queue.listen(source)
    for number in range(5):
        source.put(f"{number}.csv", b"x" * (number + 1))
    source.put("4.csv", b"a second version")
    ended = run(consumers(routes((source, container), (source, folder)), queue))
    assert ended.state == "success"

    audited = audit(ended)
    assert audited.state == "success", audited.errors
    [found] = audited.xcoms["audit", "return_value"]
    assert (found["objects_audited"], found["objects_confirmed"], found["differences"]) == (10, 10, [])
    folder.put("0.csv", b"y")
    (Path(urllib.parse.urlsplit(folder.url).path) / "1.csv").unlink()
    audited = audit(ended)
    assert audited.state == "failed"
    [found] = audited.xcoms["audit", "return_value"]
    assert found["differences_by_kind"] == {"other_content": 1, "missing": 1}
    assert (found["objects_audited"], found["objects_confirmed"]) == (10, 8)

    counted = TransferRun(
        dag_id=ended.dag_id, run_id=ended.run_id, route=ended.dag_id, state=ended.state, run_type="manual",
        run_after=datetime.now(UTC), report=ended.report,
    )  # fmt: skip
    statistics = compute_statistics([counted], group_by="route")
    assert {group.name: group.objects_copied for group in statistics.groups} == {
        name: share["objects_copied"] for name, share in (ended.report or {})["by_route"].items()
    }
    assert {group.name for group in statistics.groups} == {"route_0", "route_1"}
    assert statistics.total.objects_copied == sum(group.objects_copied for group in statistics.groups) >= 10
    assert (statistics.total.runs_total, statistics.total.runs["success"]) == (1, 1)
    assert statistics.total.bytes_copied >= 2 * (1 + 2 + 3 + 4 + len(b"a second version"))
    by_pair = compute_statistics([counted], group_by="pair").groups
    assert {group.name for group in by_pair} == {"s3 to az", "s3 to file"}


def test_what_a_queue_had_deleted_is_listed_over_http(
    run: RunBody, witnesses: HistoryWitnesses, buckets: Buckets, queue: Queue, routes: Callable[..., str]
) -> None:
    source, destination = buckets.new("s3"), buckets.new("file")
    queue.listen(source)
    source.put("stays.csv", b"s")
    source.put("goes.csv", b"goes")
    more = f"detect: {{kind: sqs, queue_url: '{queue.url}'}}\nmirror_deletes: true"
    ids = routes((source, destination), more=more)
    assert run(consumers(ids, queue)).state == "success"
    source.client.delete_object(Bucket=source.name, Key="goes.csv")
    place = {"bucket": {"name": source.name}, "object": {"key": "goes.csv", "sequencer": "FF"}}
    removed = {"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete", "eventVersion": "2.1", "s3": place}
    queue.send(json.dumps({"Records": [removed]}))
    ended = run(consumers(ids, queue))
    assert destination.content() == {"stays.csv": b"s"}

    def listed(outcome: str) -> list[tuple[str, str]]:
        path = f"/transfers/{ended.dag_id}/{ended.run_id}/objects"
        found = witnesses.http.get(path, params={"outcome": outcome}).raise_for_status().json()
        assert found["next_cursor"] is None
        return [(one["key"], one["outcome"]) for one in found["objects"]]

    assert (listed("deleted"), listed("copied")) == ([("goes.csv", "deleted")], [])


def test_a_consumer_that_leaves_something_undone_fails_with_one_message(
    run: RunBody, buckets: Buckets, queue: Queue, routes: Callable[..., str]
) -> None:
    source, destination = buckets.new("s3"), buckets.new("file")
    queue.listen(source)
    before = len(arrivals("route_0"))
    source.put("a\\b", b"a name the folder takes")
    source.put("x/", b"a marker with content, which no folder can hold")
    ended = run(consumers(routes((source, destination)), queue))
    assert ended.state == "failed"
    assert len([line for line in ended.errors if "objects were not copied" in line]) == 1
    assert len([line for line in ended.errors if "1 refused and 0 failed of 2 objects" in line]) == 1
    assert "Traceback" not in ended.log
    assert queue.counts() == (0, 0), "its message is in quarantine"
    report = ended.report
    assert report is not None
    assert (report["state"], report["objects_copied"], report["objects_refused"]) == ("failed", 1, 1)
    assert report["messages"]["quarantined"] == 1
    assert len(arrivals("route_0")) == before, "what a failed run copied is announced by the next one"
    source.put("b", b"all is well")
    assert run(consumers(repr(["route_0"]), queue)).state == "success"
    assert [one["objects_copied"] for one in arrivals("route_0")[-1]["failed_runs_before"]] == [1]


def test_a_wrong_option_is_one_message_and_the_report_misses_the_consumers(
    run: RunBody, buckets: Buckets, queue: Queue, routes: Callable[..., str]
) -> None:
    ids = routes((buckets.new("s3"), buckets.new("file")))
    ended = run(consumers(ids, queue, "'max_seconds': 0"))
    assert ended.state == "failed"
    assert len([line for line in ended.errors if "max_seconds is 0; expected 1 to 86,400" in line]) == 2
    assert ended.report is not None
    problems = ended.report["problems"]
    assert [problem.split(",")[0] for problem in problems] == [
        "consumer 0 did not come to its end",
        "consumer 1 did not come to its end",
    ]


def test_a_missing_bucket_is_one_error_for_each_consumer(
    run: RunBody, buckets: Buckets, queue: Queue, routes: Callable[..., str]
) -> None:
    source = buckets.new("s3", create=False)
    ended = run(consumers(routes((source, buckets.new("file"))), queue))
    assert ended.state == "failed"
    assert len([line for line in ended.errors if f"there is no bucket {source.url}" in line]) == 2
    assert "Traceback" not in ended.log


def test_nothing_to_report_when_the_consumers_were_skipped(
    run: RunBody, queue: Queue, routes: Callable[..., str]
) -> None:
    ids = "['nobody']"
    ended = run(sensor(queue, "timeout=1, soft_fail=True") + " >> " + consumers(ids, queue))
    assert ended.state == "success"
    assert ended.tasks["report"] == ["skipped"]
