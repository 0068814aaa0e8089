"""Listings in the order of the keys' bytes, which is what lets two of them be compared without holding either."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, closing

from skyferry.attempts import Attempts
from skyferry.errors import PermanentError
from skyferry.key_order import key_bytes
from skyferry.listing_pages import ListingAhead, ResumedListing
from skyferry.objects import ObjectInfo, info_from_json, info_to_json, json_line
from skyferry.sharded_listing import list_in_shards
from skyferry.stores.base import Store

_ROWS_PER_INSERT = 5_000


def list_in_key_order(store: Store, prefix: str, *, attempts: Attempts) -> AsyncGenerator[ObjectInfo, None]:
    """List a prefix in the order of the keys' bytes; a listing that breaks off is taken up again.

    The next thousand objects are asked for while those before them are worked on, and long listings are made of several
    at once (`skyferry.sharded_listing`). Where the store lists in this order, that is checked. Elsewhere the listing is
    sorted on disk (a temporary SQLite database, about 500 bytes an object), so that memory stays flat.

    Raises:
        PermanentError: A store that promises the order broke it, or gave a key twice; nothing was planned.
    """
    if not store.capabilities.lists_in_key_order:
        return _read_ahead(_sorted_on_disk(ResumedListing(store, prefix, attempts)))
    if store.capabilities.reads_are_trusted:  # no network, so a page takes no round trip
        return _read_ahead(_checked(ResumedListing(store, prefix, attempts), store))
    return _read_ahead(_checked(list_in_shards(store, prefix, attempts=attempts), store))


async def _read_ahead(listing: AsyncIterator[ObjectInfo]) -> AsyncGenerator[ObjectInfo, None]:
    async with aclosing(ListingAhead(listing)) as ahead:
        async for info in ahead.objects():
            yield info


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
