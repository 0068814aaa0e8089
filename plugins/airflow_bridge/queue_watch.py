"""Looks whether a queue has work, for whoever waits for that: a sensor in a task, or a trigger."""

from __future__ import annotations

import asyncio

from airflow_bridge.sqs_access import SqsAccess
from skyferry.attempts import Attempts
from skyferry.detect.sqs_queue import QueueState


async def look_at_queue(queue_url: str, conn_id: str) -> QueueState:
    """Return how much waits in a queue; consumes nothing and hides nothing (one request, free of side effects).

    Works in a task and in the triggerer, where nothing may block the event loop: the connection is looked up in a
    thread. Tries again for a while when the queue does not answer properly.

    Raises:
        TransferError: The queue cannot be looked at; its class says whether to try again.
    """
    access = await asyncio.to_thread(SqsAccess, queue_url, conn_id=conn_id)
    async with access.open() as queue:
        return await Attempts().call(queue.state)
