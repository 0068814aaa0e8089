"""Opens the queue that a transfer tells of what has arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow.providers.amazon.aws.hooks.sqs import SqsHook

from airflow_bridge.aws_clients import AwsClients
from airflow_bridge.transfer_connections import find_connection_of_type
from skyferry.handover import Notify
from skyferry.notify.notifier import Notifier
from skyferry.notify.outgoing_queue import OutgoingQueue
from skyferry.notify.queue_notifier import QueueNotifier

_REQUESTS_IN_FLIGHT = 2


class NotifierAccess:
    """One queue behind one connection; see `AwsClients`.

    Make it outside the event loop: it asks Airflow for the connection.

    Raises:
        ConnectionConfigError: The connection does not exist, or is of the wrong type.
    """

    def __init__(self, notify: Notify, *, conn_id: str) -> None:
        self._notify = notify
        connection = find_connection_of_type(
            conn_id, expected="aws", named_by=f"destination.notify {notify.queue_url}", known=()
        )
        self._clients = AwsClients(connection, SqsHook, max_requests=_REQUESTS_IN_FLIGHT)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Notifier]:
        """Yield the notifier; nothing is requested of the queue yet. A `skyferry.notify.notifier.NotifierOpener`."""
        notify = self._notify
        async with self._clients.open(service="SQS", place=notify.queue_url) as client:
            queue = OutgoingQueue(client, notify.queue_url)
            yield QueueNotifier(queue, shape=notify.shape, creates_queue=notify.create_queue)
