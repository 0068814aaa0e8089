"""The DAG of a transfer: plan, then one copy task per batch, then the report; before them, perhaps, a sensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param

from airflow_bridge.arrival_assets import arrival_links
from airflow_bridge.transfer_setup import request_of_conf, route_of_conf
from operators.transfer_copy import BATCH_NAME_VARIABLE, CopyBatchOperator
from operators.transfer_plan import PlanTransferOperator
from operators.transfer_report import ReportTransferOperator
from operators.transfer_stage import COPY_TASK_ID, PLAN_TASK_ID, REPORT_TASK_ID
from route_dags.dag_settings import dag_settings, pool_settings, retry_settings, worker_settings
from route_dags.dag_starts import NOT_BY_ITSELF, DagStart
from route_dags.then_tasks import follow_with_steps
from skyferry.errors import TransferError

if TYPE_CHECKING:
    from skyferry.routes import Route


class TransferDag(DAG):
    """A DAG whose `airflow dags test` refuses a wrong conf with one message instead of a traceback.

    The scheduler and the API server check a conf by themselves, and answer with one message.
    """

    route_id: str | None = None

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """Run the DAG once in this process; see `airflow.sdk.DAG.test`.

        Raises:
            SystemExit: The conf holds no valid request; nothing was run.
        """
        try:
            conf = kwargs.get("run_conf") or {}
            request_of_conf(conf, route_of_conf(conf, self.route_id))
        except TransferError as error:
            raise SystemExit(str(error)) from None
        return super().test(*args, **kwargs)


def build_transfer_dag(
    dag_id: str,
    *,
    description: str,
    doc_md: str,
    params: Mapping[str, Param],
    tags: Sequence[str],
    start: DagStart = NOT_BY_ITSELF,
    route: Route | None = None,
    max_active_runs: int,
) -> TransferDag:
    """Return the DAG of one route, or of on-demand transfers.

    Costs no I/O and imports no store's client: DAG files are parsed every few seconds.

    Args:
        start: What starts its runs, beside people.
        route: None for the on-demand DAG.
        max_active_runs: One for a route: two runs of it at a time would do the same work twice.
    """
    retries = retry_settings()
    route_id = route.id if route else None
    pool = pool_settings(route.pool if route else "")
    with TransferDag(
        dag_id,
        description=description,
        doc_md=doc_md,
        schedule=start.schedule,
        max_active_runs=max_active_runs,
        params=dict(params),
        tags=list(tags),
        **dag_settings(),
        **worker_settings(route.worker_queue if route else ""),
    ) as dag:
        plan = PlanTransferOperator(task_id=PLAN_TASK_ID, route_id=route_id, **pool, **retries)
        copy = CopyBatchOperator.partial(
            task_id=COPY_TASK_ID,
            route_id=route_id,
            map_index_template="{{ %s }}" % BATCH_NAME_VARIABLE,  # noqa: UP031 - braces are Jinja's here
            **pool,
            **retries,
        ).expand(batch=plan.output)
        report = ReportTransferOperator(
            task_id=REPORT_TASK_ID,
            route_id=route_id,
            trigger_rule="all_done",
            **arrival_links(dag_id, [route_id] if route_id else []),
            **retries,
        )
        copy >> report
        if route is not None:
            follow_with_steps(report, route)
        if start.sensor is not None:
            start.sensor() >> plan
    dag.route_id = route_id
    return dag
