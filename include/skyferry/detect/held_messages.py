"""Keeping messages hidden while they are worked on, and giving them back when they are not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TypeVar

from skyferry.attempts import Attempts
from skyferry.detect.sqs_queue import MAX_BATCH, MAX_VISIBILITY_SECONDS, QueueMessage, SqsQueue
from skyferry.errors import TransferError

_GIVE_BACK_SECONDS = 5.0
"""How long a consumer that is stopped takes to give messages back; after that they come back by themselves."""

_LEAST_RENEWAL_SECONDS = 2.0
"""So long a renewal may take even where the visibility is shorter than anybody would make it."""

_Item = TypeVar("_Item")


class HeldMessages:
    """The messages a consumer has received and not yet let go.

    Args:
        visibility_seconds: What they were received with; renewed after each quarter of it, so that two renewals in a
            row may fail. A renewal that fails costs nothing worse than that somebody else does the same work again.
    """

    def __init__(self, queue: SqsQueue, *, visibility_seconds: int) -> None:
        self._queue = queue
        self._visibility_seconds = visibility_seconds
        # By receipt: a standard queue may hand out one message twice at a time.
        self._held: dict[str, tuple[QueueMessage, float]] = {}
        self._renewing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, messages: Sequence[QueueMessage]) -> None:
        """Hold messages that were just received."""
        now = time.monotonic()
        self._held.update({message.receipt_handle: (message, now) for message in messages})

    def let_go(self, messages: Sequence[QueueMessage]) -> None:
        """Renew these no longer; to be called before they are deleted."""
        for message in messages:
            self._held.pop(message.receipt_handle, None)

    async def give_back(self, message: QueueMessage, *, hidden_seconds: int) -> None:
        """Let a message go, so that others see it after this time.

        Raises:
            TransferError: The queue cannot be used; the message comes back when its visibility ends.
        """
        self.let_go([message])
        async with self._renewing:
            pass  # a renewal under way, answered later, would take the place of the time given here
        await Attempts().call(lambda: self._queue.set_visibility([message], hidden_seconds))

    async def renew_for_ever(self) -> None:
        """Renew what is held, until cancelled."""
        period_seconds = self._visibility_seconds / 4
        timeout_seconds = max(period_seconds, _LEAST_RENEWAL_SECONDS)
        while True:
            # A request that hangs costs neither the other messages nor the next renewal their time.
            await asyncio.gather(asyncio.sleep(period_seconds), self._renew_all(timeout_seconds))

    async def _renew_all(self, timeout_seconds: float) -> None:
        async with self._renewing:
            # Nothing is held beyond twelve hours, whatever is asked for.
            oldest = time.monotonic() - (MAX_VISIBILITY_SECONDS - self._visibility_seconds)
            messages = [message for message, since in self._held.values() if since > oldest]
            await asyncio.gather(*(self._renew(group, timeout_seconds) for group in in_groups(messages)))

    async def _renew(self, messages: Sequence[QueueMessage], timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError, TransferError):
            async with asyncio.timeout(timeout_seconds):
                await self._queue.set_visibility(messages, self._visibility_seconds)

    async def give_all_back(self) -> None:
        """Let everything go, so that others see it at once; takes a few seconds at most, and never raises."""
        messages = [message for message, _ in self._held.values()]
        self._held.clear()
        await asyncio.gather(*(self._show(group) for group in in_groups(messages)))

    async def _show(self, messages: Sequence[QueueMessage]) -> None:
        with contextlib.suppress(TimeoutError, TransferError):
            async with asyncio.timeout(_GIVE_BACK_SECONDS):
                await self._queue.set_visibility(messages, 0)


def in_groups(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    """Return the items in groups of as many as one request takes."""
    return [items[start : start + MAX_BATCH] for start in range(0, len(items), MAX_BATCH)]
