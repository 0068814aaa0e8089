"""`Storage`: the verbs, on stores that stay open while it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Self

from skyferry.attempts import Attempts
from skyferry.storage.listing import EVERYTHING, Entry, Wanted, all_named, exactly, level, missing
from skyferry.storage.opening import ConnectedOpener, open_with
from skyferry.storage.reading import content
from skyferry.storage.targets import Target, parse_target
from skyferry.stores.base import Store
from skyferry.urls import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What lies below one URL: how many objects, and how many bytes they have together."""

    url: str
    objects: int
    size_bytes: int


class Storage:
    """The storage verbs for programs; an asynchronous context manager that closes what it opened.

    URLs are `s3://bucket/key`, `az://container/key`, `gs://bucket/key` and `file:///path`; see
    `skyferry.storage.targets` for what they name. Errors are those of `skyferry.errors`.

    Args:
        conn_id: The Airflow connection for every store that needs one; empty for the default one of its kind.
        max_in_flight: Never more requests to one store at a time than this; 1 to 1,024.
        opener: What opens stores with connections; the installed one by default.
    """

    def __init__(self, conn_id: str = "", *, max_in_flight: int = 64, opener: ConnectedOpener | None = None) -> None:
        self._conn_id = conn_id
        self._open = open_with(conn_id, max_in_flight=max_in_flight, opener=opener)
        self._stores: dict[Location, Store] = {}
        self._opening = asyncio.Lock()
        self._exits = AsyncExitStack()
        self._max_in_flight = max_in_flight
        self.attempts = Attempts()

    async def __aenter__(self) -> Self:
        """Return the storage; nothing is opened yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every store."""
        await self._exits.aclose()

    async def ls(self, url: str) -> AsyncIterator[Entry]:
        """Yield one level: the objects and the folders a URL names, or what the folder it names holds.

        Costs one listing. Raises `SourceMissingError` where there is nothing.
        """
        store, target = await self._find(url)
        async for entry in level(store, target, attempts=self.attempts):
            yield entry

    async def find(self, url: str, wanted: Wanted = EVERYTHING) -> AsyncIterator[Entry]:
        """Yield every object a URL names, those in folders included, in key order.

        Costs one listing. Raises `SourceMissingError` where there is nothing; that nothing is wanted is no error.
        """
        store, target = await self._find(url)
        async for entry in all_named(store, target, attempts=self.attempts, wanted=wanted):
            yield entry

    async def stat(self, url: str, *, key: str | None = None) -> Entry:
        """Return everything the store tells about one object: checksums, metadata and tags included.

        Args:
            key: Name of the object below the URL, for names a URL cannot hold.

        Raises:
            SourceMissingError: There is no object of exactly this name.
        """
        store, target = await self._find(url, key=key)
        info = await exactly(store, target, attempts=self.attempts)
        if info is None:
            raise missing(store, target)
        return Entry(url=store.url(info.key), name=target.name, info=info)

    async def du(self, url: str, *, depth: int = 0, wanted: Wanted = EVERYTHING) -> list[Usage]:
        """Return how much lies below each folder, the total last.

        Costs one listing; memory holds one sum for each folder.

        Args:
            depth: How many levels of folders have a sum of their own.
        """
        store, target = await self._find(url)
        folder = target.folder if target.has_glob or not target.name else f"{target.key}/"
        total = Usage(url=store.url(folder), objects=0, size_bytes=0)
        sums: dict[str, Usage] = {}
        async for entry in all_named(store, target, attempts=self.attempts, wanted=wanted):
            size_bytes = entry.info.size_bytes if entry.info else 0
            total = _with(total, size_bytes)
            for parent in _parents(entry.name, depth):
                key = folder + parent
                sums[key] = _with(sums.get(key, Usage(url=store.url(key), objects=0, size_bytes=0)), size_bytes)
        return [*(sums[key] for key in sorted(sums)), total]

    async def cat(
        self, url: str, *, key: str | None = None, start_byte: int = 0, size_bytes: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the content of every object a URL names, one after the other in key order; see `reading.content`."""
        store, target = await self._find(url, key=key)
        async for entry in all_named(store, target, attempts=self.attempts):
            assert entry.info is not None
            pieces = content(store, entry.info, start_byte=start_byte, size_bytes=size_bytes, attempts=self.attempts)
            async for piece in pieces:
                yield piece

    async def _find(self, url: str, *, key: str | None = None) -> tuple[Store, Target]:
        target = parse_target(url, key=key)
        return await self._store(target.bucket), target

    async def _store(self, bucket: Location) -> Store:
        async with self._opening:
            if bucket not in self._stores:
                self._stores[bucket] = await self._exits.enter_async_context(self._open(bucket, ""))
            return self._stores[bucket]


def _with(usage: Usage, size_bytes: int) -> Usage:
    return replace(usage, objects=usage.objects + 1, size_bytes=usage.size_bytes + size_bytes)


def _parents(name: str, depth: int) -> list[str]:
    """Return the folders a name lies in, down to a depth."""
    elements = name.split("/")[:-1][:depth]
    return ["/".join(elements[: count + 1]) + "/" for count in range(len(elements))]
