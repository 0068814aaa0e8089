"""A long listing is made of several at once, each of one prefix, and still comes in the order of the keys.

A page of a listing begins where the one before it ended, so one listing is no quicker than a page a round trip. Keys
below a prefix that ends in `/` stand side by side in key order, so the first pages of the next prefixes can be asked
for while those of this one are worked on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from skyferry.attempts import Attempts
from skyferry.errors import RetryableError
from skyferry.key_order import key_bytes
from skyferry.listing_pages import OBJECTS_PER_PAGE, ListingAhead, ResumedListing
from skyferry.objects import ObjectInfo, Prefix
from skyferry.stores.base import Store

PLAIN_OBJECTS = 10_000
"""A listing that ends before costs no request more than a plain one; one that goes on has ten pages of S3 behind it."""

SHARDS_AHEAD = 8
"""How many prefixes are asked for at once. At 150 ms a page and 38 ms of work on it (docs/scaling.md), four of each
side would keep a plan at work if every prefix filled its pages; most do not."""

PAGES_AHEAD = 4
"""Of each of these prefixes; with about 700 bytes an object, all of them come to 22 MB."""

MIN_OBJECTS_PER_SHARD = 500
"""Below half a page for each prefix, listing prefix by prefix costs more requests than it saves waiting."""


async def list_in_shards(
    store: Store, prefix: str, *, attempts: Attempts, start_after: str = ""
) -> AsyncGenerator[ObjectInfo, None]:
    """Yield the objects below a prefix, in key order, behind a key.

    The first `PLAIN_OBJECTS` come from a plain listing. If there are more, the level below the prefix is listed, and
    its prefixes `SHARDS_AHEAD` at a time, `PAGES_AHEAD` of each held in memory. A large one is listed in shards itself
    when its turn comes. Where prefixes turn out small, and where the level cannot be listed, the plain listing goes on
    behind the last key: the objects are the same, whatever is tried.

    Args:
        store: Must list in key order.
    """
    last_key, count = start_after, 0
    async for info in ResumedListing(store, prefix, attempts, start_after=start_after):
        yield info
        last_key, count = info.key, count + 1
        if count == PLAIN_OBJECTS:
            break
    else:
        return
    level = _Level(store, prefix, attempts, behind=last_key)
    async with aclosing(level), aclosing(_list_by_prefixes(level)) as listing:
        async for info in listing:
            yield info
            last_key = info.key
    if not level.is_done:
        async for info in ResumedListing(store, prefix, attempts, start_after=last_key):
            yield info


async def _list_by_prefixes(level: _Level) -> AsyncGenerator[ObjectInfo, None]:
    """Yield the objects on a level and below it, until its end or until that does not pay."""
    shards = objects = 0
    while shards < SHARDS_AHEAD or objects >= shards * MIN_OBJECTS_PER_SHARD:
        entry = await level.next_entry()
        if entry is None:
            return
        if isinstance(entry, ObjectInfo):
            yield entry
            continue
        async with aclosing(entry):
            async for info in entry.objects():
                yield info
                objects += 1
        shards += 1


class _Level:
    """What is directly below a prefix, behind a key, in key order; the listings of the next prefixes have begun.

    Attributes:
        is_done: `next_entry` has returned everything.
    """

    def __init__(self, store: Store, prefix: str, attempts: Attempts, *, behind: str) -> None:
        self._store = store
        self._attempts = attempts
        self._behind = behind
        self._entries: AsyncIterator[ObjectInfo | Prefix] = store.list_level(prefix)
        self.is_done = False
        self._is_read = False
        self._ahead: deque[ObjectInfo | ListingAhead] = deque()
        self._begun = 0

    async def next_entry(self) -> ObjectInfo | ListingAhead | None:
        """Return an object of this level, or the listing of a prefix, which the caller closes.

        Returns:
            None when there is nothing more, and when the level can be listed no further.
        """
        try:
            while not self._is_read and self._begun < SHARDS_AHEAD and len(self._ahead) < OBJECTS_PER_PAGE:
                await self._read_entry()
        except RetryableError:
            return None
        self.is_done = not self._ahead
        if self.is_done:
            return None
        entry = self._ahead.popleft()
        self._begun -= isinstance(entry, ListingAhead)
        return entry

    async def _read_entry(self) -> None:
        entry = await anext(self._entries, None)
        if entry is None:
            self._is_read = True
        elif isinstance(entry, Prefix) and self._behind.startswith(entry.key):
            self._begin(entry.key, start_after=self._behind)
        elif key_bytes(entry.key) > key_bytes(self._behind):
            if isinstance(entry, Prefix):
                self._begin(entry.key)
            else:
                self._ahead.append(entry)

    def _begin(self, prefix: str, *, start_after: str = "") -> None:
        listing = list_in_shards(self._store, prefix, attempts=self._attempts, start_after=start_after)
        self._ahead.append(ListingAhead(listing, pages=PAGES_AHEAD))
        self._begun += 1

    async def aclose(self) -> None:
        """Leave no request behind."""
        for entry in self._ahead:
            if isinstance(entry, ListingAhead):
                await entry.aclose()
