"""The DAG `audit`: compares what a finished transfer copied with what its destination holds now."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from operators.transfer_audit import DAG_ID_PARAM, READBACK_PARAM, RUN_ID_PARAM, AuditRunOperator
from route_dags.dag_settings import dag_settings, retry_settings

_DOC = """
Looks at every copy of a finished run again, and names each that is missing or has other content than its receipt says.
No object is written or changed. `transfer audit RUN` starts it and shows what it found.
"""

with DAG(
    "audit",
    description="Compare what a finished transfer copied with what its destination holds now",
    doc_md=_DOC,
    schedule=None,
    tags=["skyferry", "audit"],
    max_active_runs=4,
    params={
        DAG_ID_PARAM: Param(
            type="string", title="DAG", description="The DAG of the run, as transfer__orders_to_lake.", minLength=1
        ),
        RUN_ID_PARAM: Param(type="string", title="Run", description="The whole id of the run.", minLength=1),
        READBACK_PARAM: Param(
            default=False,
            type="boolean",
            title="Read back",
            description="Read every copy, also those whose store publishes a checksum.",
        ),
    },
    **dag_settings(),
) as dag:
    AuditRunOperator(task_id="audit", **retry_settings())
