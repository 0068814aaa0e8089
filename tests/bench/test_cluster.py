"""What the report of `bench.cluster` says to people, and when a run of a route counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bench.cluster import TARGET, DueRun, figures, markdown

DUE = datetime(2026, 11, 21, tzinfo=UTC)


def run(*, delay: float | None, seconds: float | None = 20, state: str = "success") -> DueRun:
    """Return a run whose plan began so many seconds after it was due, and which was over after so many."""
    return DueRun(
        state=state,
        due_at=DUE,
        ended_at=DUE + timedelta(seconds=seconds) if seconds is not None else None,
        plan_began_at=DUE + timedelta(seconds=delay) if delay is not None else None,
    )


def test_runs_that_are_over_in_time_count_and_the_delay_is_that_of_their_plans() -> None:
    runs = [
        run(delay=1),
        run(delay=3, state="failed"),
        run(delay=2),
        run(delay=None),
        run(delay=50, seconds=None, state="running"),
        run(delay=50, seconds=121),
    ]
    assert figures(runs, until=DUE + timedelta(minutes=2), minutes=2) == {
        "runs_per_minute": 2.0,
        "runs_failed": 1,
        "runs_not_over": 2,
        "delay_median_seconds": 2,
        "delay_p95_seconds": 3,
    }


def test_without_a_run_there_is_no_delay() -> None:
    told = figures([], until=DUE, minutes=1)
    assert (told["runs_per_minute"], told["delay_median_seconds"], told["delay_p95_seconds"]) == (0, None, None)


def test_the_report_names_every_figure() -> None:
    workers = {
        "objects": 2000, "batches": 8, "objects_in_flight": 4, "delay_seconds": 0.04,
        "one_worker_seconds": 61.5, "two_workers_seconds": 31.2, "ratio": 1.97,
    }  # fmt: skip
    rows = [
        {
            "routes": 10,
            "runs_per_minute": 9.8,
            "runs_failed": 0,
            "runs_not_over": 1,
            "delay_median_seconds": 1.5,
            "delay_p95_seconds": 2.5,
        }
    ]
    text = markdown(
        {
            "measured_at": "2026-11-21T12:00:00+00:00",
            "machine": {"python": "3.11.7", "cores": 2, "load_at_start": (0.5, 0, 0)},
            "load_at_end": (1.5, 0, 0),
            "workers": workers,
            "routes": rows,
        }
    )
    assert "| 61.5 | 31.2 | 1.97 | 1.8 |" in text
    assert TARGET == 1.8
    assert "| 10 | 9.8 | 0 | 1 | 1.5 | 2.5 |" in text
    assert "load before and after: 0.5, 1.5" in text
