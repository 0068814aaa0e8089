"""Looks whether a queue has work, for whoever waits for that: a sensor in a task, or a trigger.

Looking consumes nothing and hides nothing. It works in a task and in the triggerer, where nothing may block the event
loop: the connection is looked up, and AWS's client imported, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from skyferry.attempts import Attempts

if TYPE_CHECKING:
    from airflow_bridge.sqs_access import SqsAccess
    from skyferry.detect.sqs_queue import QueueState, SqsQueue


@asynccontextmanager
async def watched_queue(queue_url: str, conn_id: str) -> AsyncIterator[SqsQueue]:
    """Yield a queue that is to be looked at more than once.

    Raises:
        ConnectionConfigError: The connection does not exist, or cannot be used for a queue.
    """
    access = await asyncio.to_thread(_access, queue_url, conn_id)
    async with access.open() as queue:
        yield queue


async def look_at_queue(queue_url: str, conn_id: str) -> QueueState:
    """Return how much waits in a queue (one request); tries again for a while when it does not answer properly.

    Raises:
        TransferError: The queue cannot be looked at; its class says whether to try again.
    """
    async with watched_queue(queue_url, conn_id) as queue:
        return await Attempts().call(queue.state)


def _access(queue_url: str, conn_id: str) -> SqsAccess:
    from airflow_bridge.sqs_access import SqsAccess

    return SqsAccess(queue_url, conn_id=conn_id)
