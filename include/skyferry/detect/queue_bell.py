"""When to ring for the work of a queue: soon, not for ever while nobody can do it, and again when a ring was lost.

A ring is not the work, which stays in the queue, and one ring too many costs a run that finds nothing. So the bell goes
by what the queue holds now, not by what was rung for:

| messages wait, and | ring |
|---|---|
| none did at the look before | at once |
| nobody holds any | 5 s after the last ring, then 10 s, 20 s, ... 60 s, until somebody does |
| somebody is at work | 60 s after the last ring |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyferry.detect.sqs_queue import QueueState

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class QueueBell:
    """Decides after each look at a queue whether to ring; forgets everything when its process ends, and then rings."""

    _waited_before: bool = False
    _last_ring_seconds: float = float("-inf")
    _pause_seconds: float = FIRST_PAUSE_SECONDS

    def rings(self, state: QueueState, *, now_seconds: float) -> bool:
        """Tell whether to ring for what a look saw.

        Args:
            now_seconds: Of a clock that never goes back.
        """
        is_new = bool(state.waiting) and not self._waited_before
        self._waited_before = bool(state.waiting)
        if is_new or not state.waiting or state.in_flight:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        pause = LONGEST_PAUSE_SECONDS if state.in_flight else self._pause_seconds
        if not state.waiting or not (is_new or now_seconds - self._last_ring_seconds >= pause):
            return False
        if not is_new:
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        self._last_ring_seconds = now_seconds
        return True
