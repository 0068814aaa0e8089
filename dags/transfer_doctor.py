"""The DAG `doctor`: finds out what a route may do before a transfer does."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from operators.transfer_doctor import (
    ACTION_PARAM,
    EXAMINE,
    PUT,
    REMOVE,
    ROUTE_PARAM,
    TOKEN_PARAM,
    ExamineRouteOperator,
)
from route_dags.dag_settings import dag_settings, retry_settings

_DOC = """
Tries each right that a route needs, in its own places and with its own connections, and says what to change.
No object and no message of anybody's is touched, and nothing is left behind.
The actions `put` and `remove` put a small object at the source, and remove it and its copy again.
`transfer doctor` starts it and shows what it found.
"""

with DAG(
    "doctor",
    description="Find out what a route may do in its places and with its queues",
    doc_md=_DOC,
    schedule=None,
    tags=["skyferry", "doctor"],
    max_active_runs=1,  # each removes what one that died has left
    params={
        ROUTE_PARAM: Param(type="string", title="Route", description="The id of the route.", minLength=1),
        ACTION_PARAM: Param(
            default=EXAMINE,
            enum=[EXAMINE, PUT, REMOVE],
            type="string",
            title="Action",
            description="Try the rights, or put a probe at the source, or remove it and its copy.",
        ),
        TOKEN_PARAM: Param(
            default="",
            pattern="^([0-9a-f]{32})?$",
            type="string",
            title="Token",
            description="Of the probe that is put or removed: 32 hexadecimal digits.",
        ),
    },
    **dag_settings(),
) as dag:
    ExamineRouteOperator(task_id="doctor", **retry_settings())
