"""Listings come in byte order, or they are brought into it; a store that breaks its promise is found out."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry import attempts as attempts_module
from skyferry.attempts import Attempts
from skyferry.errors import PermanentError, ThrottledError
from skyferry.key_order import key_bytes, list_in_key_order
from skyferry.objects import ObjectInfo
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
