"""Works on many items at a time and gives the results in the order of the items."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def map_in_order(
    items: AsyncIterator[_Item], function: Callable[[_Item], Coroutine[None, None, _Result]], *, limit: int
) -> AsyncIterator[_Result]:
    """Yield the function's results in the order of the items, working on up to `limit` of them at a time.

    Memory holds the results of `limit` items. When a call fails, or the caller stops, those under way are cancelled.
    """
    tasks: deque[asyncio.Task[_Result]] = deque()
    try:
        async for item in items:
            tasks.append(asyncio.create_task(function(item)))
            if len(tasks) >= limit:
                yield await tasks.popleft()
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
