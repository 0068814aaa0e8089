"""What must hold of the model of large transfers, whatever the figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scaling_model import MAX_BATCHES, Figures, Stores, Work, object_seconds, simulate

FIGURES = Figures(
    plan_seconds_per_key=25e-6,
    schedule_seconds=0.1,
    start_seconds=0.6,
    copy_cpu_seconds=1e-3,
    report_seconds_per_receipt=12e-6,
)
WORK = Work(objects=200_000, size_bytes=65_536, in_flight=64, worker_bytes_per_second=250e6)
works = st.builds(
    Work,
    objects=st.integers(0, 30_000),
    size_bytes=st.integers(0, 10**6),
    batch_objects=st.integers(50, 5_000),
    worker_bytes_per_second=st.floats(1e6, 1e9),
    skew=st.floats(0, 0.5),
    retried_share=st.floats(0, 1),
)
stores = st.builds(
    Stores,
    page_seconds=st.floats(0, 0.2),
    reads_per_second=st.floats(500, 10_000),
    writes_per_second=st.floats(500, 10_000),
)


@settings(deadline=None, max_examples=40)
@given(works, stores, st.integers(1, 16))
def test_everything_is_copied_once_and_no_store_serves_above_its_rate(
    work: Work, allowed: Stores, workers: int
) -> None:
    course = simulate(work, allowed, FIGURES, workers=workers)
    assert course.objects_copied == work.objects
    assert course.tasks == len(work.batches) + course.retries
    for served, per_second in ((course.reads, allowed.reads_per_second), (course.writes, allowed.writes_per_second)):
        assert sum(requests for _, requests in served) == work.objects
        for (began_at, _), (ended_at, requests) in itertools.pairwise(served):
            assert requests <= (ended_at - began_at) * per_second * 1.000001


@settings(deadline=None, max_examples=40)
@given(works, stores, st.integers(1, 32))
def test_twice_the_workers_are_never_slower(work: Work, allowed: Stores, workers: int) -> None:
    few, many = (simulate(work, allowed, FIGURES, workers=count) for count in (workers, 2 * workers))
    # Tasks that are tried again queue up anew, which can cost the time of one task.
    longest = max(work.batches, default=0) * object_seconds(work, allowed, FIGURES) * 4 + 10
    assert many.total_seconds <= few.total_seconds + (longest if few.retries else 0.01)


def test_one_worker_takes_the_sum_of_its_tasks() -> None:
    course = simulate(WORK, Stores(page_seconds=0.04), FIGURES, workers=1)
    tasks = len(WORK.batches) * (FIGURES.schedule_seconds + FIGURES.start_seconds)
    of_an_object = 0.081 / 64  # two round trips of 40 ms and a millisecond of work, 64 in flight
    assert course.copy_seconds == pytest.approx(tasks + WORK.objects * of_an_object)
    assert course.tasks == 200


def test_a_store_that_is_slow_bounds_any_number_of_workers() -> None:
    slow = Stores(page_seconds=0.04, writes_per_second=1_000)
    course = simulate(WORK, slow, FIGURES, workers=64)
    assert course.copy_seconds == pytest.approx(WORK.objects / 900, rel=0.02)
    assert course.throttled_seconds > course.busy_seconds / 2


def test_there_are_never_more_batches_than_airflow_maps() -> None:
    batches = Work(objects=10_000_001, size_bytes=1).batches
    assert len(batches) == MAX_BATCHES
    assert sum(batches) == 10_000_001
    assert max(batches) - min(batches) == 1


def test_reading_ahead_hides_the_pages_behind_the_work_or_the_work_behind_the_pages() -> None:
    work = Work(objects=1_000_000, size_bytes=1)
    near, far = (
        [
            simulate(work, Stores(page_seconds=page), FIGURES, workers=1, read_ahead=ahead).plan_seconds
            for ahead in (0, 1)
        ]
        for page in (0.01, 0.15)
    )
    assert near == pytest.approx([20 + 25 + 40, 25 + 40], rel=0.01)
    assert far == pytest.approx([300 + 25 + 40, 150], rel=0.01)


def test_the_committed_figures_hold_what_was_promised_where_round_trips_bound() -> None:
    reports = sorted((Path(__file__).parents[2] / "bench" / "results").glob("scaling-*.json"))
    report = json.loads(reports[-1].read_text(encoding="utf-8"))
    # Where the processor bounds, the check says more about what else the machine did than about the model.
    (few,) = (check for check in report["checks"] if check["in_flight"] == report["samples"]["few_in_flight"])
    assert abs(few["ratio"] - 1) <= report["tolerance"] <= 0.35
