"""Where a run keeps its manifest and its receipts: NDJSON objects in a folder of any store.

    <state_url>/<dag_id>/run=<run_id>/plan-0001/manifest/00000.ndjson       what to copy, pinned
                                               /skipped/00000.ndjson        what not to copy, and why
                                               /plan.json                   totals; written last: the plan is whole
                                               /receipts/00000/try-01-00000.ndjson
                                               /reports/00000.json          one for each time the report was made
    <state_url>/uploads/...                                                 see skyferry.upload_records

A run that plans again (a cleared task, a retry) begins `plan-0002` and takes over the receipts it already has, so that
repeating changes no count. Nothing is ever overwritten or appended to, so any store will do, and two writers at once
(a worker that was cut off and its successor) cannot damage each other's records.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from skyferry.attempts import Attempts
from skyferry.checksums import digest
from skyferry.errors import DestinationChangedError, PermanentError
from skyferry.objects import ObjectInfo, ObjectMetadata, json_line
from skyferry.ordered_work import map_in_order
from skyferry.stores.base import Store
from skyferry.urls import Location

_PLAN_FOLDER = re.compile(r"plan-(?P<number>[0-9]{4})/")
_MAX_ID_CHARACTERS = 200
"""Longer ids are cut and told apart by a digest: a name in a local folder has at most 255 bytes."""

_RECORDS_READ_AHEAD = 8
"""Waiting for one record after the other would take hours for those of ten million objects."""

_Item = TypeVar("_Item")

_NDJSON = ObjectMetadata(content_type="application/x-ndjson")


class StoreOpener(Protocol):
    """Opens the store of a location with the credentials of a connection; the Airflow bridge supplies one."""

    def __call__(self, location: Location, conn_id: str) -> AbstractAsyncContextManager[Store]:
        """Return a context that yields the store and closes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Which DAG run this is.

    Attributes:
        route: Id of the route, or of the ad-hoc request.
        started_at: ISO 8601, with time zone.
    """

    dag_id: str
    run_id: str
    route: str
    started_at: str

    @property
    def folder(self) -> str:
        """The run's part of the state folder's keys; safe in every store whatever the ids contain."""
        return f"{_quoted(self.dag_id)}/run={_quoted(self.run_id)}/"


def _quoted(text: str) -> str:
    quoted = urllib.parse.quote(text, safe="").replace(".", "%2E")
    if len(quoted) <= _MAX_ID_CHARACTERS:
        return quoted
    digest_of_all = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{quoted[: _MAX_ID_CHARACTERS - 33]}-{digest_of_all[:32]}"


class StateFolder:
    """The records of one run below a prefix of an open store.

    Args:
        store: An open store.
        prefix: Ends in `/`, or is empty.
        root: The beginning of the prefix that is the `state_url`.
    """

    def __init__(self, store: Store, prefix: str, *, root: str = "") -> None:
        self._store = store
        self._prefix = prefix
        self._root = root
        self._attempts = Attempts()

    def sibling(self, folder: str) -> StateFolder:
        """Return a folder of the `state_url` that is not this run's."""
        return StateFolder(self._store, self._root + folder, root=self._root)

    def url(self, name: str = "") -> str:
        """Return the full URL of a record."""
        return self._store.url(self._prefix + name)

    async def write(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows as NDJSON under a name nobody has used.

        Raises:
            PermanentError: The name is taken by other rows; nothing was overwritten.
        """
        if not await self._write_new(name, rows):
            raise PermanentError(
                f"{self.url(name)} is taken",
                hint="another process writes the records of this run; it was kept",
            )

    async def claim(self, name: str, row: Mapping[str, Any]) -> bool:
        """Write a record unless there is one of that name; return whether it is this one.

        Args:
            row: Differs from everybody else's.
        """
        return await self._write_new(name, [row])

    async def _write_new(self, name: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        body = "".join(json_line(row) + "\n" for row in rows).encode("ascii")
        digests = await digest(body, self._store.capabilities.digests)
        key = self._prefix + name
        try:
            await self._attempts.call(
                lambda: self._store.put_object(key, body, metadata=_NDJSON, digests=digests, replaces=None)
            )
        except DestinationChangedError:
            # A lost answer looks the same: what lies there may well be what was just sent.
            return await self._read_bytes(name) == body
        return True

    async def read(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a record; an empty list when there is no such record."""
        body = await self._read_bytes(name)
        return [json.loads(line) for line in (body or b"").splitlines()]

    async def _read_bytes(self, name: str) -> bytes | None:
        info = await self._attempts.call(lambda: self._store.stat(self._prefix + name))
        if info is None:
            return None
        _, body = await self._attempts.call(lambda: self._store.read_object(info))
        return bytes(body)

    async def names(self, folder: str) -> list[str]:
        """Return the names of all records in a folder, sorted."""
        return await self._attempts.call(lambda: self._names(self._prefix + folder))

    async def _names(self, prefix: str) -> list[str]:
        return sorted([info.key.removeprefix(self._prefix) async for info in self._store.list_objects(prefix)])

    async def written_at(self, folder: str) -> dict[str, datetime | None]:
        """Return when each record in a folder was written, by name, where the store tells."""

        async def look() -> dict[str, datetime | None]:
            prefix = self._prefix + folder
            listing = self._store.list_objects(prefix)
            return {info.key.removeprefix(self._prefix): info.modified_at async for info in listing}

        return await self._attempts.call(look)

    async def delete(self, name: str) -> None:
        """Delete a record; one that is gone already is fine. The records of a run are never deleted."""
        info = await self._attempts.call(lambda: self._store.stat(self._prefix + name))
        if info is not None:
            await self._attempts.call(lambda: self._store.delete_object(info))

    async def plan_numbers(self) -> tuple[int, int]:
        """Return the numbers of the newest plan folder and of the newest whole plan; 0 where there is none."""
        names = await self.names("")
        begun = {int(match.group("number")) for name in names if (match := _PLAN_FOLDER.match(name))}
        whole = {number for number in begun if f"{plan_folder(number)}plan.json" in names}
        return max(begun, default=0), max(whole, default=0)

    async def rows(self, folder: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the rows of all records in a folder, in the order of their names; a few records are in memory."""
        infos = await self._attempts.call(lambda: self._infos(self._prefix + folder))
        async for body in map_in_order(_each(infos), self._read_listed, limit=_RECORDS_READ_AHEAD):
            for line in body.splitlines():
                yield json.loads(line)

    async def _infos(self, prefix: str) -> list[ObjectInfo]:
        return sorted([info async for info in self._store.list_objects(prefix)], key=lambda info: info.key)

    async def _read_listed(self, info: ObjectInfo) -> bytes:
        _, body = await self._attempts.call(lambda: self._store.read_object(info))
        return bytes(body)


async def _each(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    for item in items:
        yield item


class RecordWriter:
    """Collects rows and writes them as numbered records.

    Args:
        state: Where.
        name: Makes the record's name out of its number.
        rows_per_record: How many rows are collected before they are written.
    """

    def __init__(self, state: StateFolder, name: Callable[[int], str], *, rows_per_record: int) -> None:
        self._state = state
        self._name = name
        self._rows_per_record = rows_per_record
        self._rows: list[Mapping[str, Any]] = []
        self.records_written = 0

    async def add(self, row: Mapping[str, Any]) -> None:
        """Take in a row."""
        self._rows.append(row)
        if len(self._rows) >= self._rows_per_record:
            await self.flush()

    async def flush(self) -> None:
        """Write what was collected, if anything was; rows that could not be written are kept for the next time."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        number, self.records_written = self.records_written, self.records_written + 1
        try:
            await self._state.write(self._name(number), rows)
        except BaseException:
            self._rows = rows + self._rows
            raise


def plan_folder(number: int) -> str:
    """Return the folder of a plan."""
    return f"plan-{number:04d}/"
