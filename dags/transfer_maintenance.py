"""The DAG `maintenance`: removes what interrupted transfers left behind and nobody goes on with."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from operators.transfer_maintenance import (
    AGE_PARAM,
    DRY_RUN_PARAM,
    ROUTE_PARAM,
    URL_PARAM,
    CleanUploadsOperator,
)
from route_dags.dag_settings import dag_settings, retry_settings

_WEEK_SECONDS = 7 * 24 * 3600
_DOC = """
Ends unfinished uploads of large objects that are older than a week, and removes partial files in local destinations.
Only uploads of transfers are touched, never those of a run that is not over, nor of other programs.
`transfer clean` starts it and shows what it did.
"""

with DAG(
    "maintenance",
    description="Remove what interrupted transfers left behind",
    doc_md=_DOC,
    schedule="0 4 * * 0",
    is_paused_upon_creation=False,  # it only takes away what nobody can use any more, and what is billed until then
    tags=["skyferry", "maintenance"],
    max_active_runs=1,
    params={
        ROUTE_PARAM: Param(default=None, type=["null", "string"], title="Route", description="Only this route's."),
        URL_PARAM: Param(
            default=None, type=["null", "string"], title="URL", description="Only uploads to keys below this URL."
        ),
        AGE_PARAM: Param(
            default=_WEEK_SECONDS,
            type="integer",
            minimum=3600,
            title="Older than (seconds)",
            description="Nothing was written of the upload for so long.",
        ),
        DRY_RUN_PARAM: Param(default=False, type="boolean", title="Dry run", description="Count, and remove nothing."),
    },
    **dag_settings(),
) as dag:
    CleanUploadsOperator(task_id="clean", **retry_settings())
