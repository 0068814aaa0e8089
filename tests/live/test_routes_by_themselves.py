"""Routes that run by themselves, in a whole local stack: what is put arrives, and nobody starts a run.

Backstops are a year away, so whatever arrives was noticed.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.live.conftest import Live, eventually

pytestmark = pytest.mark.slow


def test_an_object_below_a_prefix_arrives(live: Live) -> None:
    live.put("objects/2026/a.csv")
    eventually(lambda: live.arrived("objects/") == {"2026/a.csv"}, "the object to arrive")
    assert {run["run_type"] for run in live.runs("transfer__objects")} == {"asset_triggered"}


def test_a_file_that_is_whole_arrives(live: Live) -> None:
    _drop(live.inbox / "a.csv", b"whole")
    eventually(lambda: "a.csv" in live.arrived("files/"), "the file to arrive")
    assert {run["run_type"] for run in live.runs("transfer__files")} == {"asset_triggered"}


def test_a_continuous_route_waits_in_the_triggerer(live: Live) -> None:
    live.put("waits/a.csv")
    eventually(lambda: live.arrived("waits/") == {"a.csv"}, "the object to arrive")
    assert {run["run_type"] for run in live.runs("transfer__waits")} == {"scheduled"}


def test_nothing_is_stranded_when_scheduler_and_triggerer_are_killed(live: Live) -> None:
    keys = {f"kills/{number:03d}" for number in range(40)}
    putting = threading.Thread(target=_put_slowly, args=(live, sorted(keys)))
    putting.start()
    live.kill("triggerer")
    live.kill("scheduler")
    live.kill("triggerer")
    putting.join()
    eventually(lambda: keys <= live.arrived("objects/"), "everything to arrive")


def test_with_nothing_to_do_no_worker_slot_is_held(live: Live) -> None:
    eventually(lambda: _is_idle(live), "the runs under way to end")
    waiting = live.get("dags/~/dagRuns/~/taskInstances", state=["deferred"], limit=100)["task_instances"]
    assert [(one["dag_id"], one["task_id"]) for one in waiting] == [("transfer__waits", "detect")]


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
        threading.Event().wait(0.5)
