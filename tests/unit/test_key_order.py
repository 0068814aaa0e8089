"""Listings come in byte order, or they are brought into it; a store that breaks its promise is found out."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.errors import PermanentError
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

    async def list_objects(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        for key in self.keys:
            yield ObjectInfo(key=key, size_bytes=len(key), etag=key)


async def listed(store: Any) -> list[str]:
    return [info.key async for info in list_in_key_order(store, "")]


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
