"""What commands write: data to standard output, as a table for people or JSON for programs; talk to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from pydantic import JsonValue
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skyferry.errors import printable

# Piped tables are read by programs line by line; only a terminal has a width to fit.
_PIPED_WIDTH = 2000


def say(message: str) -> None:
    """Tell the person at the terminal something."""
    sys.stderr.write(printable(message) + "\n")


def write_json(value: JsonValue) -> None:
    """Write a value for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def write_text(text: str) -> None:
    """Write text as it is."""
    sys.stdout.write(text)


def write_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table for people; cells are shown literally, control characters escaped; no headings, no lines."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    table = Table(*headings, box=SIMPLE if headings else None, show_header=bool(headings), pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    console.print(table)
