"""What many runs add up to, on runs made by hand; `tests/history` has real ones."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.history.statistics import GROUPINGS, compute_statistics
from skyferry.history.transfer_run import OUTCOMES, Numbers, TransferRun

START = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)


def report(copied: int = 0, **more: Any) -> dict[str, Any]:
    values = {"state": "success", "source": "s3://shop/orders/", "destination": "az://lake/raw/"}
    numbers = {"objects_planned": copied, "objects_copied": copied, "bytes_copied": copied * 1000}
    return {**values, **numbers, "verified_by": {"md5": copied} if copied else {}, **more}


def run(
    minutes: int = 0, *, seconds: float = 10.0, state: str = "success", dag_id: str = "transfer__orders", **more: Any
) -> TransferRun:
    begun = START + timedelta(minutes=minutes)
    is_over = state in {"success", "failed"}
    values = {
        "route": dag_id.removeprefix("transfer__"),
        "run_type": "manual",
        "report": report(1) if is_over else None,
        **more,
    }
    return TransferRun(
        dag_id=dag_id, run_id=f"run-{minutes}", state=state, run_after=begun,
        started_at=begun if state != "queued" else None,
        ended_at=begun + timedelta(seconds=seconds) if is_over else None,
        **values,
    )  # fmt: skip


def test_outcomes_are_what_airflow_and_the_report_both_say() -> None:
    cases = [
        (run(), "success"),
        (run(report=None), "report_missing"),
        (run(report=report(state="failed")), "failed"),
        (run(state="failed", report=None), "failed"),
        (run(state="failed", report=report()), "failed"),
        (run(state="running"), "running"),
        (run(state="queued"), "queued"),
    ]
    for one, outcome in cases:
        assert one.outcome == outcome
    total = compute_statistics(one for one, _ in cases).total
    assert total.runs == {"success": 1, "failed": 3, "report_missing": 1, "running": 1, "queued": 1}
    assert total.runs_total == 7
    assert total.success_rate == 1 / 5
    assert tuple(total.runs) == OUTCOMES


def test_a_cleared_run_s_old_report_counts_nothing() -> None:
    total = compute_statistics([run(state="running", report=None)]).total
    assert (total.objects_copied, total.duration_seconds.max) == (0, None)


def test_objects_bytes_and_reasons_are_added_up() -> None:
    throttled = {"retries": 2, "retries_by_cause": {"ThrottledError": 2}}
    lost = {"retries": 1, "retries_by_cause": {"ThrottledError": 1}}
    one = report(3, objects_planned=9, objects_skipped=4, skipped_by_reason={"identical": 4}, **throttled)
    skipped = {"objects_skipped": 3, "skipped_by_reason": {"identical": 1, "exists": 2}}
    other = report(1, state="failed", objects_planned=7, objects_refused=1, objects_failed=2, **skipped, **lost)
    total = compute_statistics([run(report=one), run(report=other)]).total
    assert (total.objects_planned, total.objects_copied, total.bytes_copied) == (16, 4, 4000)
    assert (total.objects_skipped, total.objects_refused, total.objects_failed) == (7, 1, 2)
    assert total.skipped_by_reason == {"identical": 5, "exists": 2}
    assert total.retries_by_cause == {"ThrottledError": 3}
    assert total.verified_by == {"md5": 4}


def test_dry_runs_and_runs_without_work_are_counted_apart() -> None:
    dry = report(dry_run=True, objects_planned=9, objects_to_copy=9)
    total = compute_statistics([run(report=dry), run(report=report()), run(report=report(2), seconds=4.0)]).total
    assert (total.dry_runs, total.runs_without_work, total.objects_planned) == (1, 1, 2)
    assert total.duration_seconds.p50 == total.duration_seconds.max == 4.0
    assert total.throughput_bytes_per_second.max == 500.0


@given(st.lists(st.floats(min_value=0.001, max_value=1e6), min_size=1, max_size=200))
def test_percentiles_are_values_that_enough_others_do_not_exceed(durations: list[float]) -> None:
    runs = [run(seconds=seconds) for seconds in durations]
    measured = sorted(one.duration_seconds or 0.0 for one in runs)
    found = compute_statistics(runs).total.duration_seconds
    assert found.max == measured[-1]
    for value, share in ((found.p50, 0.5), (found.p95, 0.95)):
        assert value in measured
        assert sum(each <= value for each in measured) >= share * len(measured)
        assert sum(each < value for each in measured) < share * len(measured) + 1e-9


def test_since_leaves_out_earlier_runs() -> None:
    found = compute_statistics([run(0), run(10), run(20)], since=START + timedelta(minutes=10))
    assert found.total.runs_total == 2
    assert found.total.first_run_after == START + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("group_by", "names"),
    [
        ("day", ["2026-11-20", "2026-11-21"]),
        ("hour", ["2026-11-20 22:00", "2026-11-21 00:00"]),
        ("route", ["orders", "invoices"]),
        ("pair", ["s3 to az", "gs to az"]),
    ],
)
def test_groups(group_by: Any, names: list[str]) -> None:
    runs = [
        run(0, report=report(5)),
        run(95, dag_id="transfer__invoices", report=report(2, source="gs://invoices/")),
    ]
    found = compute_statistics(runs, group_by=group_by)
    assert [group.name for group in found.groups] == names
    assert [group.objects_copied for group in found.groups] == [5, 2]
    assert sum(group.runs_total for group in found.groups) == found.total.runs_total == 2


def consumed(**more: Any) -> TransferRun:
    shares = {"orders": report(3), "invoices": report(1, source="s3://shop/invoices/", destination="gs://archive/")}
    return run(dag_id="consume__shop", report=report(4, source="", destination="", by_route=shares), **more)


def test_a_run_that_consumed_a_queue_counts_in_each_of_its_routes_and_once_altogether() -> None:
    found = compute_statistics([consumed(), run(report=report(10))], group_by="route")
    assert {group.name: (group.runs_total, group.objects_copied) for group in found.groups} == {
        "orders": (2, 13),
        "invoices": (1, 1),
    }
    assert (found.total.runs_total, found.total.objects_copied) == (2, 14)
    one = compute_statistics([consumed(), run(report=report(10))], route="invoices")
    assert (one.total.runs_total, one.total.objects_copied) == (1, 1)
    for group_by in ("pair", "day", "hour"):
        groups = compute_statistics([consumed()], group_by=group_by).groups
        assert sum(group.objects_copied for group in groups) == 4
    assert [group.name for group in compute_statistics([consumed()], group_by="pair").groups] == [
        "s3 to az",
        "s3 to gs",
    ]


def test_a_consuming_run_without_a_report_is_counted_under_its_queue() -> None:
    found = compute_statistics([run(dag_id="consume__shop", report=None)], group_by="route")
    assert [(group.name, group.runs["report_missing"]) for group in found.groups] == [("consume__shop", 1)]


def test_a_report_of_another_version_is_read_as_far_as_it_goes() -> None:
    strange = {
        "state": "success",
        "objects_copied": "7",
        "bytes_copied": True,
        "verified_by": [],
        "retries": -1,
        "new": {},
    }
    numbers = Numbers.from_report(strange)
    assert numbers == Numbers()
    assert compute_statistics([run(report=strange)]).total.runs["success"] == 1


def many(count: int) -> Iterator[TransferRun]:
    drawn = random.Random(1)
    for number in range(count):
        yield run(number % 500, seconds=drawn.random() * 100, report=report(drawn.randrange(100)))


@pytest.mark.parametrize("group_by", GROUPINGS)
def test_memory_does_not_grow_with_the_runs(group_by: Any) -> None:
    compute_statistics(many(100), group_by=group_by)
    tracemalloc.start()
    compute_statistics(many(20_000), group_by=group_by)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000 * 32 * 4, "32 bytes a run, twice over while an array grows, and sorted once"
