"""What all DAGs here have in common: no catch-up, and how often a task is tried again."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_bridge.transfer_retry import TransferRetryPolicy

RETRIES_VARIABLE = "SKYFERRY_RETRIES"
_DEFAULT_RETRIES = 2
_RETRY_DELAY = timedelta(seconds=2)
"""For what the retry policy leaves to Airflow (a worker that was killed); short: `dags test` waits for it."""

_START_DATE = datetime(2026, 1, 1, tzinfo=UTC)


def dag_settings() -> dict[str, Any]:
    """Return the arguments of every DAG."""
    # A schedule counts from somewhere; without catch-up it makes no difference how long ago that is.
    return {"start_date": _START_DATE, "catchup": False}


def retry_settings() -> dict[str, Any]:
    """Return the arguments of every task that may be tried again."""
    return {"retries": _retries(), "retry_delay": _RETRY_DELAY, "retry_policy": TransferRetryPolicy()}


def worker_settings(worker_queue: str) -> dict[str, Any]:
    """Return the arguments of a DAG whose tasks are for the workers of a queue; none for Airflow's default queue."""
    return {"default_args": {"queue": worker_queue}} if worker_queue else {}


def pool_settings(pool: str) -> dict[str, Any]:
    """Return the arguments of a task that takes a slot of a pool; none for Airflow's default pool."""
    return {"pool": pool} if pool else {}


def _retries() -> int:
    """Return how often Airflow runs a failed task again; 0 suits `airflow dags test` in CI."""
    return int(os.environ.get(RETRIES_VARIABLE, _DEFAULT_RETRIES))
