"""The step `bigquery_load`: loads what a transfer brought to GCS into a table of BigQuery."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator

from airflow_bridge.bigquery_jobs import begin_job_once
from airflow_bridge.run_records import copied_keys_of_run
from airflow_bridge.stage_failure import failing_plainly
from operators.then_step import ThenStepMixin
from skyferry.errors import RequestError
from skyferry.then_steps import BigQueryLoadStep
from skyferry.urls import Location, parse_location

if TYPE_CHECKING:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook, BigQueryJob
    from airflow.sdk import Context

MAX_OBJECTS = 10_000
"""Objects one load job takes. https://cloud.google.com/bigquery/quotas#load_jobs"""

_FORMATS = {
    "csv": "CSV", "json": "NEWLINE_DELIMITED_JSON", "avro": "AVRO", "parquet": "PARQUET", "orc": "ORC"
}  # fmt: skip
_WRITES = {"append": "WRITE_APPEND", "replace": "WRITE_TRUNCATE", "empty": "WRITE_EMPTY"}


class LoadIntoBigQueryOperator(ThenStepMixin, GCSToBigQueryOperator):
    """Loads the objects a run copied, and no others, in one load job, which BigQuery commits as a whole or not at all.

    However often the step is tried, the rows come once: a job has an id made from the run and the objects. An attempt
    that finds the job of an earlier one waits for that; only where it failed, a new one is begun.
    """

    template_fields: Sequence[str] = ()

    def __init__(
        self, *, step: BigQueryLoadStep, route_id: str, is_share: bool, gcp_conn_id: str, **kwargs: Any
    ) -> None:
        super().__init__(
            bucket="",
            source_objects=[],
            destination_project_dataset_table=step.table,
            source_format=_FORMATS[step.format],
            write_disposition=_WRITES[step.write],
            schema_fields=[column.model_dump() for column in step.columns] or None,
            autodetect=True if step.autodetect else None,
            skip_leading_rows=step.skip_leading_rows or None,
            location=step.location or None,
            gcp_conn_id=gcp_conn_id,
            deferrable=False,
            **kwargs,
        )
        self.only_if_copied = step.only_if_copied
        self.route_id = route_id
        self.is_share = is_share

    def execute(self, context: Context) -> None:
        """Load; raises `StageFailed`, already logged, for objects that cannot be loaded."""
        report = self.report_of(context)
        with failing_plainly(self.log):
            destination = parse_location(report["destination"])
            keys = copied_keys_of_run(context["dag_run"], route_id=self.route_id if self.is_share else None)
            check_loadable(destination, keys)
        self.bucket, self.source_objects = destination.bucket, keys
        self.job_id = job_id_of(self.idempotency_key(context), keys)
        self.log.info("loading %d objects into %s", len(keys), self.destination_project_dataset_table)
        super().execute(context)

    def _submit_job(self, hook: BigQueryHook, job_id: str) -> BigQueryJob:
        """Begin the job, or return the one an earlier attempt began, unless that failed."""
        begin = super()._submit_job
        return begin_job_once(lambda numbered_id: begin(hook, numbered_id), hook, job_id, location=self.location)


def check_loadable(destination: Location, keys: Sequence[str]) -> None:
    """Refuse objects that one load job cannot take, or would take for others.

    Raises:
        RequestError: The message names the first one; nothing was loaded.
    """
    if destination.kind != "gs":
        raise RequestError(
            f"bigquery_load needs objects in GCS, and this run copied them to {destination.url}",
            hint="nothing was loaded; leave the destination to the route",
        )
    if len(keys) > MAX_OBJECTS:
        raise RequestError(
            f"{len(keys):,} objects were copied to {destination.url}, and one load job takes {MAX_OBJECTS:,}",
            hint="nothing was loaded; load the folder by a job of its own, or transfer fewer objects in a run",
        )
    for key in keys:
        if "*" in key:
            raise RequestError(
                f"gs://{destination.bucket}/{key} has a * in its name, which BigQuery takes for a pattern",
                hint="nothing was loaded; rename the object at the source",
            )


def job_id_of(key: str, keys: Sequence[str]) -> str:
    """Return the first part of the job's id, the same for the same step, run and objects."""
    digest = hashlib.sha256(key.encode())
    for one in keys:
        digest.update(b"\0" + one.encode("utf-8", "surrogateescape"))
    return f"skyferry_{digest.hexdigest()[:40]}"
