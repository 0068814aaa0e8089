"""Trying a request again: which errors, how often, how long, and how long to wait in between."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from skyferry.errors import RetryableError, ThrottledError

if TYPE_CHECKING:
    from tenacity import RetryCallState

MAX_ATTEMPTS = 5
"""Attempts at one request; the task's own retries begin anew after them."""

MAX_SECONDS = 120.0
"""No further attempt starts this long after the first one."""

_MAX_RETRY_AFTER_SECONDS = 60.0

_Result = TypeVar("_Result")


class Attempts:
    """Calls things that may fail for a while, and counts how often they were called again.

    `retries` maps an error class's name to the number of times it was followed by another attempt.
    """

    def __init__(self) -> None:
        self.retries: dict[str, int] = {}

    @property
    def total_retries(self) -> int:
        """How many attempts were made beyond the first ones."""
        return sum(self.retries.values())

    async def call(
        self,
        function: Callable[[], Awaitable[_Result]],
        *,
        on: type[RetryableError] | tuple[type[RetryableError], ...] = RetryableError,
        takes_long: bool = False,
    ) -> _Result:
        """Return what the function returns, calling it again while it raises an error named by `on`.

        A store that only asks for fewer requests fails nothing: such a call does not count as an attempt, and the next
        one waits for the store's pace (`skyferry.store_pace`), which also says when a store is lost.

        Args:
            takes_long: The work takes longer than `MAX_SECONDS` when nothing is wrong; only the attempts are counted.

        Raises:
            RetryableError: The last one, when the attempts or the time are used up.
        """
        started = time.monotonic()
        failed: list[RetryableError] = []

        async def ask_past_throttling() -> _Result:
            nonlocal started
            while True:
                try:
                    return await function()
                except on as error:
                    if not _is_paced(error):
                        raise
                    self.count(error)
                    started = time.monotonic()

        try:
            return await ask_past_throttling()
        except on as error:
            failed.append(error)
        # Retrying is prepared only now: it costs more than handing a small object's request on does.
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, stop_never

        passed_seconds = time.monotonic() - started
        deadline = stop_never if takes_long else stop_after_delay(max(MAX_SECONDS - passed_seconds, 0))
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(on),
            stop=stop_after_attempt(MAX_ATTEMPTS) | deadline,
            wait=_wait_seconds,
            before_sleep=self._count,
            reraise=True,
        )

        async def attempt() -> _Result:  # tenacity awaits what is declared async, and a lambda is not
            if failed:
                raise failed.pop()  # the attempt that was made above, which decides on the wait before the next one
            return await ask_past_throttling()

        return await retrying(attempt)

    def count(self, error: BaseException | None) -> None:
        """Note that another attempt follows this error."""
        cause = type(error).__name__
        self.retries[cause] = self.retries.get(cause, 0) + 1

    def _count(self, state: RetryCallState) -> None:
        self.count(state.outcome.exception() if state.outcome else None)


def _full_jitter(state: RetryCallState) -> float:
    """Return a time between 0 and 0.25 s, 0.5 s, 1 s, ... 20 s, as AWS recommends for many clients of one store.

    Source: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """
    from tenacity.wait import wait_random_exponential

    return wait_random_exponential(multiplier=0.25, max=20)(state)


_BACK_OFF = _full_jitter


def _is_paced(error: RetryableError) -> bool:
    return isinstance(error, ThrottledError) and error.is_paced


def _wait_seconds(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, RetryableError) else None
    jittered: float = _BACK_OFF(state)
    # Jitter on top of what the store asked for, so that everybody who was turned away does not return at once.
    return jittered if asked is None else min(asked, _MAX_RETRY_AFTER_SECONDS) + jittered
