"""Starts DAG runs of `transfer` and watches them, over Airflow's REST API with its official client."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from airflow_client.client import ApiClient, ApiException, Configuration
from airflow_client.client.api.dag_api import DAGApi
from airflow_client.client.api.dag_run_api import DagRunApi
from airflow_client.client.api.import_error_api import ImportErrorApi
from airflow_client.client.api.task_instance_api import TaskInstanceApi
from airflow_client.client.api.x_com_api import XComApi
from airflow_client.client.models.dag_patch_body import DAGPatchBody
from airflow_client.client.models.dag_run_mutable_states import DagRunMutableStates
from airflow_client.client.models.dag_run_patch_body import DAGRunPatchBody
from airflow_client.client.models.trigger_dag_run_post_body import TriggerDAGRunPostBody

from demo.files import DemoError

DAG_ID: Final = "transfer"
COPY_TASK_ID: Final = "copy"
POLL_SECONDS: Final = 1.0
_DAG_DEADLINE_SECONDS: Final = 120.0
_REQUEST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """What REST says of a run at one moment.

    Attributes:
        state: queued, running, success or failed.
        tasks: Number of task instances by task and state, as `copy 2 running`.
        failed_tasks: Task, map index (-1 for none) and attempt of each failed task instance.
    """

    state: str
    tasks: Mapping[tuple[str, str], int]
    failed_tasks: tuple[tuple[str, int, int], ...] = ()

    @property
    def is_over(self) -> bool:
        return self.state in {"success", "failed"}

    @property
    def text(self) -> str:
        """The task instances that say where the run is: those that have begun."""
        begun = [
            f"{task} {count} {state}" if task == COPY_TASK_ID else f"{task} {state}"
            for (task, state), count in self.tasks.items()
            if state not in {"none", "scheduled", "removed"}
        ]
        return ", ".join(begun) or self.state


class AirflowRuns:
    """The runs of the DAG `transfer` in one Airflow.

    Args:
        url: Of the API server.
        logs: The folder with the logs of tasks.

    Raises:
        DemoError: Airflow refuses the login, or does not answer.
    """

    def __init__(self, url: str, *, user: str, password: str, logs: Path) -> None:
        self.url = url
        self._logs = logs
        token = _token(url, user, password)
        client = ApiClient(Configuration(host=url, access_token=token))
        self._dags, self._runs = DAGApi(client), DagRunApi(client)
        self._tasks, self._xcoms = TaskInstanceApi(client), XComApi(client)
        self._import_errors = ImportErrorApi(client)

    def prepare_dag(self, dag_id: str = DAG_ID) -> None:
        """Wait until Airflow knows the DAG, and unpause it.

        Raises:
            DemoError: Airflow does not know it after two minutes; the message has its import errors.
        """
        deadline = time.monotonic() + _DAG_DEADLINE_SECONDS
        while True:
            try:
                self._dags.patch_dag(dag_id, DAGPatchBody(is_paused=False), _request_timeout=_REQUEST_SECONDS)
            except ApiException as error:
                if error.status != 404 or time.monotonic() > deadline:
                    raise DemoError(f"Airflow does not know the DAG {dag_id}: {self._why(error)}") from error
            else:
                return
            time.sleep(POLL_SECONDS)

    def pause(self, dag_id: str) -> None:
        """Let a DAG begin no more runs; harmless when Airflow does not know it."""
        try:
            self._dags.patch_dag(dag_id, DAGPatchBody(is_paused=True), _request_timeout=_REQUEST_SECONDS)
        except ApiException as error:
            if error.status != 404:
                raise

    def start(self, run_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run under that id and return it.

        Raises:
            DemoError: Airflow does not accept the conf.
        """
        body = TriggerDAGRunPostBody(logical_date=None, dag_run_id=run_id, conf=dict(conf))
        try:
            return self._runs.trigger_dag_run(DAG_ID, body, _request_timeout=_REQUEST_SECONDS).dag_run_id
        except ApiException as error:
            raise DemoError(f"Airflow did not start a run with {json.dumps(conf)}: {_detail(error)}") from error

    def status(self, run_id: str) -> RunStatus:
        """Return where a run stands now."""
        run = self._runs.get_dag_run(DAG_ID, run_id, _request_timeout=_REQUEST_SECONDS)
        found = self._tasks.get_task_instances(DAG_ID, run_id, limit=100, _request_timeout=_REQUEST_SECONDS)
        tasks = [(each.task_id, each.state.value if each.state else "none") for each in found.task_instances]
        failed = [each for each in found.task_instances if each.state and each.state.value == "failed"]
        return RunStatus(
            state=run.state.value,
            tasks=Counter(sorted(tasks, key=lambda task: _TASK_ORDER.get(task[0], 0))),
            failed_tasks=tuple((each.task_id, each.map_index, each.try_number) for each in failed),
        )

    def times(self, run_id: str) -> tuple[datetime, dict[str, tuple[datetime, datetime]]]:
        """Return when a run that is over was triggered, and when each of its tasks began and ended."""
        run = self._runs.get_dag_run(DAG_ID, run_id, _request_timeout=_REQUEST_SECONDS)
        found = self._tasks.get_task_instances(DAG_ID, run_id, limit=100, _request_timeout=_REQUEST_SECONDS)
        tasks = {
            each.task_id: (each.start_date, each.end_date)
            for each in found.task_instances
            if each.start_date and each.end_date
        }
        return run.queued_at or run.run_after, tasks

    def xcom(self, run_id: str, task_id: str) -> Any:
        """Return the result of a task; None when it has none."""
        try:
            entry = self._xcoms.get_xcom_entry(
                DAG_ID, task_id, run_id, "return_value", _request_timeout=_REQUEST_SECONDS
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return getattr(entry.actual_instance, "value", None)

    @contextmanager
    def stopped_early(self, run_id: str) -> Iterator[None]:
        """Stop the run when the block is left by Ctrl-C or an error; what was copied by then is whole, and stays."""
        try:
            yield
        except (KeyboardInterrupt, DemoError):
            body = DAGRunPatchBody(state=DagRunMutableStates.FAILED)
            self._runs.patch_dag_run(DAG_ID, run_id, body, _request_timeout=_REQUEST_SECONDS)
            raise

    def page(self, run_id: str) -> str:
        """Return the address of a run in the web UI."""
        return f"{self.url}/dags/{DAG_ID}/runs/{urllib.parse.quote(run_id, safe='')}"

    def dag_page(self, dag_id: str) -> str:
        """Return the address of a DAG's runs in the web UI."""
        return f"{self.url}/dags/{dag_id}/runs"

    def log_files(self, run_id: str, status: RunStatus) -> list[Path]:
        """Return the logs of the task instances that failed."""
        folder = self._logs / f"dag_id={DAG_ID}" / f"run_id={run_id}"
        return [
            folder / f"task_id={task}" / (f"map_index={index}" if index >= 0 else "") / f"attempt={attempt}.log"
            for task, index, attempt in status.failed_tasks
        ]

    def _why(self, error: ApiException) -> str:
        if error.status != 404:
            return _detail(error)
        broken = self._import_errors.get_import_errors(_request_timeout=_REQUEST_SECONDS).import_errors
        traces = [f"{each.filename}: {each.stack_trace.strip().splitlines()[-1]}" for each in broken]
        return "; ".join(traces) or "it is not in the folder `dags`"


_TASK_ORDER: Final = {"plan": 0, COPY_TASK_ID: 1, "report": 2}


def _token(url: str, user: str, password: str) -> str:
    body = json.dumps({"username": user, "password": password}).encode()
    request = urllib.request.Request(  # noqa: S310 - the stack's own address
        f"{url}/auth/token", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as response:  # noqa: S310
            return str(json.loads(response.read())["access_token"])
    except OSError as error:
        raise DemoError(f"no login at Airflow, {url}: {error}; is the stack up? `make status` shows it") from error


def _detail(error: ApiException) -> str:
    """Return what Airflow said, without the headers and the HTTP around it."""
    try:
        detail = json.loads(error.body or "")["detail"]
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"
    return str(detail).split("\n\n", 1)[0]
