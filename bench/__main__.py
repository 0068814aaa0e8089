"""The benchmark: ours against rclone, s5cmd and the stock operators, on the same stores in the same run.

    python -m bench --mode quick        # about ten minutes on two idle cores
    python -m bench --mode full         # the figures that count
    python -m bench --only "S3 -> Azure"

Ctrl-C ends it with a report of what was measured until then.

Writes `bench/results/<date>.json`, `.md` and `.png`; with `--only`, it prints and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.experiments import FULL, QUICK, Experiment, Scale, experiments
from bench.grounds import Ground, Grounds
from bench.report import Report, write_report
from bench.runs import Outcome, carry_out
from bench.single_figures import single_figures

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run everything, and write what came out; 0 whatever the figures say: they are not a test."""
    parser = argparse.ArgumentParser(description="Ours against its rivals.")
    parser.add_argument("--mode", choices=("quick", "full"), default="quick")
    parser.add_argument("--only", default="", help="experiments whose name contains this")
    parser.add_argument("--runs", type=int, help="of each contender, in place of the mode's number")
    parser.add_argument("--delay", type=float, default=0.04, help="seconds a slow ground holds a request back")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the report")
    parser.add_argument("--note", default="", help="a sentence for the report, such as what else the machine did")
    arguments = parser.parse_args()
    scale = FULL if arguments.mode == "full" else QUICK
    scale = replace(scale, runs=arguments.runs or scale.runs)
    console = Console(highlight=False)
    outcomes: list[Outcome] = []
    figures: list[dict[str, Any]] = []
    try:
        if not arguments.only:
            figures += single_figures(scale, say=console.print)
        with tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder:
            # One by one, so that Ctrl-C leaves what is done.
            outcomes.extend(compare(scale, Path(folder), arguments.only, arguments.delay, console))
    except KeyboardInterrupt:
        console.print("stopped; the report has what was measured until now")
    report = Report(
        mode=arguments.mode,
        delay_seconds=arguments.delay,
        measured_at=datetime.now(UTC),
        outcomes=outcomes,
        figures=figures,
        note=arguments.note,
    )
    for row in report.rows():
        console.print(line_of(row), markup=False)
    if not arguments.only:
        for file in write_report(report, arguments.results):
            console.print(f"wrote {file}")
    return 0


def compare(scale: Scale, folder: Path, only: str, delay_seconds: float, console: Console) -> Iterator[Outcome]:
    """Carry out the experiments whose name contains a text; Ctrl-C ends that and keeps what was yielded."""
    with Grounds(folder, delay_seconds=delay_seconds) as grounds:
        opened: dict[str, Ground] = {}
        for experiment in experiments(scale):
            if only in experiment.name:
                console.print(experiment.name)
                ground = open_ground(experiment, grounds, opened)
                yield carry_out(experiment, ground, grounds, runs=scale.runs, say=console.print)


def open_ground(experiment: Experiment, grounds: Grounds, opened: dict[str, Ground]) -> Ground:
    """Return the experiment's ground, started when it is first needed."""
    name = experiment.ground
    if name not in opened:
        match name:
            case "sink":
                opened[name] = grounds.sink()
            case "slow sink":
                opened[name] = grounds.slow_sink()
            case "emulators":
                opened[name] = grounds.emulators(experiment.work)
            case "slow emulators":
                opened[name] = grounds.slow_emulators(experiment.work)
    return opened[name]


def line_of(row: dict[str, Any]) -> str:
    """Return a row of the report as one line."""
    met = {True: "met", False: "NOT MET", None: ""}[row["met"]]
    return f"{row['name']}: ours {row['ours']}, rival {row['rival']}, ratio {row['ratio']} ({row['target']}) {met}"


if __name__ == "__main__":
    sys.exit(main())
