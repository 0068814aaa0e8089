"""Imports what tasks need before Airflow forks them, so that a task begins with its work.

LocalExecutor forks its workers from the scheduler, and these fork a process for each task, which imports the clients of
the stores and the code of lineage anew: two thirds of the processor time of a transfer of one small object. What the
scheduler has imported when it starts, its tasks have from the beginning, and share the memory of.

Only packages of others are imported, and not this project: a task runs the code as it is on disk, so an edit counts at
once. Known limitation: Celery and Kubernetes executors fork no tasks from the scheduler and gain nothing.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence

from airflow.listeners import hookimpl

PRELOAD_VARIABLE = "SKYFERRY_PRELOAD"
MODULES: Mapping[str, Sequence[str]] = {
    "s3": ("aiobotocore.config", "aiobotocore.session", "pycurl", "airflow.providers.amazon.aws.hooks.s3"),
    "az": ("airflow.providers.microsoft.azure.hooks.wasb", "azure.storage.blob.aio", "pycurl"),
    "gs": ("pycurl", "airflow.providers.google.common.hooks.base_google", "google.auth.transport.requests"),
    "lineage": ("airflow.providers.openlineage.extractors", "openlineage.client.naming.dataset"),
}
"""What each part needs, beside `_EVERY_TASK`; a module that is missing costs each task time, and does no other harm."""

_EVERY_TASK = ("airflow.dag_processing.dagbag", "airflow.sdk.execution_time.task_runner", "uvloop")

_log = logging.getLogger(__name__)


class PreloadListener:
    """Preloads, when a process of Airflow starts, the parts that SKYFERRY_PRELOAD names.

    Set the variable for the scheduler only. Airflow tells tasks, too, that they start; they import what they need.
    """

    @hookimpl
    def on_starting(self, component: object) -> None:
        """Preload if this is one of Airflow's own processes."""
        if type(component).__name__ == "Job":
            preload(os.environ.get(PRELOAD_VARIABLE, "").split())


def preload(parts: Sequence[str]) -> None:
    """Import the packages of these parts; what cannot be imported is left to the task that needs it.

    Costs about a second and 30 MB a part, once.
    """
    for unknown in [part for part in parts if part not in MODULES]:
        _log.warning("%s names %r; known: %s", PRELOAD_VARIABLE, unknown, ", ".join(MODULES))
    for module in [module for part in parts for module in (*_EVERY_TASK, *MODULES.get(part, ()))]:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - the scheduler must start whatever a package does
            _log.warning("%s was not preloaded: %s", module, error)
