"""How many requests a second a store takes: what somebody allows, and what the store's refusals have taught.

A refusal says that the store takes no more than it has just taken. So requests go on a little below that, come close to
it, feel their way a little beyond, and once that is taken for a while, grow until the next refusal.
"""

from __future__ import annotations

import math
from collections import deque

MAX_RETRY_AFTER_SECONDS = 60.0
"""A store that asks for a longer rest is asked again after this time."""

_LEAST_PER_SECOND = 1.0
"""However much a store refuses, it is asked this often, to find out when it takes requests again."""

_AFTER_REFUSAL = 0.9
"""Share of what the store took with which requests go on after a refusal."""

_AFTER_EARLY_REFUSAL = 0.8

_BEYOND = 1.05
"""Share of what the store took at which it counts as taking more than it did."""

_GROWTH_PER_SECOND = 1.5

# A limit that was met twice at about the same rate is there to stay, so it is not run into as often.
_FIRST_APPROACH_SECONDS = 5.0
_LONGEST_APPROACH_SECONDS = 20.0
_SAME_LIMIT = 0.1

# What the store takes is counted over the time since it was last asked again, within these bounds.
_SHORTEST_COUNT_SECONDS = 0.2
_LONGEST_COUNT_SECONDS = 5.0
_COUNT_WHILE_GROWING_SECONDS = 1.0

_SLACK_SECONDS = 0.005
"""How much earlier than its turn a request may begin, so that timers need not be exact."""

_FORGOTTEN_AT = 100.0
"""A limit is forgotten once the rate has grown to so many times what it was."""


class RequestRate:
    """Spreads requests evenly at a rate that follows what a store accepts and refuses.

    Costs no timer and no task; it is told the time with every call (seconds of any clock that only goes forward).

    Args:
        max_per_second: Never faster than this; None for no such bound.
    """

    def __init__(self, *, max_per_second: float | None = None) -> None:
        self._max_per_second = max_per_second
        self._next_at = 0.0
        self._accepted_at: deque[float] = deque()
        self._limit: float | None = None
        self._begun_at: float | None = None
        self._refused_at = 0.0
        self._resting_until = 0.0
        self._approach_seconds = _FIRST_APPROACH_SECONDS

    def wait_seconds(self, now: float) -> float:
        """Return how long the next request has to wait; 0 or less when it may begin."""
        return max(self._resting_until, self._next_at - _SLACK_SECONDS) - now

    def begin(self, now: float) -> None:
        """Note that a request begins."""
        if self._begun_at is None:
            self._begun_at = self._refused_at = self._resting_until = now
        per_second = self.per_second(now)
        if per_second is not None:
            self._next_at = max(self._next_at, now) + 1 / per_second

    def per_second(self, now: float) -> float | None:
        """Return the present rate; None when nothing bounds it."""
        learned = self._learned(now)
        if learned is None or self._max_per_second is None:
            return learned or self._max_per_second
        return min(learned, self._max_per_second)

    def accepted(self, now: float) -> None:
        """Note that the store did what it was asked for."""
        times = self._accepted_at
        times.append(now)
        while times[0] < now - _LONGEST_COUNT_SECONDS:
            times.popleft()

    def refused(self, now: float, *, began_at: float, retry_after_seconds: float | None) -> bool:
        """Note that the store asked for fewer requests; return whether that is news.

        Requests that were on their way when the store refused the last one were sent at the old rate: they say nothing
        about the new one.
        """
        is_news = self._limit is None or began_at >= self._refused_at
        if is_news:
            self._limit, self._approach_seconds = self._learn(now)
            self._refused_at = now
            self._next_at = max(self._next_at, now + _SLACK_SECONDS + 1 / self._limit)
        if retry_after_seconds:
            self._resting_until = max(self._resting_until, now + min(retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
        return is_news

    def _learn(self, now: float) -> tuple[float, float]:
        """Return what the store takes a second, and how slowly to come close to it again."""
        present = self._learned(now) or 0.0
        rested_seconds = max(self._resting_until - self._refused_at, 0.0)
        if now - self._resumed_at < 3 * rested_seconds:
            # What the store took may be what it had saved up for while it was left alone, or not; nobody tells.
            least = present * _AFTER_EARLY_REFUSAL
        else:
            rested_seconds, least = 0.0, present / 2  # a count over a short time is not exact
        limit = max(self._taken_per_second(now, rested_seconds=rested_seconds), least, _LEAST_PER_SECOND)
        if self._limit is not None and abs(limit / self._limit - 1) < _SAME_LIMIT:
            return limit, min(self._approach_seconds * 2, _LONGEST_APPROACH_SECONDS)
        return limit, _FIRST_APPROACH_SECONDS

    def _taken_per_second(self, now: float, *, rested_seconds: float) -> float:
        longest = _COUNT_WHILE_GROWING_SECONDS if self._is_growing(now) else _LONGEST_COUNT_SECONDS
        seconds = min(max(now - self._resumed_at, _SHORTEST_COUNT_SECONDS), longest)
        return sum(time > now - seconds for time in self._accepted_at) / (seconds + rested_seconds)

    @property
    def _resumed_at(self) -> float:
        return max(self._refused_at, self._resting_until)

    def _is_growing(self, now: float) -> bool:
        return self._limit is None or now - self._resumed_at > 1.5 * self._approach_seconds

    def _learned(self, now: float) -> float | None:
        """Return the rate the store is believed to take:

        | time since the refusal   | share of what the store took |
        |--------------------------|------------------------------|
        | up to `approach_seconds` | 0.9 to 1, fast and then slow |
        | up to half as long again | 1 to 1.05                    |
        | later                    | half as much again a second  |
        """
        if self._limit is None:
            return None
        done = max(now - self._resumed_at, 0.0) / self._approach_seconds
        if done < 1:
            return self._limit * (1 - (1 - _AFTER_REFUSAL) * (1 - done) ** 3)
        if done < 1.5:
            return self._limit * (1 + (_BEYOND - 1) * 2 * (done - 1))
        growing_seconds = (done - 1.5) * self._approach_seconds
        growth = _BEYOND * math.pow(_GROWTH_PER_SECOND, min(growing_seconds, 60.0))
        if growth > _FORGOTTEN_AT:
            self._limit = None
            return None
        return self._limit * growth
