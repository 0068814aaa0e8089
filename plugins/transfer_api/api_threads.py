"""Runs what waits for Airflow or for disks in threads of the API's own.

Airflow's REST v2, which is called from here, answers in the threads that the server keeps for that. If these calls
waited in the same threads, enough of them at once would wait for each other for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import anyio
import anyio.to_thread

MAX_CALLS_AT_ONCE = 8
MAX_SLOW_CALLS_AT_ONCE = 2

_Result = TypeVar("_Result")


@cache
def _limiter(calls_at_once: int) -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(calls_at_once)


async def in_thread(call: Callable[[], _Result]) -> _Result:
    """Return the result of a call that blocks; others are served meanwhile."""
    return await anyio.to_thread.run_sync(call, limiter=_limiter(MAX_CALLS_AT_ONCE))


async def in_slow_thread(call: Callable[[], _Result]) -> _Result:
    """Return the result of a call that may take minutes; however many wait for one, quick calls go on beside them."""
    return await anyio.to_thread.run_sync(call, limiter=_limiter(MAX_SLOW_CALLS_AT_ONCE))
