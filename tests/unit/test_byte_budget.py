"""The byte budget is never exceeded, never leaks, and starves nobody."""

from __future__ import annotations

import asyncio
import random

import pytest

from skyferry.byte_budget import ByteBudget


async def test_never_more_than_the_budget_and_everybody_is_served() -> None:
    budget = ByteBudget(100)
    held = peak = served = 0
    numbers = random.Random(7)

    async def worker(size_bytes: int) -> None:
        nonlocal held, peak, served
        async with budget.hold(size_bytes):
            held += min(size_bytes, 100)
            peak = max(peak, held)
            await asyncio.sleep(0)
            held -= min(size_bytes, 100)
        served += 1

    await asyncio.gather(*(worker(numbers.randint(0, 150)) for _ in range(500)))
    assert served == 500
    assert peak <= 100


async def test_a_large_request_is_not_overtaken_for_ever() -> None:
    budget = ByteBudget(10)
    await budget.acquire(6)
    large = asyncio.create_task(budget.acquire(10))
    await asyncio.sleep(0)
    small = asyncio.create_task(budget.acquire(1))
    await asyncio.sleep(0)
    assert not small.done(), "there is room for it, but it came later"
    budget.release(6)
    await large
    budget.release(10)
    await small


async def test_cancelled_waiters_leave_nothing_behind() -> None:
    budget = ByteBudget(10)
    await budget.acquire(10)
    waiters = [asyncio.create_task(budget.acquire(5)) for _ in range(20)]
    await asyncio.sleep(0)
    budget.release(10)  # two of them have their turn now, but have not run yet
    for waiter in waiters:
        waiter.cancel()
    for waiter in waiters:
        with pytest.raises(asyncio.CancelledError):
            await waiter
    await asyncio.wait_for(budget.acquire(10), timeout=1)
