"""The tasks behind a transfer, one for each step under `then` in its route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.operator import BaseOperator

from route_dags.dag_settings import retry_settings
from skyferry.request import DEFAULT_CONN_IDS
from skyferry.then_steps import BigQueryLoadStep, SqsStep, Then, TriggerDagStep, WebhookStep

if TYPE_CHECKING:
    from skyferry.routes import Route


def follow_with_steps(report: BaseOperator, route: Route, *, is_share: bool = False) -> None:
    """Put a route's steps behind the task that reports, inside the DAG: one after the other.

    A step that is skipped holds up none; one that fails ends the row and fails the run, whose transfer is complete.

    Args:
        is_share: The DAG serves several routes.
    """
    before = report
    for number, step in enumerate(route.then, start=1):
        task_id = f"then_{number}_{step.kind}" + (f"__{route.id}" if is_share else "")
        task = _task(step, route, task_id=task_id, route_id=route.id, is_share=is_share)
        before >> task
        before = task


def _task(step: Then, route: Route, **names: Any) -> BaseOperator:
    """Return the task of a step; here every kind gets its operator, which is imported only where a route has it."""
    arguments = {"step": step, "trigger_rule": "none_failed", **names, **retry_settings()}
    match step:
        case WebhookStep():
            from operators.then_webhook import WebhookOperator

            return WebhookOperator(**arguments)
        case TriggerDagStep():
            from operators.then_trigger_dag import TriggerDagOperator

            return TriggerDagOperator(**arguments)
        case SqsStep():
            from operators.then_sqs import SendReportOperator

            return SendReportOperator(**arguments)
        case BigQueryLoadStep():
            from operators.then_bigquery_load import LoadIntoBigQueryOperator

            conn_id = step.conn_id or route.destination.conn_id or DEFAULT_CONN_IDS["gs"]
            return LoadIntoBigQueryOperator(gcp_conn_id=conn_id, **arguments)
