"""A bound on the bytes held in memory by everything that is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """A semaphore that counts bytes; whoever waits longest is served first, however much the others ask for.

    Args:
        total_bytes: How many bytes may be held at once. A single holder that asks for more gets all of it, so that
            one object larger than the budget still moves, alone.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold so many bytes while the block runs."""
        await self.acquire(size_bytes)
        try:
            yield
        finally:
            self.release(size_bytes)

    async def acquire(self, size_bytes: int) -> None:
        """Wait until so many bytes are free, and take them."""
        amount = min(size_bytes, self._total_bytes)
        if not self._waiters and amount <= self._free_bytes:
            self._free_bytes -= amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(amount)
            else:
                self._waiters = deque(waiter for waiter in self._waiters if waiter[1] is not turn)
            raise

    def release(self, size_bytes: int) -> None:
        """Give back what `acquire` took."""
        self._give_back(min(size_bytes, self._total_bytes))

    def _give_back(self, amount: int) -> None:
        self._free_bytes += amount
        while self._waiters and self._waiters[0][0] <= self._free_bytes:
            wanted, turn = self._waiters.popleft()
            if turn.cancelled():
                continue
            self._free_bytes -= wanted
            turn.set_result(None)
