"""What commands write: data to standard output, as a table for people or JSON for programs; talk to standard error."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skyferry.errors import printable

# Piped tables are read by programs line by line; only a terminal has a width to fit.
_PIPED_WIDTH = 2000
_BAR_CHARACTERS = 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def say(message: str) -> None:
    """Tell the person at the terminal something."""
    sys.stderr.write(printable(message) + "\n")


def write_json(value: JsonValue) -> None:
    """Write a value for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def write_json_items(head: Mapping[str, JsonValue], name: str, items: Iterable[JsonValue]) -> None:
    """Write an object for programs whose last value is a list, item by item as they come; memory holds one.

    Args:
        head: The other values.
        name: Of the list.
    """
    written = JsonItems(head, name)
    for item in items:
        written.add(item)
    written.end()


class JsonItems:
    """Writes what `write_json_items` writes for a caller that has the items one by one."""

    def __init__(self, head: Mapping[str, JsonValue], name: str) -> None:
        self._begin, self._end = json.dumps({**head, name: []}, indent=2).rsplit("[]", 1)
        self._is_empty = True

    def add(self, item: JsonValue) -> None:
        """Write the next item."""
        sys.stdout.write((f"{self._begin}[\n    " if self._is_empty else ",\n    ") + json.dumps(item))
        self._is_empty = False

    def end(self, tail: Mapping[str, JsonValue] | None = None) -> None:
        """Write what comes after the last item.

        Args:
            tail: Values that are known only now.
        """
        end = "," + json.dumps(tail, indent=2).removeprefix("{") if tail else self._end
        sys.stdout.write((f"{self._begin}[]" if self._is_empty else "\n  ]") + f"{end}\n")


def write_text(text: str) -> None:
    """Write text as it is."""
    sys.stdout.write(text)


def write_lines(lines: Iterable[str]) -> None:
    """Write lines for people and for programs that read lines; control characters in them are escaped."""
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


def write_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    widths: Sequence[int] = (),
) -> None:
    """Write a table for people; cells are shown literally, control characters escaped; no headings, no lines.

    Args:
        numbers: The headings whose columns are set to the right.
        widths: Of the first columns, in characters: tables that follow each other then stand in line.
    """
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    table = Table(box=SIMPLE if headings else None, show_header=bool(headings), pad_edge=False)
    for heading, width in itertools.zip_longest(headings, widths):
        table.add_column(heading, justify="right" if heading in numbers else "left", width=width)
    for row in rows:
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    console.print(table)


def bar(value: float, largest: float) -> str:
    """Return a bar whose length is to 12 characters as the value is to the largest one."""
    if largest <= 0 or value <= 0:
        return ""
    eighths = max(1, round(value / largest * _BAR_CHARACTERS * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def size_text(size_bytes: float) -> str:
    """Return a number of bytes in three or four digits, in powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000:
            return f"{size_bytes:,.0f} {unit}" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} PB"


def seconds_text(seconds: float | None) -> str:
    """Return a length of time as people say it; a dash for none."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def rate_text(bytes_per_second: float | None) -> str:
    """Return a throughput; a dash for none."""
    return "-" if bytes_per_second is None else f"{size_text(bytes_per_second)}/s"


def time_text(moment: datetime | None) -> str:
    """Return a time in the zone of this machine, to the second; a dash for none."""
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts as `3 identical, 1 exists`, the zeros left out."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
