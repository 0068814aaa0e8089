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
from skyferry.history.transfer_run import QUEUE_DAG_PREFIX, REPORT_TASK_ID, ROUTE_DAG_PREFIX

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import DagRunProtocol

    from airflow_bridge.queue_setup import QueueSetup
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

    The run's own request, which its plan left, says where the copies are; for a run that consumed a queue its report
    names the routes. So an audit reads with the connections of that run, which are checked again, and nobody can name
    others. Its result is the audit, also when it fails.
    """

    def run_stage(self, context: Context) -> dict[str, Any]:
        is_consumption = str(context["params"][DAG_ID_PARAM]).startswith(QUEUE_DAG_PREFIX)
        audit = self._audit_consumption(context) if is_consumption else self._audit_transfer(context)
        self._log_audit(audit)
        if audit.state != "success":
            # A task that fails has no result; the audit must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=audit.to_json())
        audit.raise_if_different()
        return audit.to_json()

    def flows_at_start(self) -> Sequence[Flow]:
        """Return nothing: an audit moves no data."""
        return ()

    def _audit_transfer(self, context: Context) -> Audit:
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
        return self.run_coroutine(coroutine)

    def _audit_consumption(self, context: Context) -> Audit:
        from skyferry.audit import audit_consumption

        setup = self._audited_consumption(context)
        coroutine = audit_consumption(
            setup.routes,
            run=setup.run,
            open_store=setup.prepare_stores(),
            state=setup.state.location,
            state_conn_id=setup.state.conn_id,
            reads_back=bool(context["params"][READBACK_PARAM]),
        )
        return self.run_coroutine(coroutine)

    def _audited_consumption(self, context: Context) -> QueueSetup:
        from airflow_bridge.queue_setup import queue_setup_from_run

        dag_id, run_id = (str(context["params"][name]) for name in (DAG_ID_PARAM, RUN_ID_PARAM))
        report = context["ti"].xcom_pull(dag_id=dag_id, run_id=run_id, task_ids=REPORT_TASK_ID, key=RETURN_KEY)
        if not isinstance(report, dict) or not report.get("by_route"):
            raise RequestError(
                f'Airflow has no report of run "{run_id}" of {dag_id}',
                hint="name a run that has reported on its consumers, by its whole id",
            )
        now = context["dag_run"].run_after
        run = _AuditedRun(dag_id=dag_id, run_id=run_id, conf={}, start_date=now, run_after=now)
        shares = report["by_route"]
        setup = queue_setup_from_run(cast("DagRunProtocol", run), route_ids=list(shares), queue_url=report["route"])
        for route in setup.routes:
            if route.request.destination != shares[route.id]["destination"]:
                raise RequestError(
                    f'route "{route.id}" writes to {route.request.destination} now, and wrote to'
                    f" {shares[route.id]['destination']} in that run",
                    hint="only runs whose routes have the same destinations as now can be audited",
                )
        return setup

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
