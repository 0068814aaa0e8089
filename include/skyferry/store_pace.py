"""When one store may be asked the next thing: every request waits here for its turn, whoever makes it.

Nobody tells a store's limits, and they change. So the requests under way grow while the store keeps up
(`request_window`), and once it asks for fewer, they are spread at the rate it takes (`request_rate`).
"""

from __future__ import annotations

import asyncio
from collections import deque

from skyferry.errors import ThrottledError
from skyferry.request_rate import RequestRate
from skyferry.request_window import RequestWindow

LOST_AFTER_SECONDS = 120.0
"""A store that has refused every request for so long is not throttling but lost; the time one request is tried."""


class StorePace:
    """Lets requests begin in the order they came; costs about 5 microseconds a request.

    Args:
        url: The store, for messages.
        max_in_flight: Never more requests under way than this.
        max_per_second: Never more requests a second than this; None for no such bound.
    """

    def __init__(self, url: str, *, max_in_flight: int, max_per_second: float | None = None) -> None:
        self._url = url
        self._window = RequestWindow(most=max_in_flight)
        self._rate = RequestRate(max_per_second=max_per_second)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._refusing_since: float | None = None

    @property
    def max_in_flight(self) -> int:
        """How many requests may be under way now."""
        return self._window.size

    async def enter(self) -> float:
        """Wait for the turn of a request; return when it began. Call `leave` when it has ended.

        Raises:
            ThrottledError: The store has refused everything for too long.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._waiting and self._in_flight < self._window.size and self._rate.wait_seconds(now) <= 0:
            self._begin(now)
            return now
        turn: asyncio.Future[float] = loop.create_future()
        self._waiting.append(turn)
        self._let_in(now)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()
            raise

    def leave(self) -> None:
        """Note that a request is no longer under way, and let the next one in."""
        self._in_flight -= 1
        if self._waiting:
            self._let_in(asyncio.get_running_loop().time())

    def answered(self, kind: object, began_at: float) -> None:
        """Note that the store did what a request asked for, or said why it would not."""
        now = asyncio.get_running_loop().time()
        self._refusing_since = None
        self._rate.accepted(now)
        self._window.answered(kind, now - began_at)

    def refused(self, began_at: float, error: ThrottledError) -> None:
        """Note that the store asked for fewer requests, and tell whoever made the request that it is to come again."""
        now = asyncio.get_running_loop().time()
        if self._rate.refused(now, began_at=began_at, retry_after_seconds=error.retry_after_seconds):
            self._window.refused()
        self._refusing_since = now if self._refusing_since is None else self._refusing_since
        error.is_paced = now - self._refusing_since < LOST_AFTER_SECONDS
        if not error.is_paced:
            self._turn_away(now - self._refusing_since)

    def _begin(self, now: float) -> None:
        self._in_flight += 1
        self._window.begin(self._in_flight)
        self._rate.begin(now)

    def _let_in(self, now: float) -> None:
        while self._waiting and self._in_flight < self._window.size:
            wait_seconds = self._rate.wait_seconds(now)
            if wait_seconds > 0:
                self._look_again_in(wait_seconds)
                return
            turn = self._waiting.popleft()
            if not turn.done():
                self._begin(now)
                turn.set_result(now)

    def _look_again_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._let_in(asyncio.get_running_loop().time())

    def _turn_away(self, seconds: float) -> None:
        """Fail what waits: one request that was refused has asked for all of them."""
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_exception(ThrottledError(f"{self._url} has refused every request for {seconds:,.0f} seconds"))
