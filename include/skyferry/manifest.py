"""The manifest: what a plan is going to do, in records, and how they are shared out to batches that end together."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from skyferry.key_order import key_bytes
from skyferry.objects import json_line
from skyferry.records import Action, PlannedObject
from skyferry.request import Order, TransferRequest
from skyferry.state import StateFolder, plan_folder

MAX_BATCHES = 1024
"""Airflow's default `[core] max_map_length`; larger plans get larger batches."""

MAX_CAPPED_BATCHES = 8
"""A cap on bytes or requests a second is divided by the number of batches, so that it holds whichever of them run; more
batches would leave more of it unused while they wait for a worker."""

# What a task takes for an object however small, and for each byte at 100 MB a second; their ratio is what counts.
_SECONDS_AN_OBJECT = 0.002
_SECONDS_A_BYTE = 1e-8

_RECORDS_BEFORE_LARGER_ONES = 4 * MAX_BATCHES
_ROWS_PER_INSERT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A share of a plan: some records of its manifest.

    Attributes:
        batches: How many batches the plan has.
    """

    name: str
    number: int
    plan_number: int
    records: tuple[int, ...]
    objects: int
    size_bytes: int
    batches: int = 1

    @property
    def receipts(self) -> str:
        """The folder of its receipts among the records of the run."""
        return f"{plan_folder(self.plan_number)}receipts/{self.number:05d}/"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; no key is in them, so they may travel through Airflow."""
        return {name: getattr(self, name) for name in self.__slots__} | {"records": list(self.records)}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Batch:
        """Undo `to_json`."""
        return Batch(**{**values, "records": tuple(values["records"])})


@dataclass(frozen=True, slots=True)
class Share:
    """What one record of the manifest holds, or one batch."""

    objects: int
    size_bytes: int

    @property
    def seconds(self) -> float:
        """How long it is expected to take."""
        return self.objects * _SECONDS_AN_OBJECT + self.size_bytes * _SECONDS_A_BYTE


class ManifestWriter:
    """Writes what is to be done as records; memory holds one of them, and two numbers for each."""

    def __init__(self, records: StateFolder, folder: str, request: TransferRequest) -> None:
        self._records = records
        self._folder = folder
        self._request = request
        self._rows: list[dict[str, Any]] = []
        self._row_bytes = 0
        self._shares: list[Share] = []
        self.objects = 0

    async def add(self, planned: PlannedObject) -> None:
        """Take in the next object."""
        size_bytes = planned.source.size_bytes if planned.action is Action.COPY else 0
        # Several records make a batch, so that light and heavy ones can be put together.
        growth = 2 ** (len(self._shares) // _RECORDS_BEFORE_LARGER_ONES)
        is_large = self._row_bytes + size_bytes > self._request.batch_bytes * growth // 4
        if self._rows and (is_large or len(self._rows) >= max(self._request.batch_objects * growth // 2, 1)):
            await self.flush()
        self._rows.append(planned.to_json())
        self._row_bytes += size_bytes
        self.objects += 1

    async def flush(self) -> None:
        """Write what was collected, if anything was."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        size_bytes, self._row_bytes = self._row_bytes, 0
        await self._records.write(f"{self._folder}manifest/{len(self._shares):05d}.ndjson", rows)
        self._shares.append(Share(len(rows), size_bytes))

    def batches(self, plan_number: int) -> tuple[Batch, ...]:
        """Return the batches, those that take longest first: Airflow starts them in this order."""
        is_capped = self._request.bandwidth.is_capped or self._request.max_requests_per_second is not None
        shared = share_out(
            self._shares,
            batch_objects=self._request.batch_objects,
            batch_bytes=self._request.batch_bytes,
            most=MAX_CAPPED_BATCHES if is_capped else MAX_BATCHES,
        )
        return tuple(self._batch(number, records, len(shared), plan_number) for number, records in enumerate(shared))

    def _batch(self, number: int, records: tuple[int, ...], count: int, plan_number: int) -> Batch:
        objects = sum(self._shares[record].objects for record in records)
        size_bytes = sum(self._shares[record].size_bytes for record in records)
        return Batch(
            name=f"batch {number + 1} of {count} ({objects:,} objects, {size_bytes / 1e6:,.1f} MB)",
            number=number,
            plan_number=plan_number,
            records=records,
            objects=objects,
            size_bytes=size_bytes,
            batches=count,
        )


def share_out(
    shares: Sequence[Share], *, batch_objects: int, batch_bytes: int, most: int = MAX_BATCHES
) -> list[tuple[int, ...]]:
    """Return which records make up each batch, so that all batches take about as long.

    The record that takes longest goes to the batch that has least to do and room for it, then the next one (longest
    processing time first, which is at most a third worse than the best there is: https://doi.org/10.1137/0117039). A
    batch has more than `batch_objects` or `batch_bytes` only if it is one record, or if `most` batches are not enough
    otherwise.
    """
    objects, size_bytes = sum(share.objects for share in shares), sum(share.size_bytes for share in shares)
    needed = max(-(-objects // batch_objects), -(-size_bytes // batch_bytes))
    bins = [_Bin(number) for number in range(min(needed, most, len(shares)))]
    for record in sorted(range(len(shares)), key=lambda each: (-shares[each].seconds, each)):
        share = shares[record]
        with_room = [each for each in bins if each.has_room(share, batch_objects, batch_bytes)]
        if not with_room and len(bins) < most:
            with_room = [_Bin(len(bins))]
            bins += with_room
        min(with_room or bins, key=lambda each: (each.seconds, each.number)).add(record, share)
    bins.sort(key=lambda each: (-each.seconds, each.number))
    return [tuple(sorted(each.records)) for each in bins if each.records]


class _Bin:
    """A batch that is being filled."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.records: list[int] = []
        self.seconds = 0.0
        self._objects = 0
        self._bytes = 0

    def has_room(self, share: Share, batch_objects: int, batch_bytes: int) -> bool:
        if not self.records:
            return True
        return self._objects + share.objects <= batch_objects and self._bytes + share.size_bytes <= batch_bytes

    def add(self, record: int, share: Share) -> None:
        self.records.append(record)
        self.seconds += share.seconds
        self._objects += share.objects
        self._bytes += share.size_bytes


class OrderedOnDisk:
    """Puts planned objects into the order of their sizes; memory is flat, the disk takes about 1 KB for each."""

    def __init__(self, order: Order) -> None:
        self._direction = "DESC" if order == "largest_first" else "ASC"
        # An empty name: in memory up to SQLite's cache size, then in a file that is already deleted.
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE planned (size_bytes INTEGER, key BLOB, row TEXT)")
        self._rows: list[tuple[int, bytes, str]] = []

    def add(self, planned: PlannedObject) -> None:
        """Take in an object."""
        self._rows.append((planned.source.size_bytes, key_bytes(planned.source.key), json_line(planned.to_json())))
        if len(self._rows) >= _ROWS_PER_INSERT:
            self._insert()

    def take_all(self) -> Iterator[PlannedObject]:
        """Yield them in order, those of one size by their keys, and forget them."""
        self._insert()
        with closing(self._database):
            # The direction is one of two words of ours.
            query = f"SELECT row FROM planned ORDER BY size_bytes {self._direction}, key"  # noqa: S608
            for (row,) in self._database.execute(query):
                yield PlannedObject.from_json(json.loads(row))

    def _insert(self) -> None:
        self._database.executemany("INSERT INTO planned VALUES (?, ?, ?)", self._rows)
        self._rows.clear()
