"""The first task of a transfer: decides for each object whether to copy it, and cuts the work into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_bridge.transfer_lineage import Flow, flow_of
from airflow_bridge.transfer_tables import plan_lines
from operators.transfer_stage import FAILURE_KEY, REQUEST_KEY, TransferStageOperator
from skyferry.errors import TransferError

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanTransferOperator(TransferStageOperator):
    """Plans a transfer; nothing is copied.

    Its result is the list of batches, small however many objects there are (names stay in the state folder); empty when
    there is nothing to do, and for a dry run.
    """

    def run_stage(self, context: Context) -> list[dict[str, Any]]:
        try:
            return self._plan(context)
        except TransferError as error:
            # The report says it to those who do not read this task's log.
            context["ti"].xcom_push(key=FAILURE_KEY, value=str(error))
            raise

    def _plan(self, context: Context) -> list[dict[str, Any]]:
        from skyferry.lineage import facet_of_plan
        from skyferry.stages import plan_transfer

        transfer = self.transfer_of(context)
        stores = transfer.prepare_stores()
        flows = _reading(flow_of(transfer.source, transfer.destination, stores=stores))
        self.remember_lineage(flows)
        coroutine = plan_transfer(
            transfer.request,
            run=transfer.run,
            open_store=stores,
            state=transfer.state.location,
            state_conn_id=transfer.state.conn_id,
            handover=transfer.handover,
            open_notifier=transfer.notifier_opener(),
        )
        plan = self.run_coroutine(coroutine)
        facet = facet_of_plan(plan.totals, route=transfer.request.id, records=transfer.records_url)
        self.remember_lineage(flows, facet)
        context["ti"].xcom_push(key=REQUEST_KEY, value=transfer.pinned_request())
        for line in plan_lines(transfer.request, plan, transfer.handover):
            self.log.info("%s", line)
        return [] if transfer.request.dry_run else [batch.to_json() for batch in plan.batches]

    def flows_at_start(self) -> Sequence[Flow]:
        """Return what a plan looks at."""
        return _reading(*super().flows_at_start())


def _reading(*flows: Flow) -> list[Flow]:
    """Leave out the destination: a plan writes nothing there."""
    return [replace(flow, destination=None) for flow in flows]
