"""Rings an asset while a queue has work, so that the DAG that consumes the queue runs by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_bridge.queue_watch import watched_queue
from skyferry.attempts import Attempts
from skyferry.detect.queue_bell import QueueBell
from skyferry.errors import TransferError

_ERROR_DELAY_SECONDS = 30.0
_REOPEN_SECONDS = 600.0
"""After this time the connection is looked up anew, which may have been changed."""


class QueueEventsTrigger(BaseEventTrigger):
    """Looks at a queue for ever and takes nothing; yields at most one event for each look.

    For an `AssetWatcher`. When it rings is decided by what the queue holds (`skyferry.detect.queue_bell`), so a ring
    that Airflow loses is repeated, and a restart of the triggerer forgets nothing. The event holds numbers only.

    A queue that cannot be looked at is looked at again, after half a minute or the poll time if that is longer.

    Args:
        queue_url: URL of the queue.
        conn_id: Id of the Airflow connection; it needs sqs:GetQueueAttributes.
        poll_seconds: Between two looks, one request each.
    """

    def __init__(self, *, queue_url: str, conn_id: str, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue_url = queue_url
        self.conn_id = conn_id
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew."""
        arguments = {"queue_url": self.queue_url, "conn_id": self.conn_id, "poll_seconds": self.poll_seconds}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event whenever there is work for which nobody was rung yet; ends never."""
        bell = QueueBell()
        while True:
            try:
                async with watched_queue(self.queue_url, self.conn_id) as queue:
                    reopen_at = time.monotonic() + _REOPEN_SECONDS
                    while time.monotonic() < reopen_at:
                        state = await Attempts().call(queue.state)
                        if bell.rings(state, now_seconds=time.monotonic()):
                            counts = {"waiting": state.waiting, "in_flight": state.in_flight}
                            yield TriggerEvent(counts)  # type: ignore[no-untyped-call]
                        await asyncio.sleep(self.poll_seconds)
            except TransferError as error:
                self.log.warning("looking again later: %s", error)
                await asyncio.sleep(max(self.poll_seconds, _ERROR_DELAY_SECONDS))
