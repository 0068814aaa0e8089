"""Writes the rows of a verb that changes objects, for programs: each as it is decided, and the totals behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from skyferry.cli.output import JsonItems

if TYPE_CHECKING:
    from pydantic import JsonValue

    from skyferry.storage import Row


class JsonRows:
    """One JSON object: `is_dry_run`, `rows`, and the totals. Memory holds one row."""

    def __init__(self, *, is_dry_run: bool) -> None:
        self._written = JsonItems({"is_dry_run": is_dry_run}, "rows")

    def add(self, row: Row) -> None:
        """Write a row."""
        from skyferry.cli.documents import as_json

        self._written.add(as_json(row))

    def end(self, totals: Mapping[str, JsonValue]) -> None:
        """Write the totals, and the end."""
        self._written.end(totals)
