"""Many at a time, results in order, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from skyferry.ordered_work import map_in_order


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_results_come_in_order_and_no_more_than_the_limit_are_under_way() -> None:
    under_way = highest = 0

    async def work(number: int) -> int:
        nonlocal under_way, highest
        under_way += 1
        highest = max(highest, under_way)
        for _ in range(10 - number % 10):
            await asyncio.sleep(0)
        under_way -= 1
        return number

    assert [result async for result in map_in_order(numbers(50), work, limit=8)] == list(range(50))
    assert highest == 8


async def test_what_is_under_way_is_cancelled_when_one_fails() -> None:
    cancelled: list[int] = []

    async def work(number: int) -> int:
        if number == 0:
            await asyncio.sleep(0)
            raise ValueError("no")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    with pytest.raises(ValueError, match="no"):
        async for _ in map_in_order(numbers(9), work, limit=4):
            pass
    assert cancelled == [1, 2, 3]
