"""Plays large transfers through on 1 to 64 workers, and writes a table, a picture, and how well the model foretells.

    python -m bench.scaling CHECK_FILE [FOLDER]

CHECK_FILE comes from `python -m bench.scaling_check`. Nothing is copied; it takes half a minute.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.scaling_model import Course, Figures, Stores, Work, simulate

WORKERS = (1, 2, 4, 8, 16, 32, 64)
TOLERANCE = 0.35
"""Between what the model foretells and what was measured."""

_PROCESS_START_CPU_SECONDS = 0.4
_PLAN_SECONDS_PER_KEY = 75e-6
_REPORT_SECONDS_PER_RECEIPT = 14.1e-6
_COPY_CPU_SECONDS_PER_BYTE = 2.8e-9
_SCHEDULE_SECONDS = 0.1
_START_SECONDS = 0.6

# S3: at least 3,500 writes and 5,500 reads a second for each partitioned prefix. Azure: 20,000 requests a second for an
# account; Cloud Storage: a bucket begins at about 1,000 writes a second and grows. See docs/scaling.md.
_S3_TO_AZURE = Stores(page_seconds=0.04, reads_per_second=5_500, writes_per_second=20_000)
_S3_TO_NEW_GCS_BUCKET = Stores(page_seconds=0.04, reads_per_second=5_500, writes_per_second=1_000)
_FAR = Stores(page_seconds=0.15, request_seconds=0.15, reads_per_second=5_500, writes_per_second=3_500)

_SMALL = Work(objects=10_000_000, size_bytes=64 * 1024, worker_bytes_per_second=250e6, skew=0.3, retried_share=0.01)
_LARGE = Work(
    objects=100_000, size_bytes=10**9, batch_objects=100, worker_bytes_per_second=250e6, skew=0.3, retried_share=0.01
)
SCENARIOS: Mapping[str, tuple[Work, Stores]] = {
    "10 million objects of 64 KiB, S3 to Azure": (_SMALL, _S3_TO_AZURE),
    "the same to a new bucket of Cloud Storage": (_SMALL, _S3_TO_NEW_GCS_BUCKET),
    "the same, S3 to S3 over 150 ms": (_SMALL, _FAR),
    "100 TB in objects of 1 GB, S3 to Azure": (_LARGE, _S3_TO_AZURE),
}


def figures_of(check: Mapping[str, Any]) -> Figures:
    """Return the measured figures, with the processor time of an object from the check with delay.

    Requests that wait take a third more of it than those that are answered at once: fewer are dealt with at a time.
    """
    cpu = statistics.median(one["cpu_seconds"] for one in check["with"]) - _PROCESS_START_CPU_SECONDS
    return Figures(
        plan_seconds_per_key=_PLAN_SECONDS_PER_KEY,
        schedule_seconds=_SCHEDULE_SECONDS,
        start_seconds=_START_SECONDS,
        copy_cpu_seconds=cpu / check["objects"],
        copy_cpu_seconds_per_byte=_COPY_CPU_SECONDS_PER_BYTE,
        report_seconds_per_receipt=_REPORT_SECONDS_PER_RECEIPT,
    )


def foretold(check: Mapping[str, Any], *, which: str, in_flight: int) -> dict[str, Any]:
    """Return what the model says of a delayed transfer of a check, and what was measured.

    An object's time without delay is taken by the wall clock, as is what it is compared with; of both the quickest
    run, which others disturbed least.
    """
    without, delayed = (_quickest(check[name], "copy") for name in ("without", which))
    figures = Figures(
        plan_seconds_per_key=0.0,
        schedule_seconds=0.0,
        start_seconds=0.0,
        copy_cpu_seconds=without / check["objects"],
        report_seconds_per_receipt=0.0,
    )
    stores = Stores(page_seconds=0.0, request_seconds=check["delay_seconds"])
    work = Work(objects=check["objects"], size_bytes=0, in_flight=in_flight)
    seconds = simulate(work, stores, figures, workers=1).copy_seconds
    return {
        "in_flight": in_flight,
        "without_delay_seconds": without,
        "foretold_seconds": round(seconds, 3),
        "measured_seconds": delayed,
        "ratio": round(seconds / delayed, 3),
        "holds": abs(seconds / delayed - 1) <= TOLERANCE,
    }


def _quickest(samples: Sequence[Mapping[str, Any]], stage: str) -> float:
    seconds: list[float] = [sample["seconds_by_stage"][stage] for sample in samples]
    return round(min(seconds), 3)


def rows_of(courses: Mapping[str, Sequence[Course]]) -> list[dict[str, Any]]:
    """Return one row for each course."""
    return [
        {
            "name": f"{name}, {course.workers} workers",
            "scenario": name,
            "workers": course.workers,
            "plan_seconds": round(course.plan_seconds),
            "copy_seconds": round(course.copy_seconds),
            "report_seconds": round(course.report_seconds),
            "hours": round(course.total_seconds / 3600, 2),
            "objects_per_second": round(course.objects_copied / course.copy_seconds, 1),
            "throttled_share": round(course.throttled_seconds / course.busy_seconds, 3),
            "tasks": course.tasks,
            "retries": course.retries,
        }
        for name, runs in courses.items()
        for course in runs
    ]


def markdown(
    rows: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], figures: Figures, picture: str
) -> str:
    """Return the report as Markdown."""
    checked = [
        f"| {one['in_flight']} | {one['without_delay_seconds']:.1f} | {one['foretold_seconds']:.1f}"
        f" | {one['measured_seconds']:.1f} | {one['ratio']:.2f} | {'yes' if one['holds'] else 'no'} |"
        for one in checks
    ]
    lines = [
        "# Large transfers, played through",
        "",
        "Made by `python -m bench.scaling` from measured figures; a model, not a measurement. What it contains and",
        "leaves out is in [docs/scaling.md](../../docs/scaling.md).",
        "",
        f"- Processor time of an object of 64 KiB, S3 to Azure: {figures.copy_cpu_seconds * 1000:.2f} ms.",
        "- What the model foretells of copying 2,000 objects of 64 KiB with 40 ms a request, which was to be within",
        f"  {TOLERANCE:.0%}:",
        "",
        "| objects in flight | measured without delay, s | foretold, s | measured, s | ratio | within |",
        "|---:|---:|---:|---:|---:|---|",
        *checked,
        "",
        f"![Hours by number of workers]({picture})",
        "",
        "| transfer | workers | plan s | copy s | report s | hours | objects/s | waiting for a store's rate | tasks |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['scenario']} | {row['workers']} | {row['plan_seconds']:,} | {row['copy_seconds']:,}"
        f" | {row['report_seconds']:,} | {row['hours']:,} | {row['objects_per_second']:,}"
        f" | {row['throttled_share']:.0%} | {row['tasks']:,} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def draw(courses: Mapping[str, Sequence[Course]], file: Path) -> None:
    """Draw the hours of each scenario by the number of workers, and what twice the workers would bring at best."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5))
    for name, runs in courses.items():
        hours = [course.total_seconds / 3600 for course in runs]
        (line,) = axes.plot(WORKERS, hours, marker="o", label=name)
        axes.plot(WORKERS, [hours[0] / one for one in WORKERS], linestyle=":", color=line.get_color(), linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(WORKERS, [str(one) for one in WORKERS])
    axes.set_xlabel("workers (dotted: if nothing but workers counted)")
    axes.set_ylabel("hours from plan to report")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=90, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Play all scenarios through and write the report."""
    check: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "results"
    figures = figures_of(check)
    courses = {
        name: [simulate(work, stores, figures, workers=workers) for workers in WORKERS]
        for name, (work, stores) in SCENARIOS.items()
    }
    rows = rows_of(courses)
    told = [
        foretold(check, which="with", in_flight=_SMALL.in_flight),
        foretold(check, which="few", in_flight=check["few_in_flight"]),
    ]
    stem = f"scaling-{datetime.now(UTC).date()}"
    draw(courses, folder / f"{stem}.png")
    values = {"checks": told, "tolerance": TOLERANCE, "samples": check, "rows": rows}
    (folder / f"{stem}.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / f"{stem}.md").write_text(markdown(rows, told, figures, f"{stem}.png"), encoding="utf-8")


if __name__ == "__main__":
    main()
