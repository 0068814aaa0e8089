"""Waits until a queue of S3 events has work; whoever comes next receives it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue, RetryPolicy
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

from airflow_bridge.lineage_datasets import queue_dataset_name
from airflow_bridge.queue_watch import look_at_queue
from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.transfer_lineage import input_lineage
from airflow_bridge.transfer_retry import TransferRetryPolicy
from triggers.queue_work_trigger import QueueWorkTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.transfer_lineage import Lineage

_RETRY_DELAY = timedelta(seconds=5)
_TRIGGER_GRACE_SECONDS = 300.0
"""How long after its time a trigger may still ring, in the middle of a slow look; then Airflow fails the task."""


class SqsObjectEventsSensor(BaseSensorOperator):
    """Is done when messages wait in a queue; receives none of them, so none can be lost here.

    The result is how many wait and how many are in flight, approximately, as SQS says. Each look costs one request;
    Airflow's own `SqsSensor` deletes what it receives before anybody has dealt with it.

    Args:
        queue_url: URL of the queue.
        conn_id: Id of the Airflow connection; it needs sqs:GetQueueAttributes.
        deferrable: Wait in the triggerer, without a worker slot. The first look is made by the task itself, and so is
            the one that decides. Airflow can lose a deferral, so leave some `retries`.
        retries: As for any task; a permanent error fails at once all the same.
        kwargs: Those of Airflow's sensors: `mode`, `poke_interval`, `timeout`, `soft_fail`, ...
    """

    template_fields: Sequence[str] = ()

    def __init__(
        self,
        *,
        queue_url: str,
        conn_id: str = "aws_default",
        deferrable: bool = False,
        retries: int = 2,
        retry_delay: timedelta = _RETRY_DELAY,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        policy = retry_policy or TransferRetryPolicy()
        super().__init__(retries=retries, retry_delay=retry_delay, retry_policy=policy, **kwargs)
        self.queue_url = queue_url
        self.conn_id = conn_id
        self.deferrable = deferrable
        self._runner: StageRunner | None = None

    def execute(self, context: Context) -> Any:
        """Wait until there is work; raises `StageFailed`, already logged, for everything foreseen."""
        with failing_plainly(self.log):
            if self.deferrable:
                return self._look_or_defer(context, ends_at=time.time() + self.timeout)
            return super().execute(context)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """Look for oneself once the trigger has rung; defer again when it was for nothing.

        The trigger hands back when the time is up: `DAG.test` loses what is given to `defer` beside it.
        """
        with failing_plainly(self.log):
            return self._look_or_defer(context, ends_at=event["ends_at"])

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        del context
        self._runner = StageRunner()
        state = self._runner.run(look_at_queue(self.queue_url, self.conn_id))
        self.log.info("%d messages wait in %s, %d are in flight", state.waiting, self.queue_url, state.in_flight)
        return PokeReturnValue(
            is_done=state.waiting > 0, xcom_value={"waiting": state.waiting, "in_flight": state.in_flight}
        )

    def on_kill(self) -> None:
        """Stop looking; nothing was begun that would have to be undone."""
        if self._runner is not None:
            self._runner.stop()

    def get_openlineage_facets_on_start(self) -> Lineage:
        """Return the queue; how many messages wait is no statistic of what was read, for nothing was."""
        return input_lineage(queue_dataset_name(self.queue_url))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage:
        """Return the queue."""
        del task_instance
        return self.get_openlineage_facets_on_start()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Lineage:
        """Return the queue."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _look_or_defer(self, context: Context, *, ends_at: float) -> Any:
        found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        if time.time() >= ends_at:
            message = f"no message in {self.queue_url} within {self.timeout:g} seconds"
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        self._defer(ends_at=ends_at)
        return None

    def _defer(self, *, ends_at: float) -> NoReturn:
        self.defer(
            trigger=QueueWorkTrigger(
                queue_url=self.queue_url, conn_id=self.conn_id, poke_interval=self.poke_interval, ends_at=ends_at
            ),
            method_name="resume",
            timeout=timedelta(seconds=max(0.0, ends_at - time.time()) + _TRIGGER_GRACE_SECONDS),
        )
