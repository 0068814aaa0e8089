"""The task of a transfer that is fed by a queue, one instance per consumer: copies what the messages tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_bridge.transfer_tables import counts_text
from operators.transfer_stage import TransferStageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ConsumeQueueOperator(TransferStageOperator):
    """Consumes a queue of S3 events until it is empty or a budget is spent.

    A message is deleted only after the receipts of its objects are on record. Fails when an object was not copied; its
    message is in the queue, in its dead-letter queue or in quarantine. Map it over `slot` for several consumers.

    Args:
        queue_url: URL of the queue, whose messages are about objects of the request's source.
        queue_conn_id: Id of the queue's Airflow connection; empty for that of the source.
        slot: Number of this consumer among those of the run, from 0.
        options: Fields of `skyferry.detect.consumption.ConsumeOptions`: `unmatched`, `max_messages`, `max_bytes`,
            `max_seconds`, ...
    """

    def __init__(
        self,
        *,
        queue_url: str,
        queue_conn_id: str = "",
        slot: int = 0,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.queue_url = queue_url
        self.queue_conn_id = queue_conn_id
        self.slot = slot
        self.options = options

    def run_stage(self, context: Context) -> dict[str, Any]:
        from airflow_bridge.sqs_access import SqsAccess
        from skyferry.detect.consumption import options_from
        from skyferry.queue_stages import consume_queue

        transfer = self.transfer_of(context)
        access = SqsAccess(self.queue_url, conn_id=self.queue_conn_id or transfer.source.conn_id)
        coroutine = consume_queue(
            transfer.request,
            options_from(self.options or {}),
            slot=self.slot,
            open_queue=access.open,
            run=transfer.run,
            attempt=context["ti"].try_number,
            open_store=transfer.prepare_stores(),
            state=transfer.state.location,
            state_conn_id=transfer.state.conn_id,
        )
        result = self.run_coroutine(coroutine)
        for problem in result.problems:
            self.log.warning("%s", problem)
        self.log.info(
            "%s, %d bytes copied; messages: %s; ended because: %s",
            counts_text(result.counts), result.bytes_copied, counts_text(result.messages), result.ended_because,
        )  # fmt: skip
        result.raise_if_failed()
        return result.to_json()
