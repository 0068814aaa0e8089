"""The task of a transfer that is fed by a queue, one instance per consumer: copies what the messages tell of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_bridge.queue_setup import flows_of_routes, queue_setup_from_run
from airflow_bridge.transfer_lineage import flow_of
from airflow_bridge.transfer_tables import counts_text
from operators.transfer_stage import TransferStageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.transfer_lineage import Flow


class ConsumeQueueOperator(TransferStageOperator):
    """Consumes a queue of S3 events until it is empty or a budget is spent.

    Each message is acted on by all routes it concerns, and deleted only after the receipts of its objects are on record
    for all of them. Fails when an object was not copied; its message is in the queue, in its dead-letter queue or in
    quarantine. Map it over `slot` for several consumers, and put a `ReportConsumptionOperator` behind them.

    Args:
        route_ids: The routes that are fed by the queue, at least one.
        queue_url: URL of the queue, whose messages are about objects of the routes' sources.
        queue_conn_id: Id of the queue's Airflow connection; empty for that of the first route's source.
        slot: Number of this consumer among those of the run, from 0.
        consumers: How many there are; the caps of each route are divided by it.
        options: Fields of `skyferry.detect.consumption.ConsumeOptions`: `unmatched`, `max_messages`, `max_bytes`,
            `max_seconds`, ...
    """

    def __init__(
        self,
        *,
        route_ids: Sequence[str],
        queue_url: str,
        queue_conn_id: str = "",
        slot: int = 0,
        consumers: int = 1,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.route_ids = route_ids
        self.queue_url = queue_url
        self.queue_conn_id = queue_conn_id
        self.slot = slot
        self.consumers = consumers
        self.options = options

    def run_stage(self, context: Context) -> dict[str, Any]:
        from airflow_bridge.sqs_access import SqsAccess
        from skyferry.detect.consumption import options_from
        from skyferry.queue_report import slot_receipts
        from skyferry.queue_stages import consume_queue

        setup = queue_setup_from_run(context["dag_run"], route_ids=self.route_ids, queue_url=self.queue_url)
        access = SqsAccess(self.queue_url, conn_id=self.queue_conn_id or setup.source_conn_id)
        stores = setup.prepare_stores()
        self.remember_lineage([flow_of(source, destination, stores=stores) for source, destination in setup.places])
        coroutine = consume_queue(
            setup.routes,
            options_from(self.options or {}),
            slot=self.slot,
            open_queue=access.open,
            run=setup.run,
            attempt=context["ti"].try_number,
            open_store=stores,
            state=setup.state.location,
            state_conn_id=setup.state.conn_id,
            consumers=self.consumers,
        )
        result = self.run_coroutine(coroutine)
        own = [use.of(slot_receipts(use.place.route, self.slot)) for use in setup.indexes]
        self.keep_indexes(own, setup, stores)
        for problem in result.problems:
            self.log.warning("%s", problem)
        self.log.info(
            "%s, %d bytes copied; messages: %s; ended because: %s",
            counts_text(result.counts), result.bytes_copied, counts_text(result.messages), result.ended_because,
        )  # fmt: skip
        result.raise_if_failed()
        return result.to_json()

    def flows_at_start(self) -> Sequence[Flow]:
        """Return the folders of the routes, as their files are now."""
        return flows_of_routes(self.route_ids)
