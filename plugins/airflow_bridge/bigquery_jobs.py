"""Jobs of BigQuery that are begun once, however often the task that begins them is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from google.api_core.exceptions import Conflict
from google.cloud.bigquery.job import UnknownJob

if TYPE_CHECKING:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook, BigQueryJob

_MAX_JOBS_BEFORE = 100
"""Jobs of earlier attempts that are looked at; no task is tried as often."""


def begin_job_once(
    begin: Callable[[str], BigQueryJob], hook: BigQueryHook, job_id: str, *, location: str | None
) -> BigQueryJob:
    """Begin a job, or return the one an earlier attempt began, unless that failed.

    Args:
        begin: Begins it under the id it is given.
        job_id: The same for the same work; each job that failed adds one to the number behind it.
    """
    for number in range(_MAX_JOBS_BEFORE):
        numbered_id = f"{job_id}_{number}"
        try:
            return begin(numbered_id)
        except Conflict:
            job = hook.get_job(project_id=hook.project_id, location=location, job_id=numbered_id)
            if not isinstance(job, UnknownJob) and not job.error_result:
                return job
    raise RuntimeError(f"{_MAX_JOBS_BEFORE} jobs of this task have failed before")
