"""The last task of a transfer: adds up what happened for people, history and lineage, and has the last word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_bridge.arrival_assets import announce_arrivals
from airflow_bridge.report_asset import tell_report
from airflow_bridge.transfer_lineage import flow_of
from airflow_bridge.transfer_metrics import send_metrics
from airflow_bridge.transfer_tables import report_lines
from operators.transfer_stage import FAILURE_KEY, PLAN_TASK_ID, TransferStageOperator
from skyferry.errors import TransferError, TransferIncompleteError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.transfer_setup import TransferSetup
    from skyferry.report import Report

RETURN_KEY = "return_value"
_PLAN_FAILED = "the plan failed; the log of the task `plan` says why"


class ReportTransferOperator(TransferStageOperator):
    """Reports on a transfer, whatever became of it; fails unless every object is accounted for.

    It runs after everything else and decides the state of the whole run: without it, a run whose copies failed would
    count as a success, because its last task ran. The report is this task's XCom, also when it fails.
    """

    def run_stage(self, context: Context) -> dict[str, Any]:
        is_planned = self.pinned_request(context) is not None
        transfer = self._transfer_to_report(context, is_planned=is_planned)
        report = self._report(transfer, plan_failure=None if is_planned else self._plan_failure(context))
        for line in report_lines(report):
            self.log.info("%s", line)
        if not announce_arrivals(context, report):
            tell_report(context, report.to_json())
        send_metrics(report)
        if report.state != "success":
            # A task that fails has no result; the report must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=report.to_json())
        report.raise_if_incomplete()
        return report.to_json()

    def _transfer_to_report(self, context: Context, *, is_planned: bool) -> TransferSetup:
        try:
            return self.transfer_of(context)
        except TransferError:
            if is_planned:
                raise
            # The plan failed of the same cause, and has said so.
            raise TransferIncompleteError(f"nothing was transferred: {_PLAN_FAILED}") from None

    def _plan_failure(self, context: Context) -> str:
        """Return what the plan failed of; empty for one that was killed, or never began."""
        failure: str | None = context["ti"].xcom_pull(task_ids=PLAN_TASK_ID, key=FAILURE_KEY)
        return failure or ""

    def _report(self, transfer: TransferSetup, *, plan_failure: str | None) -> Report:
        from skyferry.lineage import facet_of_report
        from skyferry.stages import report_transfer

        stores = transfer.prepare_stores()
        # Before the report, so that it tells what batches that died, or met a table that was down, left undone.
        indexing = self.keep_indexes([transfer.index] if transfer.index else [], transfer, stores)
        coroutine = report_transfer(
            transfer.request,
            run=transfer.run,
            open_store=stores,
            state=transfer.state.location,
            state_conn_id=transfer.state.conn_id,
            is_reconciliation=transfer.is_reconciliation,
            indexing=indexing,
        )
        report = self.run_coroutine(coroutine)
        if plan_failure is not None:
            # There may be an older plan of this run, whose numbers must not turn a failed one green.
            problems = (plan_failure,) if plan_failure else report.problems or (_PLAN_FAILED,)
            report = replace(report, state="failed", problems=problems)
        facet = facet_of_report(report)
        self.remember_lineage([flow_of(transfer.source, transfer.destination, stores=stores, facet=facet)], facet)
        return report
