"""What is said of a run is true, whatever the run went through; and the checker that looks would notice if not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_home import PROJECT
from tests.e2e.buckets import Bucket
from tests.e2e.conftest import Buckets, Emulators, Places, read_xcoms
from tests.e2e.history_witnesses import HistoryWitnesses
from tests.e2e.test_failures import s3_connection
from tests.e2e.truth import HISTORY_WITNESSES, Account, Evidence, check_truth
from tests.faults.proxy import delay, fault_proxy_in_thread

OBJECTS = 30
WHEN = "2026-03-04T05:06:07+00:00"


class RepeatedRun:
    """One DAG run in a process that may be stopped, and run again under the same id, as if it were cleared."""

    def __init__(self, folder: Path, buckets: Buckets, witnesses: HistoryWitnesses, conf: dict[str, Any]) -> None:
        self._folder = folder
        self._asked = folder / "runs.json"
        self._events = folder / "events.ndjson"
        dags = str(PROJECT / "dags" / "transfer.py")
        self._asked.write_text(
            json.dumps([{"dag_id": "transfer", "conf": conf, "dags_folder": dags, "logical_date": WHEN}])
        )
        self._places = Places(buckets, witnesses, conf, "transfer")

    def start(self, **variables: str) -> subprocess.Popen[str]:
        transport = {"type": "file", "log_file_path": str(self._events), "append": True}
        settings = {
            "AIRFLOW__OPENLINEAGE__DISABLED": "False",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "SKYFERRY_RETRIES": "0",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.lineage_process", str(self._asked)],
            env={**os.environ, **settings, **variables},
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for the end, look whether all accounts agree, and return the report."""
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        [ended] = json.loads(self._asked.with_suffix(".ended").read_text())
        [report] = read_xcoms("transfer", ended["run_id"])["report", "return_value"]
        told = self._places.check(ended["run_id"], ended["state"], report, events=self.events())
        history = {witness.__name__ for witness in HISTORY_WITNESSES}
        assert told >= {"stores", "receipts", "report", "lineage"} | history
        return {**report, "run_state": ended["state"]}

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._events.read_text().splitlines()]


def wait_for_copies(destination: Bucket, count: int) -> None:
    deadline = time.monotonic() + 180
    while len(destination.content()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def source(buckets: Buckets) -> Bucket:
    bucket = buckets.new("s3")
    for number in range(OBJECTS):
        bucket.put(f"{number:02d}.csv", b"x" * (number + 1))
    return bucket


def test_a_run_that_is_cancelled_and_cleared_counts_each_object_once(
    witnesses: HistoryWitnesses, emulators: Emulators, buckets: Buckets, source: Bucket, tmp_path: Path
) -> None:
    destination = buckets.new("file")
    run = RepeatedRun(tmp_path, buckets, witnesses, {"source": source.url, "destination": destination.url})
    with fault_proxy_in_thread(emulators.s3) as proxy:
        proxy.inject(delay(600), method="GET", target_contains="/07.csv")
        process = run.start(AIRFLOW_CONN_AWS_DEFAULT=s3_connection(proxy.url))
        wait_for_copies(destination, OBJECTS - 1)
        process.send_signal(signal.SIGTERM)
        cancelled = run.ended(process)
    assert (cancelled["run_state"], cancelled["objects_copied"]) == ("failed", OBJECTS - 1)
    [stopped] = [
        event for event in run.events() if event["eventType"] == "FAIL" and event["job"]["name"][-5:] == ".copy"
    ]
    assert stopped["run"]["facets"]["skyferry_transfer"]["objects_copied"] == OBJECTS - 1, "what really was copied"

    cleared = run.ended(run.start())
    assert (cleared["run_state"], cleared["objects_copied"]) == ("success", OBJECTS)

    again = run.ended(run.start())
    names = ("objects_planned", "objects_copied", "bytes_copied", "verified_by")
    assert {name: again[name] for name in names} == {name: cleared[name] for name in names}


def evidence(**changes: Any) -> Evidence:
    told = Evidence(
        run_id="one",
        state="success",
        report={"objects_copied": 1, "bytes_copied": 3, "records": "s3://state/run/"},
        source_before={"a": b"abc"},
        destination_before={"b": b"old"},
        destination_after={"a": b"abc", "b": b"old"},
        asset_events=[{"run_id": "one", "objects_copied": 1, "bytes_copied": 3}],
    )
    return replace(told, **changes)


def test_accounts_that_agree_are_returned() -> None:
    assert set(check_truth(evidence())) == {"stores", "report", "asset_event"}
    assert set(check_truth(evidence()).values()) == {Account(1, 3)}


@pytest.mark.parametrize(
    "lie",
    [
        {"report": {"objects_copied": 2, "bytes_copied": 3, "records": "s3://state/run/"}},
        {"report": {"objects_copied": 1, "bytes_copied": 4, "records": "s3://state/run/"}},
        {"destination_after": {"b": b"old"}},
        {"destination_after": {"a": b"abc", "b": b"new"}},
        {"asset_events": [{"run_id": "one", "objects_copied": 0, "bytes_copied": 0}]},
        {"told": {"status": {"objects_copied": 2, "bytes_copied": 3}}},
        {"told": {"statistic": {"objects_copied": 2, "bytes_copied": 6}}},
        {"told": {"transfer_over_http": {"objects_copied": 0, "bytes_copied": 3}}},
        {"told": {"statistics_over_http": {"objects_copied": 1, "bytes_copied": 0}}},
        {"report": None},
    ],
)
def test_a_lie_is_noticed(lie: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_truth(evidence(**lie))


def test_a_receipt_for_other_bytes_is_noticed(tmp_path: Path) -> None:
    receipts = tmp_path / "receipts" / "00000"
    receipts.mkdir(parents=True)
    row = {"key": "a", "destination_key": "a", "outcome": "copied", "size_bytes": 3, "verified_by": "md5"}
    (receipts / "try-01.ndjson").write_text(json.dumps(row) + "\n")
    report = {"objects_copied": 1, "bytes_copied": 3, "records": f"file://{tmp_path}/"}
    assert "receipts" in check_truth(evidence(report=report))
    with pytest.raises(AssertionError):
        check_truth(evidence(report=report, destination_after={"a": b"abd", "b": b"old"}))
