"""The one task of an audit: compares what a finished run copied with what the destination holds now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_bridge.transfer_setup import TransferSetup, setup_from_run
from airflow_bridge.transfer_tables import counts_text
from operators.transfer_report import RETURN_KEY
from operators.transfer_stage import PLAN_TASK_ID, REQUEST_KEY, TransferStageOperator
from skyferry.errors import RequestError
from skyferry.history.transfer_run import ROUTE_DAG_PREFIX

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import DagRunProtocol

    from airflow_bridge.transfer_lineage import Flow
    from skyferry.audit import Audit

DAG_ID_PARAM = "dag_id"
RUN_ID_PARAM = "run_id"
READBACK_PARAM = "readback"


@dataclass(frozen=True, slots=True, kw_only=True)
class _AuditedRun:
    """What is known of the run that is audited: as much as its set-up needs."""

    dag_id: str
    run_id: str
    conf: dict[str, Any]
    start_date: datetime
    run_after: datetime


class AuditRunOperator(TransferStageOperator):
    """Audits the run that the parameters `dag_id` and `run_id` name; fails if a copy is not as its receipt says.

    The run's own request, which its plan left, says where the copies are. So an audit reads with the connections of
    that run, which are checked again, and nobody can name others. Its result is the audit, also when it fails.
    """

    def run_stage(self, context: Context) -> dict[str, Any]:
        from skyferry.audit import audit_run

        transfer = self._audited_transfer(context)
        coroutine = audit_run(
            transfer.request,
            run=transfer.run,
            open_store=transfer.prepare_stores(),
            state=transfer.state.location,
            state_conn_id=transfer.state.conn_id,
            reads_back=bool(context["params"][READBACK_PARAM]),
        )
        audit = self.run_coroutine(coroutine)
        self._log_audit(audit)
        if audit.state != "success":
            # A task that fails has no result; the audit must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=audit.to_json())
        audit.raise_if_different()
        return audit.to_json()

    def flows_at_start(self) -> Sequence[Flow]:
        """Return nothing: an audit moves no data."""
        return ()

    def _audited_transfer(self, context: Context) -> TransferSetup:
        dag_id, run_id = (str(context["params"][name]) for name in (DAG_ID_PARAM, RUN_ID_PARAM))
        pinned = context["ti"].xcom_pull(dag_id=dag_id, run_id=run_id, task_ids=PLAN_TASK_ID, key=REQUEST_KEY)
        if not isinstance(pinned, dict):
            raise RequestError(
                f'Airflow has no plan of run "{run_id}" of {dag_id}',
                hint="name a run that has planned, by its whole id",
            )
        now = context["dag_run"].run_after
        run = _AuditedRun(dag_id=dag_id, run_id=run_id, conf=pinned, start_date=now, run_after=now)
        route_id = dag_id.removeprefix(ROUTE_DAG_PREFIX) if dag_id.startswith(ROUTE_DAG_PREFIX) else None
        return setup_from_run(cast("DagRunProtocol", run), route_id=route_id, pinned_request=pinned)

    def _log_audit(self, audit: Audit) -> None:
        self.log.info(
            "%d copies of %s audited: %d confirmed (%s), %d of them rewritten since; differences: %s",
            audit.objects_audited, audit.run_id, audit.objects_confirmed, counts_text(audit.confirmed_by),
            audit.objects_rewritten, counts_text(audit.differences_by_kind) or "none",
        )  # fmt: skip
        for text in audit.differences:
            self.log.warning("%s", text)
