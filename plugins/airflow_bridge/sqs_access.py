"""Opens SQS queues with the credentials, endpoint and settings of an `aws` connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow.providers.amazon.aws.hooks.sqs import SqsHook

from airflow_bridge.aws_clients import AwsClients
from airflow_bridge.transfer_connections import find_connection_of_type
from skyferry.detect.sqs_queue import SqsQueue

_REQUESTS_IN_FLIGHT = 16
"""A consumer receives, renews, returns and deletes at the same time; each is one request for up to ten messages."""


class SqsAccess:
    """One queue behind one connection; see `AwsClients`.

    Make it outside the event loop: it asks Airflow for the connection.

    Raises:
        ConnectionConfigError: The connection does not exist, or is of the wrong type.
    """

    def __init__(self, queue_url: str, *, conn_id: str) -> None:
        self._queue_url = queue_url
        connection = find_connection_of_type(conn_id, expected="aws", named_by=f"queue {queue_url}", known=())
        self._clients = AwsClients(connection, SqsHook, max_requests=_REQUESTS_IN_FLIGHT)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqsQueue]:
        """Yield the queue; nothing is requested of it yet. A `skyferry.queue_stages.QueueOpener`.

        Raises:
            ConnectionConfigError: The connection's credentials cannot be had; its fields must be put right.
            RequestError: The queue is one of a kind that cannot be consumed.
        """
        async with self._clients.open(service="SQS", place=self._queue_url) as client:
            yield SqsQueue(client, self._queue_url)
