"""The stage of a transfer that is fed by a queue, in the place of plan and copy: a function from a request to receipts.

    consume_queue (any number, in parallel, on any machine)

It may be run again at any time: what was copied is found at the destination, and what was not is still in the queue.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from skyferry.detect.consumption import ConsumeOptions, Consumption
from skyferry.detect.queue_consumer import QueueConsumer
from skyferry.detect.sqs_queue import SqsQueue
from skyferry.errors import RequestError
from skyferry.request import TransferRequest
from skyferry.stages import open_state, prepare_destination
from skyferry.state import Run, StoreOpener
from skyferry.urls import Location

RECEIPTS_FOLDER = "queue/receipts/"


class QueueOpener(Protocol):
    """Opens a queue with the credentials of a connection; the Airflow bridge supplies one."""

    def __call__(self) -> AbstractAsyncContextManager[SqsQueue]:
        """Return a context that yields the queue and closes its client."""


async def consume_queue(
    request: TransferRequest,
    options: ConsumeOptions,
    *,
    slot: int,
    open_queue: QueueOpener,
    run: Run,
    attempt: int,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
) -> Consumption:
    """Copy what the messages of a queue tell of, until the queue is empty or a budget is spent.

    Every message ends in one of four ways: deleted after the receipts of its objects are on record; back in the queue;
    in its dead-letter queue; in quarantine below the state folder. Look at `Consumption.raise_if_failed`.

    Costs for each ten small objects: one request to receive and one to delete, one record of receipts; for each object
    a look at source and destination and the copy itself. Memory: see `QueueConsumer`.

    Args:
        slot: Number of this consumer among those of the run, from 0.
        attempt: The task's attempt, from 1.

    Raises:
        RequestError: The source is not S3, or the request is a dry run: a queue cannot be read without consequences.
        TransferError: The queue, a bucket or the state folder cannot be used; nothing was lost.
    """
    if request.source_location.kind != "s3":
        raise RequestError(f"source is {request.source}; expected an s3:// URL, since the queue tells of objects in S3")
    if request.dry_run:
        raise RequestError("dry_run is set, but a queue cannot be read without consequences", hint="leave it out")
    async with (
        open_state(open_store, state, state_conn_id, run) as records,
        open_store(request.source_location, request.source_conn_id) as source,
        open_store(request.destination_location, request.destination_conn_id) as destination,
        open_queue() as queue,
    ):
        await source.check_bucket()
        await prepare_destination(destination, request)
        consumer = QueueConsumer(
            queue,
            request=request,
            options=options,
            source=source,
            destination=destination,
            state=records,
            records=f"{RECEIPTS_FOLDER}{slot:05d}/try-{attempt:02d}",
            attempt=attempt,
        )
        return await consumer.consume()
