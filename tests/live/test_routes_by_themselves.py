"""Routes that run by themselves, in a whole local stack: what is put arrives, and nobody starts a run.

Backstops are a year away, so whatever arrives was noticed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live.conftest import ARRIVE_SECONDS, Live, eventually
from tests.unit.cli.command import transfer

pytestmark = pytest.mark.slow

CONSUME = "consume__live-events"
UNDER_WAY = ("queued", "running")


def test_an_object_below_a_prefix_arrives(live: Live) -> None:
    live.put("objects/2026/a.csv")
    eventually(lambda: live.arrived("objects/") == {"2026/a.csv"}, "the object to arrive")
    assert {run["run_type"] for run in live.runs("transfer__objects")} == {"asset_triggered"}


def test_a_file_that_is_whole_arrives(live: Live) -> None:
    _drop(live.inbox / "a.csv", b"whole")
    eventually(lambda: "a.csv" in live.arrived("files/"), "the file to arrive")
    assert {run["run_type"] for run in live.runs("transfer__files")} == {"asset_triggered"}


def test_a_probe_of_the_doctor_is_noticed_copied_and_removed(live: Live) -> None:
    environ = {"SKYFERRY_STACK": str(live.layout.state)}
    timeout = ("--timeout", f"{ARRIVE_SECONDS}s")
    done = transfer(
        "doctor",
        "--id",
        "files",
        "--send-probe",
        *timeout,
        "--json",
        environ=environ,
        timeout_seconds=3 * ARRIVE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [one["step"] for one in found["steps"]] == ["written", "begun", "planned", "copied", "reported"]
    dag_id, _, run_id = found["run"].partition("/")
    types = {run["dag_run_id"]: run["run_type"] for run in live.runs(dag_id)}
    assert types[run_id] == "asset_triggered"
    name = found["source"].rpartition("/")[2]
    assert not (live.inbox / name).exists()
    assert name not in live.arrived("files/")


def test_a_continuous_route_waits_in_the_triggerer(live: Live) -> None:
    live.put("waits/a.csv")
    eventually(lambda: live.arrived("waits/") == {"a.csv"}, "the object to arrive")
    assert {run["run_type"] for run in live.runs("transfer__waits")} == {"scheduled"}


def test_what_a_queue_tells_of_arrives_by_every_route_it_concerns(live: Live) -> None:
    live.put("queue/first/a.csv")
    live.put("queue/second/b.csv")
    eventually(lambda: live.arrived("first/") == {"a.csv"} and live.arrived("second/") == {"b.csv"}, "both to arrive")
    eventually(lambda: live.waiting() == (0, 0), "the queue to be empty")
    eventually(lambda: _have_ended(live, CONSUME), "the runs to end")
    runs = [run for run in live.runs(CONSUME) if run["state"] not in UNDER_WAY]
    assert {(run["run_type"], run["state"]) for run in runs} == {("asset_triggered", "success")}
    reports = [live.report(CONSUME, run["dag_run_id"]) for run in runs]
    assert sum(report["objects_copied"] for report in reports) == 2
    copied = Counter({"first": 0, "second": 0})
    for report in reports:
        copied.update({route: numbers["objects_copied"] for route, numbers in report["by_route"].items()})
    assert copied == {"first": 1, "second": 1}


def test_a_burst_while_a_run_is_under_way_arrives_and_costs_few_empty_runs(live: Live) -> None:
    before = len(live.runs(CONSUME))
    live.put("queue/first/burst/0000")
    eventually(lambda: len(live.runs(CONSUME)) > before, "a run to begin")
    keys = [f"burst/{number:04d}" for number in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: live.put(f"queue/first/{key}"), keys))
    eventually(lambda: set(keys) <= live.arrived("first/"), "everything to arrive")
    eventually(lambda: live.waiting() == (0, 0), "the queue to be empty")
    eventually(lambda: _have_ended(live, CONSUME), "the runs to end")
    # One more may have begun in between: what rings at the very end makes a run that finds nothing.
    runs = [run for run in live.runs(CONSUME)[before:] if run["state"] not in UNDER_WAY]
    assert {run["state"] for run in runs} == {"success"}
    received = [live.report(CONSUME, run["dag_run_id"])["messages"].get("received", 0) for run in runs]
    assert sum(received) >= 1001
    # What rings while a run is under way makes one more run, which finds nothing if the first one took it all.
    assert received.count(0) <= (len(runs) + 1) / 2, received


def test_a_listing_run_copies_what_no_event_told_of_and_counts_it(live: Live) -> None:
    with live.without_events():
        live.put("queue/second/lost/1")
        live.put("queue/second/lost/2")
    run_id = live.start("transfer__second")
    eventually(lambda: live.state("transfer__second", run_id) in ("success", "failed"), "the run to end")
    report = live.report("transfer__second", run_id)
    assert (report["state"], report["objects_copied"], report["missed_by_events"]) == ("success", 2, 2)
    assert {"lost/1", "lost/2"} <= live.arrived("second/")


def test_nothing_is_stranded_when_scheduler_and_triggerer_are_killed(live: Live) -> None:
    keys = {f"kills/{number:03d}" for number in range(40)}
    putting = threading.Thread(target=_put_slowly, args=(live, sorted(keys)))
    putting.start()
    live.kill("triggerer")
    live.kill("scheduler")
    putting.join()
    eventually(lambda: keys <= live.arrived("objects/"), "what a listing finds to arrive")
    eventually(lambda: keys <= live.arrived("first/"), "what the queue tells of to arrive")
    eventually(lambda: live.waiting() == (0, 0), "the queue to be empty")


def test_with_nothing_to_do_no_worker_slot_is_held(live: Live) -> None:
    for dag_id in (CONSUME, "transfer__objects", "transfer__files", "transfer__second"):
        eventually(lambda dag_id=dag_id: _have_ended(live, dag_id), "the runs under way to end")
    eventually(lambda: _is_idle(live), "the tasks under way to end")
    waiting = live.get("dags/~/dagRuns/~/taskInstances", state=["deferred"], limit=100)["task_instances"]
    assert [(one["dag_id"], one["task_id"]) for one in waiting] == [("transfer__waits", "detect")]


def _have_ended(live: Live, dag_id: str) -> bool:
    """Tell whether no run is under way, in several looks one after the other: a ring makes a run a moment later."""
    return all(run["state"] not in UNDER_WAY for _ in range(5) for run in live.runs(dag_id))


def _is_idle(live: Live) -> bool:
    """Tell whether no task holds a slot, in several looks one after the other."""
    return all(live.held_slots() == [] for _ in range(5))


def _drop(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_bytes(content)
    unfinished.rename(path)


def _put_slowly(live: Live, keys: list[str]) -> None:
    for key in keys:
        live.put(f"objects/{key}")
        live.put(f"queue/first/{key}")
        threading.Event().wait(0.5)
