"""Receipts of an earlier plan: each is taken once, the last one counts, and what is left comes in key order."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from typing import Any

from skyferry.earlier_receipts import EarlierReceipts
from skyferry.records import Outcome, Receipt


def receipt(key: str, *, etag: str = "", outcome: Outcome = Outcome.COPIED) -> Receipt:
    return Receipt(
        key=key, destination_key=key, outcome=outcome, reason="new", size_bytes=1, source_etag=etag, lost=("tags",)
    )


async def rows(receipts: Iterable[Receipt]) -> AsyncIterator[dict[str, Any]]:
    for one in receipts:
        yield one.to_json()


async def test_each_is_taken_once_and_the_last_of_a_key_counts() -> None:
    with closing(EarlierReceipts()) as earlier:
        assert earlier.take("a") is None
        failed = receipt("f", outcome=Outcome.FAILED)
        await earlier.load(rows([receipt("a", etag="1"), receipt("ü//x"), failed, receipt("a", etag="2")]))
        assert earlier.take("a") == receipt("a", etag="2")
        assert earlier.take("a") is None
        assert earlier.take("f") is None
        assert list(earlier.rest()) == [receipt("ü//x")]


async def test_the_rest_comes_in_the_order_of_the_bytes_whatever_the_names() -> None:
    keys = ["\U0001f600", "￼", "\udcff", "a/b", "a", "a-b", "/a", "//"]
    with closing(EarlierReceipts()) as earlier:
        await earlier.load(rows(receipt(key) for key in keys))
        rest = [one.key for one in earlier.rest()]
    assert rest == sorted(keys, key=lambda key: key.encode("utf-8", "surrogateescape"))


async def test_memory_does_not_grow_with_their_number() -> None:
    with closing(EarlierReceipts()) as earlier:
        tracemalloc.start()
        await earlier.load(rows(receipt(f"{number:06d}" * 20) for number in range(20_000)))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 3 * 2**20
        assert earlier.take("000000" * 20) is not None
