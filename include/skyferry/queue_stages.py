"""The stages of a transfer that is fed by a queue: functions from the queue's routes to records, and to their report.

    consume_queue (any number, in parallel, on any machine) -> report_consumption

Each may be run again at any time: what was copied is found at the destination, what was not is still in the queue, and
the report counts each object once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from skyferry.attempts import Attempts
from skyferry.batch_copy import MEMORY_BUDGET_BYTES
from skyferry.byte_budget import ByteBudget
from skyferry.detect.consumption import ConsumeOptions, Consumption
from skyferry.detect.deletion_brake import DeletionBrake
from skyferry.detect.queue_consumer import QueueConsumer
from skyferry.detect.queue_route import QueueRoute
from skyferry.detect.route_worker import RouteWorker
from skyferry.detect.sqs_queue import SqsQueue
from skyferry.errors import RequestError
from skyferry.paced_store import paced_stores
from skyferry.queue_report import ConsumptionReport, QueueRecords, QueueTotals
from skyferry.receipts_index.indexing import Indexing
from skyferry.stages import open_state, prepare_destination, upload_records
from skyferry.state import Run, StateFolder, StoreOpener
from skyferry.urls import Location

__all__ = ["ConsumptionReport", "QueueOpener", "QueueRoute", "consume_queue", "report_consumption"]


class QueueOpener(Protocol):
    """Opens a queue with the credentials of a connection; the Airflow bridge supplies one."""

    def __call__(self) -> AbstractAsyncContextManager[SqsQueue]:
        """Return a context that yields the queue and closes its client."""


async def consume_queue(
    routes: Sequence[QueueRoute],
    options: ConsumeOptions,
    *,
    slot: int,
    open_queue: QueueOpener,
    run: Run,
    attempt: int,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    consumers: int = 1,
) -> Consumption:
    """Do for each route what the messages of a queue tell of, until the queue is empty or a budget is spent.

    Every message ends in one of four ways: deleted after the receipts of its objects are on record, for every route it
    concerns; back in the queue; in its dead-letter queue; in quarantine below the state folder. Look at
    `Consumption.raise_if_failed`.

    Costs for each ten small objects: one request to receive and one to delete, and for each route one record of
    receipts, and for each object a look at source and destination and the copy itself. Memory: see `QueueConsumer`.

    Args:
        routes: All routes that are fed by the queue, at least one, each with an id of its own.
        slot: Number of this consumer among those of the run, from 0.
        attempt: The task's attempt, from 1.
        consumers: How many consumers the run has; the caps of each route are divided by it.

    Raises:
        RequestError: There is no route, or two have one id.
        TransferError: The queue, a bucket or the state folder cannot be used; nothing was lost.
    """
    _check_ids(routes)
    records = QueueRecords(slot=slot, attempt=attempt)
    async with AsyncExitStack() as stack:
        state_folder = await stack.enter_async_context(open_state(open_store, state, state_conn_id, run))
        await state_folder.write(records.begun, [{"slot": slot, "attempt": attempt}])
        queue = await stack.enter_async_context(open_queue())
        if options.create_queue:
            await Attempts().call(queue.create_if_missing)
        content = ByteBudget(MEMORY_BUDGET_BYTES)
        workers = [
            await _open_worker(
                route,
                stack,
                paced_stores(open_store, route.request, share=1 / consumers),
                run=run,
                state=state_folder,
                records=records,
                content=content,
            )
            for route in routes
        ]
        consumer = QueueConsumer(
            queue,
            workers=workers,
            options=options,
            state=state_folder,
            max_messages_in_flight=max(route.request.max_objects_in_flight for route in routes),
        )
        result = await consumer.consume()
        await state_folder.write(records.consumed, [result.to_record()])
        return result


def _check_ids(routes: Sequence[QueueRoute]) -> None:
    ids = [route.id for route in routes]
    if not ids:
        raise RequestError("no route names the queue", hint="nothing was received")
    if len(set(ids)) < len(ids):
        raise RequestError(f"two routes of the queue have one id: {', '.join(sorted(ids))}")


async def _open_worker(
    route: QueueRoute,
    stack: AsyncExitStack,
    open_store: StoreOpener,
    *,
    run: Run,
    state: StateFolder,
    records: QueueRecords,
    content: ByteBudget,
) -> RouteWorker:
    request = route.request
    source = await stack.enter_async_context(open_store(request.source_location, request.source_conn_id))
    destination = await stack.enter_async_context(open_store(request.destination_location, request.destination_conn_id))
    await Attempts().call(source.check_bucket)
    await prepare_destination(destination, request)
    return RouteWorker(
        route,
        source=source,
        destination=destination,
        state=state,
        records=records.receipts(route.id),
        attempt=records.attempt,
        content=content,
        brake=DeletionBrake(state, records.deletes(route.id), max_deletes=route.max_deletes),
        uploads=upload_records(state, run, request),
    )


async def report_consumption(
    routes: Sequence[QueueRoute],
    *,
    run: Run,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    consumers: int = 0,
    indexing: Indexing | None = None,
) -> ConsumptionReport:
    """Add up what the consumers of a run did, over all routes and for each, and keep the report beside the receipts.

    It is a success when every consumer has left a record of its work, and no object was refused or failed in the end,
    or kept by the brake on deletions. Messages that were only unreadable, or that no route names, do not make it fail:
    they are safe in the dead-letter queue or in quarantine, counted, and among the problems.

    Cost: every receipt is read once and sorted out on disk, which takes 750 bytes and 0.07 ms for each (100,000
    receipts, 2026); memory is flat at a few MB.

    Args:
        consumers: How many consumers the run has; 0 for as many as have begun.
        indexing: What became of the receipts in the indexes of the routes, if there are any.
    """
    async with open_state(open_store, state, state_conn_id, run) as folder:
        totals = QueueTotals(routes, folder)
        await totals.read(consumers=consumers)
        report = totals.report(run, indexing or Indexing())
        await totals.keep(report)
        return report
