"""Waits in the triggerer until a queue has work, or the time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_bridge.queue_watch import look_at_queue
from skyferry.errors import TransferError


class QueueWorkTrigger(BaseTrigger):
    """Looks at a queue again and again; fires once: when messages wait, a look fails for good, or the time is up.

    The event is a doorbell: the sensor that deferred looks for itself, so a lost or doubled event costs nothing. It
    receives nothing and holds nothing open between looks, so there is nothing to clean up when it is cancelled.

    Args:
        queue_url: URL of the queue.
        conn_id: Id of the Airflow connection.
        poke_interval: Seconds between two looks.
        ends_at: When the time is up, in seconds since 1970. The sensor decides what that means: Airflow's own timeout
            of a deferral would fail a task that is to be skipped.
    """

    def __init__(self, *, queue_url: str, conn_id: str, poke_interval: float, ends_at: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue_url = queue_url
        self.conn_id = conn_id
        self.poke_interval = poke_interval
        self.ends_at = ends_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew."""
        arguments = {
            "queue_url": self.queue_url,
            "conn_id": self.conn_id,
            "poke_interval": self.poke_interval,
            "ends_at": self.ends_at,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: when the time is up, and the text of an error if there was one."""
        try:
            while (left_seconds := self.ends_at - time.time()) > 0:
                if (await look_at_queue(self.queue_url, self.conn_id)).waiting:
                    break
                await asyncio.sleep(min(self.poke_interval, left_seconds))
        except TransferError as error:
            self.log.warning("the sensor looks for itself now: %s", error)
            yield TriggerEvent({"error": str(error), "ends_at": self.ends_at})  # type: ignore[no-untyped-call]
            return
        yield TriggerEvent({"error": "", "ends_at": self.ends_at})  # type: ignore[no-untyped-call]
