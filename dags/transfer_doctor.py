"""The DAG `doctor`: finds out what a route may do before a transfer does."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from operators.transfer_doctor import ROUTE_PARAM, ExamineRouteOperator
from route_dags.dag_settings import dag_settings, retry_settings

_DOC = """
Tries each right that a route needs, in its own places and with its own connections, and says what to change.
No object and no message of anybody's is touched, and nothing is left behind.
`transfer doctor` starts it and shows what it found.
"""

with DAG(
    "doctor",
    description="Find out what a route may do in its places and with its queues",
    doc_md=_DOC,
    schedule=None,
    tags=["skyferry", "doctor"],
    max_active_runs=1,  # each removes what one that died has left
    params={ROUTE_PARAM: Param(type="string", title="Route", description="The id of the route.", minLength=1)},
    **dag_settings(),
) as dag:
    ExamineRouteOperator(task_id="doctor", **retry_settings())
