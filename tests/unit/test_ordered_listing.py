"""Listings come in byte order, or they are brought into it; a store that breaks its promise is found out."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry import attempts as attempts_module
from skyferry.attempts import Attempts
from skyferry.errors import PermanentError, ThrottledError
from skyferry.key_order import key_bytes
from skyferry.objects import ObjectInfo
from skyferry.ordered_listing import list_in_key_order
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore


class ListedStore:
    """Lists what it is given, in that order."""

    def __init__(self, keys: list[str], *, in_order: bool) -> None:
        self.keys = keys
        self.capabilities = dataclasses.replace(LocalStore.capabilities, lists_in_key_order=in_order)

    def url(self, key: str = "") -> str:
        return f"test://{key}"

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        for key in self.keys:
            if key > start_after:
                yield ObjectInfo(key=key, size_bytes=len(key), etag=key)


class BreakingStore(ListedStore):
    """Breaks off after so many keys, again and again."""

    def __init__(self, keys: list[str], *, in_order: bool, break_after: list[int]) -> None:
        super().__init__(keys, in_order=in_order)
        self.break_after = break_after

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        left = self.break_after.pop(0) if self.break_after else -1
        async for info in super().list_objects(prefix, start_after=start_after):
            if left == 0:
                raise ThrottledError("slow down")
            left -= 1
            yield info


async def listed(store: Any, attempts: Attempts | None = None) -> list[str]:
    return [info.key async for info in list_in_key_order(store, "", attempts=attempts or Attempts())]


@pytest.mark.parametrize("in_order", [True, False])
async def test_a_listing_that_breaks_off_is_taken_up_again(monkeypatch: pytest.MonkeyPatch, in_order: bool) -> None:
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)
    attempts = Attempts()
    store = BreakingStore(list("abcdef"), in_order=in_order, break_after=[2, 1, 0, 0])
    assert await listed(store, attempts) == list("abcdef")
    assert attempts.retries == {"ThrottledError": 4}


async def test_a_listing_that_does_not_get_on_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)
    with pytest.raises(ThrottledError):
        await listed(BreakingStore(list("abc"), in_order=True, break_after=[2] + [0] * 100))


# Lone surrogates U+DC80 to U+DCFF stand for bytes that are no UTF-8.
all_keys = st.lists(st.text(st.characters(codec="utf-8"), min_size=1) | st.just("\udcff"), unique=True)


@given(all_keys)
async def test_unordered_listings_are_sorted_by_bytes(keys: list[str]) -> None:
    assert await listed(ListedStore(keys, in_order=False)) == sorted(keys, key=key_bytes)


@given(all_keys)
async def test_ordered_listings_pass(keys: list[str]) -> None:
    ordered = sorted(keys, key=key_bytes)
    assert await listed(ListedStore(ordered, in_order=True)) == ordered


@pytest.mark.parametrize("keys", [["b", "a"], ["a", "a"], ["a/b", "a-b"]])
async def test_a_broken_promise_is_found_out(keys: list[str]) -> None:
    with pytest.raises(PermanentError, match="out of order at test://"):
        await listed(ListedStore(keys, in_order=True))


async def test_a_page_that_comes_twice_counts_once() -> None:
    assert await listed(ListedStore(["b", "a", "b"], in_order=False)) == ["a", "b"]


class PagedStore(ListedStore):
    """Counts its pages of a thousand keys; each has to be let through."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__(keys, in_order=True)
        self.pages_asked_for = 0
        self.may_answer = asyncio.Semaphore(0)

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        for first in range(0, len(self.keys), 1000):
            self.pages_asked_for += 1
            await self.may_answer.acquire()
            for key in self.keys[first : first + 1000]:
                yield ObjectInfo(key=key, size_bytes=1, etag=key)


async def test_a_page_is_asked_for_while_the_one_before_it_is_worked_on_and_no_more() -> None:
    store = PagedStore([f"{number:05d}" for number in range(5000)])
    listing = list_in_key_order(cast("Store", store), "", attempts=Attempts())
    store.may_answer.release()
    assert (await anext(listing)).key == "00000"
    await asyncio.sleep(0)
    assert store.pages_asked_for == 2
    for _ in range(4):
        store.may_answer.release()
    for _ in range(20):
        await asyncio.sleep(0)
    assert store.pages_asked_for == 2, "memory holds two pages"
    assert [info.key async for info in listing] == store.keys[1:]


async def test_a_caller_that_stops_leaves_no_request_behind() -> None:
    store = PagedStore([f"{number:05d}" for number in range(5000)])
    store.may_answer.release()
    async with aclosing(list_in_key_order(cast("Store", store), "", attempts=Attempts())) as listing:
        await anext(listing)
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_was_listed_before_an_error_may_be_lost_but_never_the_error() -> None:
    keys = [f"{number:05d}" for number in range(1500)]
    keys[1200] = keys[1100]
    with pytest.raises(PermanentError, match="out of order"):
        await listed(ListedStore(keys, in_order=True))
