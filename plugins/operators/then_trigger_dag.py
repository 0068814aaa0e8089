"""The step `trigger_dag`: begins a run of another DAG once a transfer is through."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import DagIsPaused, TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowRuntimeError
from httpx import HTTPStatusError

from airflow_bridge.stage_failure import failing_plainly
from operators.then_step import ThenStepMixin
from skyferry.errors import PermanentError
from skyferry.then_steps import TriggerDagStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

_MAX_RUN_ID_CHARACTERS = 250
"""Of the column in Airflow's database."""


class TriggerDagOperator(ThenStepMixin, TriggerDagRunOperator):
    """Starts one run of a DAG for each run of the transfer, however often the step is tried; it does not wait for it.

    The step is skipped when there is that run already.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, step: TriggerDagStep, route_id: str, is_share: bool, **kwargs: Any) -> None:
        super().__init__(
            trigger_dag_id=step.dag_id,
            logical_date=None,
            skip_when_already_exists=True,
            fail_when_dag_is_paused=True,
            **kwargs,
        )
        self.only_if_copied = step.only_if_copied
        self.step_conf = step.conf
        self.send_report = step.send_report
        self.route_id = route_id
        self.is_share = is_share

    def execute(self, context: Context) -> None:
        """Start the run; raises `StageFailed`, already logged, when the DAG is missing or switched off."""
        report = self.report_of(context)
        self.conf = {**self.step_conf, "report": report} if self.send_report else dict(self.step_conf)
        self.trigger_run_id = run_id_of(self.idempotency_key(context))
        with failing_plainly(self.log):
            try:
                super().execute(context)
            except DagIsPaused:
                raise PermanentError(
                    f"the DAG {self.trigger_dag_id} is switched off, so no run of it was started",
                    hint="switch it on, then clear this task; the transfer itself is complete",
                ) from None
            except (AirflowRuntimeError, HTTPStatusError):  # from a worker, and in `dags test`
                raise PermanentError(
                    f"there is no DAG {self.trigger_dag_id} that could be started",
                    hint=f"correct then of the route {self.route_id}; the transfer itself is complete",
                ) from None


def run_id_of(key: str) -> str:
    """Return the id of the run that a step starts: the step's own key, shortened by a hash where it is too long."""
    run_id = f"then__{key.replace('/', '__')}"
    if len(run_id) <= _MAX_RUN_ID_CHARACTERS:
        return run_id
    return f"{run_id[:180]}__{hashlib.sha256(key.encode()).hexdigest()[:32]}"
