"""What all sensors here have in common: look, wait in the triggerer if asked to, look again, and give up in time."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, RetryPolicy
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.transfer_lineage import input_lineage
from airflow_bridge.transfer_retry import TransferRetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import Context, PokeReturnValue
    from airflow.triggers.base import BaseTrigger

    from airflow_bridge.transfer_lineage import Lineage

_RETRY_DELAY = timedelta(seconds=5)
_TRIGGER_GRACE_SECONDS = 300.0
"""How long after its time a trigger may still ring, in the middle of a slow look; then Airflow fails the task."""
_MANUAL = "manual"


class WaitingSensor(BaseSensorOperator):
    """Is done when a look finds something; consumes nothing.

    Args:
        deferrable: Wait in the triggerer, without a worker slot. The first look is made by the task itself, and so is
            the one that decides. Airflow can lose a deferral, so leave some `retries`.
        manual_runs_wait: Off: in a run that somebody started, the sensor is done at once, without a look.
        done_after_timeout: When the time is up, the sensor is done, and what follows looks for itself.
        retries: As for any task; a permanent error fails at once all the same.
    """

    template_fields: Sequence[str] = ()

    def __init__(
        self,
        *,
        deferrable: bool = False,
        manual_runs_wait: bool = True,
        done_after_timeout: bool = False,
        retries: int = 2,
        retry_delay: timedelta = _RETRY_DELAY,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        policy = retry_policy or TransferRetryPolicy()
        super().__init__(retries=retries, retry_delay=retry_delay, retry_policy=policy, **kwargs)
        self.deferrable = deferrable
        self.manual_runs_wait = manual_runs_wait
        self.done_after_timeout = done_after_timeout
        self.runner: StageRunner | None = None

    @abstractmethod
    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""

    @abstractmethod
    def trigger(self, context: Context, *, ends_at: float) -> BaseTrigger:
        """Return what waits in the triggerer until this time, in seconds since 1970."""

    @abstractmethod
    def nothing_found(self) -> str:
        """Return what to say when the time is up."""

    @abstractmethod
    def watched_dataset(self) -> tuple[str, str] | None:
        """Return namespace and name of what is watched, for lineage; asks nobody."""

    def execute(self, context: Context) -> Any:
        """Wait until there is something; raises `StageFailed`, already logged, for everything foreseen."""
        if not self.manual_runs_wait and context["dag_run"].run_type == _MANUAL:
            self.log.info("somebody started this run, so nothing is waited for")
            return None
        with failing_plainly(self.log):
            if self.deferrable:
                return self.look_or_defer(context, ends_at=time.time() + self.timeout)
            try:
                return super().execute(context)
            except AirflowSensorTimeout:
                return self._time_is_up()

    def look_or_defer(self, context: Context, *, ends_at: float) -> Any:
        """Look; wait in the triggerer when there is nothing and time is left.

        The trigger hands back when the time is up: `DAG.test` loses what is given to `defer` beside it.
        """
        found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        if time.time() >= ends_at:
            return self._time_is_up()
        self.defer(
            trigger=self.trigger(context, ends_at=ends_at),
            method_name="resume",
            timeout=timedelta(seconds=max(0.0, ends_at - time.time()) + _TRIGGER_GRACE_SECONDS),
        )
        return None

    def on_kill(self) -> None:
        """Stop looking; nothing was begun that would have to be undone."""
        if self.runner is not None:
            self.runner.stop()

    def get_openlineage_facets_on_start(self) -> Lineage:
        """Return what is watched; a look reads nothing, so there are no statistics."""
        return input_lineage(self.watched_dataset())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage:
        """Return what was watched."""
        del task_instance
        return input_lineage(self.watched_dataset())

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Lineage:
        """Return what was watched."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _time_is_up(self) -> None:
        message = f"{self.nothing_found()} within {self.timeout:g} seconds"
        if not self.done_after_timeout:
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        self.log.info("%s; going on all the same", message)
