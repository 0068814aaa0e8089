"""The middle task of a transfer, one instance per batch: copies its objects, many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_bridge.transfer_lineage import flow_of
from airflow_bridge.transfer_tables import counts_text
from operators.transfer_stage import TransferStageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.store_opener import PreparedStores
    from airflow_bridge.transfer_setup import TransferSetup
    from skyferry.batch_tally import BatchTally

BATCH_NAME_VARIABLE = "batch_name"


class CopyBatchOperator(TransferStageOperator):
    """Copies one batch of a plan; every object is tried, then the task fails if any could not be copied.

    When a store is lost meanwhile, it fails before that, to be tried again.

    Args:
        batch: One element of the plan's result.
    """

    def __init__(self, *, batch: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch

    def run_stage(self, context: Context) -> dict[str, Any]:
        from skyferry.batch_tally import BatchTally
        from skyferry.stages import Batch, copy_batch

        batch = Batch.from_json(self.batch)
        context[BATCH_NAME_VARIABLE] = batch.name  # type: ignore[literal-required]  # for map_index_template
        transfer = self.transfer_of(context)
        stores = transfer.prepare_stores()
        tally = BatchTally()
        coroutine = copy_batch(
            batch,
            request=transfer.request,
            run=transfer.run,
            attempt=context["ti"].try_number,
            open_store=stores,
            state=transfer.state.location,
            state_conn_id=transfer.state.conn_id,
            handover=transfer.handover,
            open_notifier=transfer.notifier_opener(),
            tally=tally,
        )
        try:
            result = self.run_coroutine(coroutine)
        finally:
            self._remember(transfer, stores, tally)
        self.log.info("%s: %s, %d bytes copied", batch.name, counts_text(result.counts), result.bytes_copied)
        if transfer.index is not None:
            self.keep_indexes([transfer.index.of(batch.receipts)], transfer, stores)
        result.raise_if_failed()
        return {**result.counts, "bytes_copied": result.bytes_copied}

    def _remember(self, transfer: TransferSetup, stores: PreparedStores, tally: BatchTally) -> None:
        from skyferry.lineage import facet_of_attempt

        facet = facet_of_attempt(tally, stage="copy", route=transfer.request.id, records=transfer.records_url)
        self.remember_lineage([flow_of(transfer.source, transfer.destination, stores=stores, facet=facet)], facet)
