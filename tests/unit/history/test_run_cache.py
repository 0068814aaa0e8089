"""The cache keeps what Airflow said as long as that holds, and survives being damaged, outdated or deleted."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skyferry.history.run_cache import RunCache, cache_file
from skyferry.history.transfer_run import TransferRun

NOW = datetime(2026, 11, 21, 5, tzinfo=UTC)
RUN = TransferRun(
    dag_id="transfer__orders", run_id="one", route="orders", state="success", run_type="manual",
    run_after=NOW, queued_at=NOW, started_at=NOW, ended_at=NOW + timedelta(seconds=3), note='a "note"',
)  # fmt: skip
REPORT = {"state": "success", "objects_copied": 2, "records": "file:///x/é"}


@pytest.fixture
def cache(tmp_path: Path) -> RunCache:
    return RunCache(tmp_path / "new" / "cache.sqlite")


def reported(cache: RunCache, run: TransferRun = RUN) -> None:
    cache.put([run], listing=1)
    cache.put_reports([(run.dag_id, run.run_id, run.route, REPORT)])


def test_a_run_comes_back_as_it_was(cache: RunCache) -> None:
    reported(cache)
    assert list(cache.runs(since=None)) == [replace(RUN, report=REPORT)]
    assert cache.unreported(since=None, limit=9) == []


def test_a_run_that_is_listed_again_unchanged_keeps_its_report(cache: RunCache) -> None:
    reported(cache)
    cache.put([replace(RUN, note="another")], listing=1)
    assert list(cache.runs(since=None)) == [replace(RUN, report=REPORT, note="another")]


@pytest.mark.parametrize(
    "change",
    [
        {"state": "running", "ended_at": None},
        {"started_at": NOW + timedelta(hours=1), "ended_at": NOW + timedelta(hours=2)},
        {"ended_at": NOW + timedelta(seconds=4)},
        {"state": "failed"},
    ],
)
def test_a_run_that_changed_loses_its_report(cache: RunCache, change: dict[str, object]) -> None:
    reported(cache)
    changed = replace(RUN, **change)
    cache.put([changed], listing=1)
    assert list(cache.runs(since=None)) == [changed]
    wanted = [("transfer__orders", "one", "orders")] if changed.is_finished else []
    assert cache.unreported(since=None, limit=9) == wanted
    assert cache.count_unreported(since=None) == len(wanted)


@pytest.mark.parametrize(
    ("run", "report", "is_taken"),
    [
        (RUN, REPORT | {"started_at": NOW.isoformat()}, True),
        (RUN, REPORT | {"started_at": (NOW - timedelta(hours=1)).isoformat()}, False),
        (RUN, REPORT | {"started_at": None}, False),
        (RUN, REPORT, False),
        (replace(RUN, state="failed"), REPORT | {"started_at": NOW.isoformat()}, False),
        (replace(RUN, run_id="two"), REPORT | {"started_at": NOW.isoformat()}, False),
    ],
)
def test_an_announced_report_counts_for_the_turn_it_is_of(
    cache: RunCache, run: TransferRun, report: dict[str, object], is_taken: bool
) -> None:
    cache.put([run], listing=1)
    cache.put_announced([(RUN.dag_id, RUN.run_id, RUN.route, report)])
    assert next(cache.runs(since=None)).report == (report if is_taken else None)
    assert cache.first_unreported(since=None) == (None if is_taken else NOW)


def test_a_run_without_a_report_is_not_asked_again(cache: RunCache) -> None:
    cache.put([RUN], listing=1)
    cache.put_reports([(RUN.dag_id, RUN.run_id, RUN.route, None)])
    assert cache.unreported(since=None, limit=9) == []
    assert next(cache.runs(since=None)).is_report_missing


def test_what_a_whole_listing_does_not_name_is_forgotten_as_far_as_it_reaches(cache: RunCache) -> None:
    hours = {"old": -5, "gone": 1, "kept": 2}
    old, gone, kept = (replace(RUN, run_id=name, run_after=NOW + timedelta(hours=each)) for name, each in hours.items())
    cache.put([old, gone, kept], listing=1)
    cache.put([kept], listing=2)
    cache.forget_others(listing=2, since=NOW)
    assert [run.run_id for run in cache.runs(since=None)] == ["old", "kept"]
    assert (cache.count(since=None), cache.count(since=NOW)) == (2, 1)


def test_times_are_compared_as_times(cache: RunCache) -> None:
    whole, fraction = NOW, NOW + timedelta(microseconds=1)
    cache.put([replace(RUN, run_id="b", run_after=fraction), replace(RUN, run_id="a", run_after=whole)], listing=1)
    assert [run.run_id for run in cache.runs(since=None)] == ["a", "b"]
    assert [run.run_id for run in cache.runs(since=fraction)] == ["b"]


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be looked at", b""])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "cache.sqlite"
    file.write_bytes(damage)
    cache = RunCache(file)
    reported(cache)
    assert len(list(cache.runs(since=None))) == 1


def test_a_file_of_another_version_is_begun_anew(cache: RunCache) -> None:
    reported(cache)
    cache.close()
    with sqlite3.connect(cache.file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert list(RunCache(cache.file).runs(since=None)) == []


def test_nobody_else_can_read_it(cache: RunCache) -> None:
    assert cache.file.stat().st_mode & 0o077 == 0
    assert cache.file.parent.stat().st_mode & 0o077 == 0


def test_each_airflow_and_each_user_has_a_file_of_its_own() -> None:
    environ = {"XDG_CACHE_HOME": "/cache"}
    files = {cache_file(url, user, environ) for url in ("http://a", "http://b") for user in ("me", "you")}
    assert len(files) == 4
    assert all(str(file).startswith("/cache/skyferry/runs-") for file in files)
