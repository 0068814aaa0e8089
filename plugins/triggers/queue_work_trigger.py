"""Waits in the triggerer until a queue has work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_bridge.queue_watch import look_at_queue
from skyferry.errors import TransferError


class QueueWorkTrigger(BaseTrigger):
    """Looks at a queue again and again; fires once, when messages wait or a look fails for good.

    The event is a doorbell: the sensor that deferred looks for itself, so a lost or doubled event costs nothing. It
    receives nothing and holds nothing open between looks, so there is nothing to clean up when it is cancelled.

    Args:
        queue_url: URL of the queue.
        conn_id: Id of the Airflow connection.
        poke_interval: Seconds between two looks.
    """

    def __init__(self, *, queue_url: str, conn_id: str, poke_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue_url = queue_url
        self.conn_id = conn_id
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew."""
        arguments = {"queue_url": self.queue_url, "conn_id": self.conn_id, "poke_interval": self.poke_interval}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: with nothing in it, or with an error's text."""
        try:
            state = await look_at_queue(self.queue_url, self.conn_id)
            while not state.waiting:
                await asyncio.sleep(self.poke_interval)
                state = await look_at_queue(self.queue_url, self.conn_id)
        except TransferError as error:
            self.log.warning("the sensor looks for itself now: %s", error)
            yield TriggerEvent({"error": str(error)})  # type: ignore[no-untyped-call]
            return
        yield TriggerEvent({"error": ""})  # type: ignore[no-untyped-call]
