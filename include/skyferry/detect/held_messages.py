"""Keeping messages hidden while they are worked on, and giving them back when they are not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TypeVar

from skyferry.detect.sqs_queue import MAX_BATCH, MAX_VISIBILITY_SECONDS, QueueMessage, SqsQueue
from skyferry.errors import TransferError

_GIVE_BACK_SECONDS = 5.0
"""How long a consumer that is stopped takes to give messages back; after that they come back by themselves."""

_Item = TypeVar("_Item")


class HeldMessages:
    """The messages a consumer has received and not yet let go.

    Args:
        visibility_seconds: What they were received with; renewed after each third of it, so that two renewals in a row
            may fail. A renewal that fails costs nothing worse than that somebody else does the same work again.
    """

    def __init__(self, queue: SqsQueue, *, visibility_seconds: int) -> None:
        self._queue = queue
        self._visibility_seconds = visibility_seconds
        # By receipt: a standard queue may hand out one message twice at a time.
        self._held: dict[str, tuple[QueueMessage, float]] = {}
        self.renewals_failed = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, messages: Sequence[QueueMessage]) -> None:
        """Hold messages that were just received."""
        now = time.monotonic()
        self._held.update({message.receipt_handle: (message, now) for message in messages})

    def let_go(self, messages: Sequence[QueueMessage]) -> None:
        """Renew these no longer; to be called before they are deleted or given back."""
        for message in messages:
            self._held.pop(message.receipt_handle, None)

    async def renew_for_ever(self) -> None:
        """Renew what is held, until cancelled."""
        while True:
            await asyncio.sleep(self._visibility_seconds / 3)
            # Nothing is held beyond twelve hours, whatever is asked for.
            oldest = time.monotonic() - (MAX_VISIBILITY_SECONDS - self._visibility_seconds)
            messages = [message for message, since in self._held.values() if since > oldest]
            for group in in_groups(messages):
                await self._renew(group)

    async def _renew(self, messages: Sequence[QueueMessage]) -> None:
        still_held = [message for message in messages if message.receipt_handle in self._held]
        if not still_held:
            return
        try:
            self.renewals_failed += len(await self._queue.set_visibility(still_held, self._visibility_seconds))
        except TransferError:
            self.renewals_failed += len(still_held)

    async def give_all_back(self) -> None:
        """Let everything go, so that others see it at once; takes a few seconds at most, and never raises."""
        messages = [message for message, _ in self._held.values()]
        self._held.clear()
        with contextlib.suppress(TimeoutError, TransferError):
            async with asyncio.timeout(_GIVE_BACK_SECONDS):
                for group in in_groups(messages):
                    await self._queue.set_visibility(group, 0)


def in_groups(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    """Return the items in groups of as many as one request takes."""
    return [items[start : start + MAX_BATCH] for start in range(0, len(items), MAX_BATCH)]
