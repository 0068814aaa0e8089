"""The DAG `provision`: brings what a route has around it into being, or removes what it made."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from operators.transfer_provision import (
    ACTION_PARAM,
    DEPROVISION,
    DRY_RUN_PARAM,
    PROVISION,
    ROUTE_PARAM,
    WITH_GATEWAY_PARAM,
    WITH_LAMBDA_PARAM,
    ProvisionRouteOperator,
)
from route_dags.dag_settings import dag_settings, retry_settings

_DOC = """
Buckets, containers, queues and notifications of a route: what is missing is created, what others have is left as it is.
With the action `deprovision` it removes what it created itself, and never an object or a message.
`transfer provision` and `transfer deprovision` start it and show what it did.
"""

with DAG(
    "provision",
    description="Bring what a route has around it into being, or remove it",
    doc_md=_DOC,
    schedule=None,
    tags=["skyferry", "provision"],
    max_active_runs=1,  # two at once would write the same notifications
    params={
        ROUTE_PARAM: Param(type="string", title="Route", description="The id of the route.", minLength=1),
        ACTION_PARAM: Param(
            default=PROVISION,
            enum=[PROVISION, DEPROVISION],
            type="string",
            title="Action",
            description="Make what is missing, or remove what was made.",
        ),
        DRY_RUN_PARAM: Param(default=True, type="boolean", title="Dry run", description="Plan, and change nothing."),
        WITH_LAMBDA_PARAM: Param(
            default=False,
            type="boolean",
            title="With Lambda",
            description="Make the route's Lambda function too; it is removed in any case.",
        ),
        WITH_GATEWAY_PARAM: Param(
            default=False,
            type="boolean",
            title="With gateway",
            description="Make the route's API Gateway too; it is removed in any case.",
        ),
    },
    **dag_settings(),
) as dag:
    ProvisionRouteOperator(task_id="provision", **retry_settings())
