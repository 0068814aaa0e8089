"""What an earlier plan of a run has copied, taken up by key while the next plan is made; memory stays flat.

A receipt is about a kilobyte, and a run may have millions: they lie in a temporary SQLite database.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from skyferry.key_order import key_bytes
from skyferry.objects import json_line
from skyferry.records import Outcome, Receipt

_ROWS_PER_INSERT = 1_000


class EarlierReceipts:
    """The receipts of the objects that were copied, each to be taken once; close it in the end.

    Where there are none (the first plan of a run) it costs nothing. Else about a kilobyte on disk for each receipt, in
    the folder that TMPDIR names.
    """

    def __init__(self) -> None:
        # An empty name: in memory up to SQLite's cache size, then in a file that is already deleted.
        # https://www.sqlite.org/inmemorydb.html#temp_db
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE receipts (key BLOB PRIMARY KEY, receipt TEXT) WITHOUT ROWID")
        self._is_empty = True

    async def load(self, rows: AsyncIterator[Mapping[str, Any]]) -> None:
        """Take in the rows of receipts; of those for one object the last one counts."""
        waiting: list[tuple[bytes, str]] = []
        async for row in rows:
            if row["outcome"] == Outcome.COPIED.value:
                waiting.append((key_bytes(row["key"]), json_line(row)))
            if len(waiting) >= _ROWS_PER_INSERT:
                self._insert(waiting)
        self._insert(waiting)

    def take(self, key: str) -> Receipt | None:
        """Return the receipt of an object, once; None when there is none."""
        if self._is_empty:
            return None
        found = self._database.execute("DELETE FROM receipts WHERE key = ? RETURNING receipt", (key_bytes(key),))
        row = found.fetchone()
        return Receipt.from_json(json.loads(row[0])) if row else None

    def rest(self) -> Iterator[Receipt]:
        """Yield the receipts that were not taken, in the order of the keys; take none meanwhile."""
        for (line,) in self._database.execute("SELECT receipt FROM receipts ORDER BY key"):
            yield Receipt.from_json(json.loads(line))

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def _insert(self, rows: list[tuple[bytes, str]]) -> None:
        self._is_empty = self._is_empty and not rows
        self._database.executemany("INSERT OR REPLACE INTO receipts VALUES (?, ?)", rows)
        rows.clear()
