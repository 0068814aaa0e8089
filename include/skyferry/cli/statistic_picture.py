"""Draws statistics as a picture: bytes, objects, durations, throughput and outcomes, group by group."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyferry.cli.output import rate_text, seconds_text, size_text
from skyferry.cli.run_view import OUTCOME_TEXT
from skyferry.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from skyferry.history.statistics import GroupStatistics, Percentiles, Statistics

SUFFIXES = (".png", ".svg")
WIDTH_PIXELS, HEIGHT_PIXELS = 1200, 1000
_DOTS_PER_INCH = 100
_MAX_TIMES, _MAX_NAMES = 366, 30
"""How many days or hours, and how many routes or pairs, still make a picture that can be read."""

_MAX_TIME_LABELS = 12
_MAX_LABEL_CHARACTERS = 24
_LEGEND_ROOM = 1.3
"""How much higher than its bars a panel is, so that the legend covers none."""

_PLAIN, _LIGHT = "#3b6fb6", "#a9c4e6"
_OUTCOME_COLOURS = {
    "success": "#2a7f62",
    "failed": "#b23a48",
    "report_missing": "#d98c21",
    "running": "#4c78a8",
    "queued": "#9aa5b1",
}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "skyferry",
    "text.parse_math": False,
    "font.size": 9,
}
"""Text in an SVG stays text, the same numbers make the same file, and a "$" in a name is a "$"."""


def draw_statistics(statistics: Statistics, file: Path) -> None:
    """Write a picture of the groups; 1,200 by 1,000 pixels, as PNG or SVG by the file's suffix.

    Of more than 366 days or hours the last ones are drawn, of more than 30 routes or pairs those with the most bytes.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    groups = _shown(statistics)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH_PIXELS / _DOTS_PER_INCH, HEIGHT_PIXELS / _DOTS_PER_INCH), layout="constrained")
        figure.suptitle(_title(statistics, drawn=len(groups)), fontsize=12)
        axes = figure.subplot_mosaic([["bytes", "objects"], ["took", "rate"], ["runs", "runs"]])
        _draw_panels(axes, statistics.total, groups)
        for each in axes.values():
            _label(each, [_short(group.name) for group in groups], max_labels=_max_labels(statistics))
        picture = io.BytesIO()
        figure.savefig(picture, format=file.suffix[1:].lower(), dpi=_DOTS_PER_INCH, metadata=_metadata(file))
    file.write_bytes(picture.getvalue())


def _shown(statistics: Statistics) -> Sequence[GroupStatistics]:
    if statistics.group_by in {"day", "hour"}:
        return statistics.groups[-_MAX_TIMES:]
    return statistics.groups[:_MAX_NAMES]


def _title(statistics: Statistics, *, drawn: int) -> str:
    total = statistics.total
    parts = [f"{total.runs_total:,} runs", f"by {statistics.group_by}"]
    if statistics.route:
        parts.insert(0, printable(statistics.route))
    if drawn < len(statistics.groups):
        parts.append(f"{drawn} of {len(statistics.groups):,} shown")
    if total.success_rate is not None:
        parts.append(f"{total.success_rate:.1%} of those that ended succeeded")
    return ", ".join(parts)


def _draw_panels(axes: dict[str, Axes], total: GroupStatistics, groups: Sequence[GroupStatistics]) -> None:
    axes["bytes"].set_title(f"bytes copied: {size_text(total.bytes_copied)}")
    axes["bytes"].bar(range(len(groups)), [group.bytes_copied for group in groups], color=_PLAIN)
    _scale(axes["bytes"], size_text)
    axes["objects"].set_title(f"objects copied: {total.objects_copied:,}")
    axes["objects"].bar(range(len(groups)), [group.objects_copied for group in groups], color=_PLAIN)
    _scale(axes["objects"], _count_text)
    _draw_percentiles(axes["took"], "duration", total.duration_seconds, [g.duration_seconds for g in groups])
    _scale(axes["took"], seconds_text)
    rates = [group.throughput_bytes_per_second for group in groups]
    _draw_percentiles(axes["rate"], "throughput", total.throughput_bytes_per_second, rates)
    _scale(axes["rate"], rate_text)
    _draw_outcomes(axes["runs"], total, groups)
    _scale(axes["runs"], _count_text)


def _draw_percentiles(axes: Axes, name: str, total: Percentiles, values: Sequence[Percentiles]) -> None:
    text = rate_text if name == "throughput" else seconds_text
    axes.set_title(f"{name}: {text(total.p50)} (p50), {text(total.p95)} (p95)")
    axes.set_ylim(0, _LEGEND_ROOM * max((one.p95 or 0 for one in values), default=0) or 1)
    places = range(len(values))
    axes.bar(places, [one.p95 or 0 for one in values], color=_LIGHT, label="p95")
    axes.bar(places, [one.p50 or 0 for one in values], color=_PLAIN, width=0.5, label="p50")
    axes.legend(frameon=False, loc="upper right", ncols=2)


def _draw_outcomes(axes: Axes, total: GroupStatistics, groups: Sequence[GroupStatistics]) -> None:
    axes.set_title("runs by outcome")
    below = [0] * len(groups)
    for outcome, colour in _OUTCOME_COLOURS.items():
        counts = [group.runs[outcome] for group in groups]
        if total.runs[outcome]:
            label = f"{OUTCOME_TEXT.get(outcome, outcome)}: {total.runs[outcome]:,}"
            axes.bar(range(len(groups)), counts, bottom=below, color=colour, label=label)
        below = [low + count for low, count in zip(below, counts, strict=True)]
    axes.set_ylim(0, _LEGEND_ROOM * max(below))
    axes.legend(frameon=False, loc="upper right", ncols=len(_OUTCOME_COLOURS))


def _scale(axes: Axes, text: Callable[[float], str]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=text is _count_text))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _max_labels(statistics: Statistics) -> int:
    """A day stands for those beside it, a route does not."""
    return _MAX_TIME_LABELS if statistics.group_by in {"day", "hour"} else _MAX_NAMES


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _MAX_LABEL_CHARACTERS else f"{shown[: _MAX_LABEL_CHARACTERS - 1]}…"


def _label(axes: Axes, names: Sequence[str], *, max_labels: int) -> None:
    """Name the groups, as many of them as there is room for."""
    step = -(-len(names) // max_labels)
    places = range(0, len(names), step)
    angle = 30 if len(places) <= _MAX_TIME_LABELS else 60
    labels = axes.set_xticks(places, [names[place] for place in places], rotation=angle, ha="right")
    for label in labels:
        label.label1.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, max(len(names), 4) - 0.4)


def _count_text(value: float) -> str:
    return f"{value:,.0f}"


def _metadata(file: Path) -> dict[str, Any]:
    return {"Date": None} if file.suffix.lower() == ".svg" else {"Software": "Skyferry"}
