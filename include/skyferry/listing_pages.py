"""One listing of a store: taken up again where it broke off, and a page of it asked for before it is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from skyferry.attempts import Attempts
from skyferry.errors import RetryableError
from skyferry.objects import ObjectInfo
from skyferry.stores.base import Store

OBJECTS_PER_PAGE = 1_000
"""A page of S3 and of Cloud Storage, so that a page is asked for as soon as the one before it has come."""


class ResumedListing(AsyncIterator[ObjectInfo]):
    """A listing that goes on behind its last key when it broke off; where keys come in no order, it begins anew.

    Thousands of pages are many chances of one bad answer, and a plan that begins anew would meet as many.

    Args:
        start_after: The listing begins behind this key; only where the store lists in key order.
    """

    def __init__(self, store: Store, prefix: str, attempts: Attempts, *, start_after: str = "") -> None:
        self._store = store
        self._prefix = prefix
        self._attempts = attempts
        self._last_key = start_after
        self._listing = store.list_objects(prefix, start_after=start_after)
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


class ListingAhead:
    """A listing whose next pages are asked for while one is worked on, the first one at once.

    Call `aclose` when done, also after an error.

    Args:
        pages: How many are held beside the one that is worked on.
    """

    def __init__(self, listing: AsyncIterator[ObjectInfo], *, pages: int = 1) -> None:
        self._listing = listing
        self._room = asyncio.Semaphore(pages)
        self._read: asyncio.Queue[list[ObjectInfo]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read_pages())

    async def objects(self) -> AsyncGenerator[ObjectInfo, None]:
        """Yield the objects of the listing; what it raises comes in its turn."""
        while page := await self._read.get():
            self._room.release()
            for info in page:
                yield info
        await self._reading

    async def _read_pages(self) -> None:
        try:
            while await self._room.acquire() and (page := await _take_page(self._listing)):
                self._read.put_nowait(page)
        finally:
            self._read.put_nowait([])

    async def aclose(self) -> None:
        """Leave no request behind."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        if isinstance(self._listing, AsyncGenerator):
            await self._listing.aclose()


async def _take_page(listing: AsyncIterator[ObjectInfo]) -> list[ObjectInfo]:
    taken: list[ObjectInfo] = []
    async for info in listing:
        taken.append(info)
        if len(taken) == OBJECTS_PER_PAGE:
            break
    return taken
