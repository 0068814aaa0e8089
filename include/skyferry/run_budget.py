"""How much one run copies at most: objects, bytes and seconds. What is beyond that is left for the next run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from skyferry.request import TransferRequest

BUDGET = "budget"
"""Why an object was skipped that a later run will copy."""

BudgetReached = Literal["", "objects", "bytes", "seconds"]
"""Which budget a run has reached; the words are those of a queue's consumer (`skyferry.detect.consumption`)."""


class PlanBudget:
    """Tells which objects still fit into the budgets of a run, one after the other.

    The first object always fits, or one that is larger than `max_bytes` would never be copied. Once one does not fit,
    none does: what is left is what comes last in the order of the run.
    """

    def __init__(self, request: TransferRequest) -> None:
        self._max_objects = request.max_objects
        self._max_bytes = request.max_bytes
        self._objects = 0
        self._bytes = 0
        self.reached: BudgetReached = ""

    def spend(self, objects: int, size_bytes: int) -> None:
        """Count what an earlier plan of this run has copied already."""
        self._objects += objects
        self._bytes += size_bytes

    def takes(self, size_bytes: int) -> bool:
        """Return whether an object is to be copied in this run, and count it if so."""
        if not self.reached and self._objects:
            if self._max_objects is not None and self._objects >= self._max_objects:
                self.reached = "objects"
            elif self._max_bytes is not None and self._bytes + size_bytes > self._max_bytes:
                self.reached = "bytes"
        if self.reached:
            return False
        self._objects += 1
        self._bytes += size_bytes
        return True


def deadline_of(request: TransferRequest, started_at: str) -> datetime | None:
    """Return when a run begins no more objects; None when it may take as long as it needs.

    Args:
        started_at: When the run began: ISO 8601, with time zone.
    """
    if request.max_seconds is None:
        return None
    return datetime.fromisoformat(started_at) + timedelta(seconds=request.max_seconds)


def is_over(deadline: datetime | None) -> bool:
    """Tell whether no more objects may be begun."""
    return deadline is not None and datetime.now(UTC) >= deadline
