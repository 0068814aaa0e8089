"""Listings in the order of the keys' bytes, which is what lets two of them be compared without holding either."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import closing

from skyferry.attempts import Attempts
from skyferry.errors import PermanentError, RetryableError
from skyferry.objects import ObjectInfo, Prefix, info_from_json, info_to_json, json_line
from skyferry.stores.base import Store

_ROWS_PER_INSERT = 5_000
_OBJECTS_AHEAD = 1_000
"""A page of S3 and of Cloud Storage, so that a page is asked for as soon as the one before it has come."""


def key_bytes(key: str) -> bytes:
    """Return what keys are ordered by; keys that are no Unicode come with surrogates and go back to their bytes."""
    return key.encode("utf-8", "surrogateescape")


def in_key_order(entries: Iterable[ObjectInfo | Prefix]) -> list[ObjectInfo | Prefix]:
    """Return the entries of a page of `Store.list_level`, each once, in the order of their keys' bytes."""
    by_key = {key_bytes(entry.key): entry for entry in entries}
    return [by_key[key] for key in sorted(by_key)]


def list_in_key_order(store: Store, prefix: str, *, attempts: Attempts) -> AsyncGenerator[ObjectInfo, None]:
    """List a prefix in the order of the keys' bytes; a listing that breaks off is taken up again.

    The next thousand objects are asked for while those before them are worked on. Where the store lists in this order,
    that is checked and costs nothing else. Elsewhere the listing is sorted on disk (a
    temporary SQLite database, about 500 bytes an object), so that memory stays flat.

    Raises:
        PermanentError: A store that promises the order broke it, or gave a key twice; nothing was planned.
    """
    listing = _Resumed(store, prefix, attempts)
    ordered = _checked(listing, store) if store.capabilities.lists_in_key_order else _sorted_on_disk(listing)
    return _read_ahead(ordered)


async def _read_ahead(listing: AsyncIterator[ObjectInfo]) -> AsyncGenerator[ObjectInfo, None]:
    asked_for = asyncio.create_task(_take(listing))
    try:
        while taken := await asked_for:
            asked_for = asyncio.create_task(_take(listing))
            for info in taken:
                yield info
    finally:
        asked_for.cancel()
        await asyncio.gather(asked_for, return_exceptions=True)


async def _take(listing: AsyncIterator[ObjectInfo]) -> list[ObjectInfo]:
    taken: list[ObjectInfo] = []
    async for info in listing:
        taken.append(info)
        if len(taken) == _OBJECTS_AHEAD:
            break
    return taken


class _Resumed(AsyncIterator[ObjectInfo]):
    """A listing that goes on behind its last key when it broke off; where keys come in no order, it begins anew.

    Thousands of pages are many chances of one bad answer, and a plan that begins anew would meet as many.
    """

    def __init__(self, store: Store, prefix: str, attempts: Attempts) -> None:
        self._store = store
        self._prefix = prefix
        self._attempts = attempts
        self._last_key = ""
        self._listing = store.list_objects(prefix)
        self._broken_by: RetryableError | None = None

    async def __anext__(self) -> ObjectInfo:
        # The way over `Attempts` costs more than a listed object does, so it is kept for when something broke.
        try:
            info = await anext(self._listing, None)
        except RetryableError as error:
            self._broken_by = error
            info = await self._attempts.call(self._go_on)
        if info is None:
            raise StopAsyncIteration
        if self._store.capabilities.lists_in_key_order:
            self._last_key = info.key
        return info

    async def _go_on(self) -> ObjectInfo | None:
        if self._broken_by is not None:
            error, self._broken_by = self._broken_by, None
            raise error  # the first of the attempts, which decides on the wait before the next one
        self._listing = self._store.list_objects(self._prefix, start_after=self._last_key)
        return await anext(self._listing, None)


async def _checked(listing: AsyncIterator[ObjectInfo], store: Store) -> AsyncIterator[ObjectInfo]:
    previous: bytes | None = None
    async for info in listing:
        current = key_bytes(info.key)
        if previous is not None and current <= previous:
            raise PermanentError(
                f"the listing of {store.url()} is out of order at {store.url(info.key)}",
                hint="the store repeats a page or does not list in key order; nothing was changed",
            )
        previous = current
        yield info


async def _sorted_on_disk(listing: AsyncIterator[ObjectInfo]) -> AsyncIterator[ObjectInfo]:
    # An empty name makes SQLite keep the database in memory up to its cache size, then in a file that is already
    # deleted: https://www.sqlite.org/inmemorydb.html#temp_db
    with closing(sqlite3.connect("")) as database:
        database.execute("CREATE TABLE listing (key BLOB PRIMARY KEY, info TEXT) WITHOUT ROWID")
        rows: list[tuple[bytes, str]] = []
        async for info in listing:
            rows.append((key_bytes(info.key), json_line(info_to_json(info))))
            if len(rows) >= _ROWS_PER_INSERT:
                _insert(database, rows)
        _insert(database, rows)
        for info in _read_sorted(database):
            yield info


def _insert(database: sqlite3.Connection, rows: list[tuple[bytes, str]]) -> None:
    # A key comes twice when it moved to a later page while we listed, or when the listing was begun anew; either row
    # describes a version that was there.
    database.executemany("INSERT OR REPLACE INTO listing VALUES (?, ?)", rows)
    rows.clear()


def _read_sorted(database: sqlite3.Connection) -> Iterator[ObjectInfo]:
    for (line,) in database.execute("SELECT info FROM listing ORDER BY key"):
        yield info_from_json(line)
