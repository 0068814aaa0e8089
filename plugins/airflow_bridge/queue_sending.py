"""Sends one message to a queue with the credentials of an `aws` connection."""

from __future__ import annotations

import asyncio

from airflow.providers.amazon.aws.hooks.sqs import SqsHook

from airflow_bridge.aws_clients import AwsClients
from airflow_bridge.transfer_connections import find_connection_of_type
from skyferry.attempts import Attempts
from skyferry.errors import PermanentError, RetryableError
from skyferry.notify.outgoing_queue import OutgoingQueue


def send_to_queue(queue_url: str, *, conn_id: str, named_by: str, body: str) -> None:
    """Send one message, at least once; blocks.

    Args:
        named_by: What names the queue, for errors.

    Raises:
        TransferError: The connection, the queue or the message is not as it must be, or the queue did not answer.
    """
    connection = find_connection_of_type(conn_id, expected="aws", named_by=named_by, known=())
    clients = AwsClients(connection, SqsHook, max_requests=1)

    async def send() -> None:
        async with clients.open(service="SQS", place=queue_url) as client:
            queue = OutgoingQueue(client, queue_url)
            await Attempts().call(lambda: _send(queue, body))

    asyncio.run(send())


async def _send(queue: OutgoingQueue, body: str) -> None:
    refusal = (await queue.send([body])).get(0)
    if refusal is None:
        return
    text = f"sending a message to {queue.url} failed: the queue refused it ({refusal.code})"
    if refusal.is_final:
        raise PermanentError(text, hint="see the queue's policy and limits")
    raise RetryableError(text)
