"""The step `sqs`: sends the report of a transfer to a queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_bridge.stage_failure import failing_plainly
from operators.then_step import ThenStepMixin
from skyferry.then_steps import SqsStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class SendReportOperator(ThenStepMixin, BaseOperator):
    """Sends the report as one message of JSON, at least once; `run_id` and `route` in it tell repetitions apart."""

    def __init__(self, *, step: SqsStep, route_id: str, is_share: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.queue_url = step.queue_url
        self.conn_id = step.conn_id
        self.only_if_copied = step.only_if_copied
        self.route_id = route_id
        self.is_share = is_share

    def execute(self, context: Context) -> None:
        """Send; raises `StageFailed`, already logged, for everything that was foreseen."""
        # Here, because the scheduler reads this module for every route that has such a step.
        from airflow_bridge.queue_sending import send_to_queue

        report = self.report_of(context)
        with failing_plainly(self.log):
            send_to_queue(
                self.queue_url, conn_id=self.conn_id, named_by=f"then of {self.route_id}", body=json.dumps(report)
            )
        self.log.info("sent the report to %s", self.queue_url)
