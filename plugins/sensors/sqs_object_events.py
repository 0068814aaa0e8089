"""Waits until a queue of S3 events has work; whoever comes next receives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import PokeReturnValue

from airflow_bridge.lineage_datasets import queue_dataset_name
from airflow_bridge.queue_watch import look_at_queue
from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from sensors.waiting_sensor import WaitingSensor
from triggers.queue_work_trigger import QueueWorkTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class SqsObjectEventsSensor(WaitingSensor):
    """Is done when messages wait in a queue; receives none of them, so none can be lost here.

    The result is how many wait and how many are in flight, approximately, as SQS says. Each look costs one request;
    Airflow's own `SqsSensor` deletes what it receives before anybody has dealt with it.

    Args:
        queue_url: URL of the queue.
        conn_id: Id of the Airflow connection; it needs sqs:GetQueueAttributes.
        kwargs: Those of `WaitingSensor` and of Airflow's sensors: `deferrable`, `mode`, `poke_interval`, `timeout`, ...
    """

    def __init__(self, *, queue_url: str, conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.queue_url = queue_url
        self.conn_id = conn_id

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """Look for oneself once the trigger has rung; defer again when it was for nothing."""
        with failing_plainly(self.log):
            return self.look_or_defer(context, ends_at=event["ends_at"])

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        del context
        self.runner = StageRunner()
        state = self.runner.run(look_at_queue(self.queue_url, self.conn_id))
        self.log.info("%d messages wait in %s, %d are in flight", state.waiting, self.queue_url, state.in_flight)
        return PokeReturnValue(
            is_done=state.waiting > 0, xcom_value={"waiting": state.waiting, "in_flight": state.in_flight}
        )

    def trigger(self, context: Context, *, ends_at: float) -> QueueWorkTrigger:
        """Return what waits in the triggerer."""
        del context
        return QueueWorkTrigger(
            queue_url=self.queue_url, conn_id=self.conn_id, poke_interval=self.poke_interval, ends_at=ends_at
        )

    def nothing_found(self) -> str:
        """Return what to say when the time is up."""
        return f"no message in {self.queue_url}"

    def watched_dataset(self) -> tuple[str, str]:
        """Return the queue."""
        return queue_dataset_name(self.queue_url)
