"""How many requests to one store are under way at once: few at first, more while that makes them no slower."""

from __future__ import annotations

FIRST_REQUESTS = 16
"""Requests under way before anything is known about a store."""

_LEAST_REQUESTS = 2
_SLOWER = 2.0
"""Answers that take on average this many times as long as in the best round mean that more requests would only queue.
Between two rounds of a store that is not overloaded, averages differ by less."""

_LEAST_ANSWERS = 8
"""An average over fewer answers says nothing."""

_FORGETTING = 1.001
"""By how much the best round is forgotten with each round: a route that has become slower is no reason to stop growing
for good."""


class RequestWindow:
    """Grows as TCP's does: twice as many after each round until the store first asks for less, then half of it, and
    from there one more after each round. A round is as many answers as requests fit; only a full one counts.

    Args:
        most: Never more than this.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self.size = min(FIRST_REQUESTS, most)
        self._doubles_below = most
        self._best_seconds: dict[object, float] = {}
        self._begin_round()

    def begin(self, in_flight: int) -> None:
        """Note that a request begins, with which so many are under way."""
        if in_flight >= self.size:
            self._was_full = True

    def answered(self, kind: object, seconds: float) -> None:
        """Take in how long an answer took.

        Args:
            kind: Only answers of one kind are compared with each other.
        """
        total = self._seconds.get(kind)
        if total is None:
            self._seconds[kind] = [1, seconds]
        else:
            total[0] += 1
            total[1] += seconds
        self._answers += 1
        if self._answers >= self.size:
            slowness = self._slowness()
            if self._was_full and slowness <= _SLOWER:
                larger = self.size * 2 if self.size < self._doubles_below else self.size + 1
                self.size = min(larger, self._most)
            self._begin_round()

    def refused(self) -> None:
        """Take in that the store asked for fewer requests."""
        self.size = max(self.size // 2, min(_LEAST_REQUESTS, self._most))
        self._doubles_below = self.size
        self._begin_round()

    def _slowness(self) -> float:
        """Return how many times as long as in the best round answers took in this one, over all kinds."""
        answers, slowness = 0.0, 0.0
        for kind, (count, seconds) in self._seconds.items():
            if count < _LEAST_ANSWERS:
                continue
            average = seconds / count
            best = min(self._best_seconds.get(kind, average) * _FORGETTING, average)
            self._best_seconds[kind] = best
            answers += count
            slowness += count * (average / best if best else 1.0)
        return slowness / answers if answers else 1.0

    def _begin_round(self) -> None:
        self._answers, self._was_full = 0, False
        self._seconds: dict[object, list[float]] = {}
