"""The brake on mirrored deletions: all consumers of a run together delete no more than the route allows.

What may be deleted is handed out in blocks. A consumer takes one by creating a record that nobody else can create, so
no count has to be shared, and a consumer that is killed takes at most the rest of its block along.
"""

from __future__ import annotations

import asyncio
import secrets

from skyferry.state import StateFolder

_BLOCKS = 100
"""Into so many blocks the allowance is cut; so the brake acts at most one per cent early for each consumer."""


class DeletionBrake:
    """Counts the deletions of one route in one run.

    Args:
        folder: Folder of the run's records for the blocks that were taken, e.g. `queue/deletes/orders/`.
        max_deletes: The allowance of the whole run.
    """

    def __init__(self, state: StateFolder, folder: str, *, max_deletes: int) -> None:
        self._state = state
        self._folder = folder
        self._max_deletes = max_deletes
        self._block = max(-(-max_deletes // _BLOCKS), 1)
        self._next = 0
        self._left = 0
        self._lock = asyncio.Lock()

    async def admit(self) -> bool:
        """Return whether one more object may be deleted; it counts from now on.

        Costs one request for each block.
        """
        async with self._lock:
            while not self._left:
                size = min(self._block, self._max_deletes - self._next * self._block)
                if size <= 0:
                    return False
                if await self._take(self._next):
                    self._left += size  # meanwhile one may have been given back
                self._next += 1
            self._left -= 1
            return True

    def give_back(self) -> None:
        """Take back what `admit` counted: nothing was deleted after all."""
        self._left += 1

    async def _take(self, number: int) -> bool:
        name = f"{self._folder}{number:05d}.ndjson"
        return await self._state.claim(name, {"block": number, "objects": self._block, "by": secrets.token_hex(8)})
