"""Writes the receipts of a run to the index once they are on record, and remembers beside them what it has.

    <run>/plan-0001/receipts/00000/try-01-....ndjson    the receipts of one batch
                   /indexed/00000/00000-3-0.json        of its 3 records nothing is left to be written

An index that cannot be written fails nothing: what is left is counted, and made up for by whoever comes next, the
report of the run or a rebuild. Only what is on record is ever written, so the index is never ahead of the records.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skyferry.errors import TransferError
from skyferry.queue_receipts import ReceiptChoice
from skyferry.receipts_index.indexing import Indexing
from skyferry.receipts_index.items import RANGE_KEY, IndexPlace, Item, item_of
from skyferry.state import Run, StateFolder

MAX_SECONDS = 60.0
"""After this time a task of a transfer begins no further write; a table that is slow must not hold up transfers."""

_ITEMS_AT_ONCE = 100
"""So many the bridge writes in one go, in four requests side by side; between two goes it is looked at the time."""

_RECEIPTS = "receipts/"
_MARKS = "indexed/"
_MARK = re.compile(r"(?P<number>[0-9]{5})-(?P<records>[0-9]+)-(?P<left>[0-9]+)\.json")


class IndexWriter(Protocol):
    """Writes items; the Airflow bridge supplies one."""

    def write(self, items: Sequence[Item]) -> None:
        """Write items, no two of one key; blocks.

        Raises:
            TransferError: Some of them, or all, may not have been written; writing them again is fine.
        """


@dataclass(slots=True, kw_only=True)
class IndexKeeper:
    """Brings the index up to what one run has on record.

    After the first problem nothing more is tried, and the rest is only counted.

    Args:
        records: The run's.
        max_seconds: After this time the rest is left; None for as long as it takes.
        again: Write also what was written before.
        begun: What `max_seconds` count from, by the monotonic clock; the same for all indexes of one task.
    """

    records: StateFolder
    run: Run
    place: IndexPlace
    writer: IndexWriter
    max_seconds: float | None = MAX_SECONDS
    again: bool = False
    begun: float = field(default_factory=time.monotonic)
    done: Indexing = field(default_factory=Indexing)

    async def keep_up(self, folder: str) -> Indexing:
        """Write the receipts of a folder that are not marked as written, and mark them.

        Costs two listings, and for each group that is not marked its records, a mark, and one request of the index for
        each 25 receipts. Memory holds 100 receipts; the others are sorted out on disk.

        Args:
            folder: One whose name has `receipts/` in it: of all batches or consumers, or of one.
        """
        marks = _newest_marks(await self.records.names(_marks_of(folder)))
        groups = Counter(f"{name.rpartition('/')[0]}/" for name in await self.records.names(folder))
        for group, count in groups.items():
            number, records, left = marks.get(_marks_of(group), (-1, 0, 0))
            if self.again or records != count or left:
                await self._keep_up_group(group, mark=number + 1, records=count)
        return self.done

    async def _keep_up_group(self, group: str, *, mark: int, records: int) -> None:
        before = self.done.left
        with ReceiptChoice() as choice:
            async for row in self.records.rows(group):
                choice.offer(row)
            items = ({item[RANGE_KEY]: item for item in part} for part in _parts(self._items(choice)))
            for part in items:
                await self._write(list(part.values()))
        left = self.done.left - before
        row = {"records": records, "left": left, "problem": self.done.problem if left else ""}
        # Two writers at once may take the same number; whoever comes later looks at what was marked, and goes on.
        await self.records.claim(f"{_marks_of(group)}{mark:05d}-{records}-{left}.json", row)

    def _items(self, choice: ReceiptChoice) -> Iterator[dict[str, str]]:
        return (item_of(receipt, place=self.place, run=self.run) for receipt in choice.chosen())

    async def _write(self, items: Sequence[Item]) -> None:
        if not self.done.problem and self._is_late:
            self.done.problem = f"writing them took longer than {self.max_seconds:.0f} seconds"
        if not self.done.problem:
            try:
                await asyncio.to_thread(self.writer.write, items)
            except TransferError as error:
                self.done.problem = str(error)
        if self.done.problem:
            self.done.left += len(items)
        else:
            self.done.written += len(items)

    @property
    def _is_late(self) -> bool:
        return self.max_seconds is not None and time.monotonic() - self.begun > self.max_seconds


def _parts(items: Iterator[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    while part := list(itertools.islice(items, _ITEMS_AT_ONCE)):
        yield part


def _marks_of(folder: str) -> str:
    return folder.replace(_RECEIPTS, _MARKS, 1)


def _newest_marks(names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Return folder to number, records and receipts left of its newest mark."""
    newest: dict[str, tuple[int, int, int]] = {}
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        if match := _MARK.fullmatch(file):
            newest[f"{folder}/"] = (int(match["number"]), int(match["records"]), int(match["left"]))
    return newest
