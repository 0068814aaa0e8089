"""The report of a benchmark: JSON for programs, Markdown for people, and a picture."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.contenders import tool
from bench.runs import Outcome, Sample

_PACKAGES = ("apache-airflow", "aiobotocore", "azure-storage-blob", "boto3", "google-cloud-storage", "pycurl")
_MET = {True: "yes", False: "no", None: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one benchmark found.

    Attributes:
        figures: Rows of what has no rival.
        note: What a reader must know about this run, such as that the machine was busy.
    """

    mode: str
    delay_seconds: float
    measured_at: datetime
    outcomes: Sequence[Outcome]
    figures: Sequence[dict[str, Any]]
    note: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """Return every row, with name, ours, rival, ratio, target and met."""
        return [row for outcome in self.outcomes for row in outcome.rows()] + list(self.figures)

    def to_json(self, *, machine: dict[str, Any]) -> dict[str, Any]:
        """Return everything as plain JSON values; `machine` is what `describe_machine` says."""
        return {
            "measured_at": self.measured_at.isoformat(timespec="seconds"),
            "mode": self.mode,
            "note": self.note,
            "delay_seconds": self.delay_seconds,
            "machine": machine,
            "rows": self.rows(),
            "experiments": [_experiment_to_json(outcome) for outcome in self.outcomes],
        }


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the three files, named after the day and, unless it was a full run, the mode; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if report.mode == "full" else f"-{report.mode}"
    stem = f"{report.measured_at.date()}{suffix}"
    files = [folder / f"{stem}.{ending}" for ending in ("json", "md", "png")]
    values = report.to_json(machine=describe_machine())
    files[0].write_text(json.dumps(values, indent=1) + "\n")
    files[1].write_text(markdown(values, picture=files[2].name))
    draw(values["rows"], files[2])
    return files


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: the machine, how busy it is, and the versions of what competed."""
    rclone = subprocess.run([tool("rclone"), "version"], capture_output=True, text=True, check=True).stdout
    s5cmd = subprocess.run([tool("s5cmd"), "version"], capture_output=True, text=True, check=True).stdout
    return {
        "cores": os.cpu_count(),
        "load_average": [round(one, 1) for one in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES}
        | {"rclone": rclone.split()[1].lstrip("v"), "s5cmd": s5cmd.split("-")[0].lstrip("v").strip()},
    }


def markdown(values: dict[str, Any], *, picture: str) -> str:
    """Return the report for people."""
    return "\n".join([*_introduction(values, picture), *_rows_table(values["rows"]), *_samples_table(values), ""])


def _introduction(values: dict[str, Any], picture: str) -> list[str]:
    machine = values["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    load = " ".join(str(one) for one in machine["load_average"])
    aims = [row["met"] for row in values["rows"] if row["met"] is not None]
    runs = max((len(one["samples"]) for each in values["experiments"] for one in each["contenders"]), default=0)
    return [
        f"# Benchmark of {values['measured_at']}, {values['mode']} mode",
        "",
        f"{sum(aims)} of {len(aims)} targets are met. Made by `make bench`; how it is measured, and what the",
        "figures leave out, is in [docs/benchmarks.md](../../docs/benchmarks.md).",
        "",
        *([f"**{values['note']}**", ""] if values["note"] else []),
        f"- Machine: {machine['cores']} cores, {machine['system']}, Python {machine['python']}.",
        f"- Load average at the end: {load} (servers and contenders included).",
        f"- Versions: {versions}.",
        f"- {runs} runs of each contender, taking turns.",
        f"- Slow grounds hold each request back by {values['delay_seconds'] * 1000:g} ms.",
        "",
        f"![The ratios of all rows to their targets]({picture})",
        "",
    ]


def _rows_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| what | ours | rival | ratio | target | met |", "|---|---|---|---|---|---|"]
    for row in rows:
        shown = (_shown(row["ours"]), f"{_shown(row['rival'])} {row['rival_name']}".strip(), _shown(row["ratio"]))
        lines.append(f"| {row['name']} | {' | '.join(shown)} | {row['target']} | {_MET[row['met']]} |")
    return [*lines, ""]


def _samples_table(values: dict[str, Any]) -> list[str]:
    lines = [
        "Medians, and in brackets the lowest and the highest of the runs. Working seconds are what a program says it",
        "worked after its imports. The sink's CPU is spent beside the contender's, on the same cores.",
        "",
        "| work | contender | CPU s | wall s | working s | peak MiB | requests | sink's CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {experiment['name']} | {contender['name']} | {' | '.join(_cells(contender))} |"
        for experiment in values["experiments"]
        for contender in experiment["contenders"]
    ]
    return lines


def _cells(contender: dict[str, Any]) -> list[str]:
    samples = contender["samples"]
    if not samples:
        return ["failed", "", "", "", "", ""]
    spread = [_spread([one[name] for one in samples]) for name in ("cpu_seconds", "wall_seconds", "working_seconds")]
    peak = f"{statistics.median(one['peak_bytes'] for one in samples) / 2**20:.0f}"
    if samples[-1]["requests"] is None:
        return [*spread, peak, "", ""]
    requests = f"{sum(samples[-1]['requests'].values()):,}"
    return [*spread, peak, requests, _spread([one["server_cpu_seconds"] for one in samples])]


def _spread(figures: Sequence[float]) -> str:
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _experiment_to_json(outcome: Outcome) -> dict[str, Any]:
    contenders = [
        {
            "name": name,
            "samples": [_sample_to_json(sample) for sample in outcome.samples[name]],
            "failure": outcome.failures.get(name, "")[-2000:],
        }
        for name in outcome.experiment.contenders
    ]
    return {"name": outcome.experiment.name, "contenders": contenders}


def _sample_to_json(sample: Sample) -> dict[str, Any]:
    return {
        "cpu_seconds": round(sample.cost.cpu_seconds, 3),
        "wall_seconds": round(sample.cost.wall_seconds, 3),
        "working_seconds": round(sample.working_seconds, 3),
        "peak_bytes": sample.cost.peak_bytes,
        "requests": sample.requests,
        "server_cpu_seconds": sample.server_cpu_seconds and round(sample.server_cpu_seconds, 3),
    }


def draw(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw how far each ratio is from its target; to the right of the line is better than the target."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if row["ratio"]][::-1]
    figure, axes = plt.subplots(figsize=(11, 1 + 0.3 * len(shown)))
    margins = [margin(row) for row in shown]
    colours = ["#2a7f62" if row["met"] else "#b23a48" for row in shown]
    axes.barh(range(len(shown)), [one - 1 for one in margins], left=1, color=colours)
    axes.set_yticks(range(len(shown)), [row["name"] for row in shown], fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("times better than the target (left of the line: worse)")
    figure.savefig(file, dpi=90, bbox_inches="tight")
    plt.close(figure)


def margin(row: dict[str, Any]) -> float:
    """Return by how many times a row is better than its target."""
    relation, _, target = row["target"].partition(" ")
    if relation == ">=":
        return float(row["ratio"]) / float(target)
    if row["rival_name"] == "limit":
        return 1 / float(row["ratio"])
    return float(target) / float(row["ratio"])
