"""A listing made of several is the plain listing: the same objects in the same order, whatever breaks on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry import attempts as attempts_module
from skyferry import listing_pages, sharded_listing
from skyferry.attempts import Attempts
from skyferry.errors import PermanentError, ThrottledError
from skyferry.key_order import key_bytes
from skyferry.objects import ObjectInfo, Prefix
from skyferry.sharded_listing import list_in_shards
from skyferry.stores.base import Store
from skyferry.stores.gcs import GcsStore

PAGE = 4


class PagedStore:
    """Lists what it is given, and counts pages by the prefix they were asked for.

    Args:
        breaks_level_after: The listing of a level breaks off behind so many entries, every time.
        breaks_listing_after: A listing of objects breaks off behind so many, the first time for each place.
        seconds: How long a page takes.
    """

    def __init__(
        self,
        keys: list[str],
        *,
        breaks_level_after: int | None = None,
        breaks_listing_after: int | None = None,
        seconds: float = 0,
    ) -> None:
        self.keys = sorted(keys, key=key_bytes)
        self.capabilities = GcsStore.capabilities
        self.pages: Counter[str] = Counter()
        self.under_way = self.most_under_way = 0
        self._breaks_level_after = breaks_level_after
        self._breaks_listing_after = breaks_listing_after
        self._broken: set[tuple[str, str]] = set()
        self._seconds = seconds

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        found = [key for key in self.keys if key.startswith(prefix) and key_bytes(key) > key_bytes(start_after)]
        for index, key in enumerate(found):
            if index == self._breaks_listing_after and (prefix, start_after) not in self._broken:
                self._broken.add((prefix, start_after))
                raise ThrottledError("slow down")
            await self._page(prefix, index)
            yield ObjectInfo(key=key, size_bytes=1, etag=key)

    async def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        entries: dict[str, ObjectInfo | Prefix] = {}
        for key in self.keys:
            head, slash, _ = key.removeprefix(prefix).partition("/")
            if key.startswith(prefix):
                name = f"{prefix}{head}{slash}"
                entries[name] = Prefix(name) if slash else ObjectInfo(key=key, size_bytes=1, etag=key)
        for index, name in enumerate(sorted(entries, key=key_bytes)):
            if index == self._breaks_level_after:
                raise ThrottledError("slow down")
            await self._page(f"level {prefix}", index)
            yield entries[name]

    async def _page(self, name: str, index: int) -> None:
        if index % PAGE:
            return
        self.pages[name] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.under_way -= 1


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_pages, "OBJECTS_PER_PAGE", PAGE)
    monkeypatch.setattr(sharded_listing, "OBJECTS_PER_PAGE", PAGE)
    monkeypatch.setattr(sharded_listing, "PLAIN_OBJECTS", 2 * PAGE)
    monkeypatch.setattr(sharded_listing, "SHARDS_AHEAD", 3)
    monkeypatch.setattr(sharded_listing, "MIN_OBJECTS_PER_SHARD", PAGE // 2)
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)


async def listed(store: PagedStore, prefix: str = "") -> list[str]:
    listing = list_in_shards(cast("Store", store), prefix, attempts=Attempts())
    return [info.key async for info in listing]


def tree(*sizes: int, below: str = "") -> list[str]:
    return [f"{below}{folder:02d}/{number:03d}" for folder, size in enumerate(sizes) for number in range(size)]


# Names that sort around the slash, and a byte that is no UTF-8.
names = st.text(st.sampled_from(["/", "a", "b", "-", "0", "!", "é", "\U0001f600", "\udcff"]), min_size=1, max_size=6)


@given(keys=st.lists(names, unique=True, max_size=60), breaks_level=st.none() | st.integers(0, 5), data=st.data())
async def test_every_object_comes_once_and_in_order(keys: list[str], breaks_level: int | None, data: Any) -> None:
    breaks_listing = data.draw(st.none() | st.integers(0, 9))
    prefix = data.draw(st.sampled_from(["", *(key.partition("/")[0] for key in keys)]))
    store = PagedStore(keys, breaks_level_after=breaks_level, breaks_listing_after=breaks_listing)
    assert await listed(store, prefix) == [key for key in store.keys if key.startswith(prefix)]


async def test_prefixes_are_asked_for_at_the_same_time() -> None:
    store = PagedStore(tree(*[PAGE] * 20), seconds=0.001)
    assert await listed(store) == store.keys
    assert store.most_under_way == 3
    assert store.pages[""] == 2
    assert store.pages["19/"] == 1


async def test_a_short_listing_costs_no_other_request() -> None:
    store = PagedStore(tree(3, 4))
    assert await listed(store) == store.keys
    assert store.pages == {"": 2}


async def test_small_prefixes_are_given_up_before_they_cost_much() -> None:
    store = PagedStore(tree(*[1] * 400))
    assert await listed(store) == store.keys
    plain_pages = 400 // PAGE
    assert store.pages.total() < plain_pages + 12


async def test_a_level_without_prefixes_is_read_once() -> None:
    store = PagedStore([f"{number:03d}" for number in range(100)])
    assert await listed(store) == store.keys
    assert store.pages == {"": 2, "level ": 25}


async def test_a_large_prefix_is_cut_by_its_own_level() -> None:
    store = PagedStore([*tree(40, below="a/"), *tree(*[PAGE] * 9, below="b/"), "c"])
    assert await listed(store) == store.keys
    assert store.pages["b/08/"] == 1


async def test_what_was_begun_ends_with_the_listing() -> None:
    store = PagedStore(tree(*[PAGE] * 20), seconds=0.001)
    async with aclosing(list_in_shards(cast("Store", store), "", attempts=Attempts())) as listing:
        for _ in range(3 * PAGE):
            await anext(listing)
    assert store.under_way == 0
    assert len(asyncio.all_tasks()) == 1


async def test_a_prefix_that_cannot_be_listed_is_an_error() -> None:
    class Refusing(PagedStore):
        def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            if prefix == "07/":
                raise PermanentError("no right to list 07/")
            return super().list_objects(prefix, start_after=start_after)

    with pytest.raises(PermanentError, match="07/"):
        await listed(Refusing(tree(*[PAGE] * 20)))
    assert len(asyncio.all_tasks()) == 1
