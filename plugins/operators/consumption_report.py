"""The last task of a queue's run: adds up what its consumers did for people, history and lineage, with the last word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_bridge.transfer_lineage import dataset_name, no_lineage, transfer_lineage
from airflow_bridge.transfer_tables import report_lines
from operators.transfer_report import RETURN_KEY
from operators.transfer_stage import TransferStageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.queue_setup import QueueSetup
    from airflow_bridge.store_opener import PreparedStores
    from airflow_bridge.transfer_lineage import Lineage
    from skyferry.report import Report


class ReportConsumptionOperator(TransferStageOperator):
    """Reports on the consumers of a run, whatever became of them; see `skyferry.queue_stages.report_consumption`.

    Fails when an object was not copied, when deletions were held back, and when a consumer did not come to its end; so
    it decides the state of the run. The report is this task's XCom, also when it fails. Its trigger rule is
    `none_skipped`: when nothing came and the consumers were skipped, there is nothing to report.

    Args:
        route_ids: The routes that are fed by the queue.
        queue_url: URL of the queue.
        consumers: How many consumers the run has: the report misses those that never began.
    """

    def __init__(self, *, route_ids: Sequence[str], queue_url: str, consumers: int = 1, **kwargs: Any) -> None:
        super().__init__(**{"trigger_rule": "none_skipped", **kwargs})
        self.route_ids = route_ids
        self.queue_url = queue_url
        self.consumers = consumers
        self._lineage: Lineage | None = None

    def run_stage(self, context: Context) -> dict[str, Any]:
        from airflow_bridge.queue_setup import queue_setup_from_run
        from skyferry.queue_stages import report_consumption

        setup = queue_setup_from_run(context["dag_run"], route_ids=self.route_ids, queue_url=self.queue_url)
        stores = setup.prepare_stores()
        coroutine = report_consumption(
            setup.routes,
            run=setup.run,
            open_store=stores,
            state=setup.state.location,
            state_conn_id=setup.state.conn_id,
            consumers=self.consumers,
        )
        report = self.run_coroutine(coroutine)
        self._lineage = _lineage(setup, stores, report)
        for line in report_lines(report):
            self.log.info("%s", line)
        if report.state != "success":
            # A task that fails has no result; the report must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=report.to_json())
        report.raise_if_incomplete()
        return report.to_json()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage:
        """Return what the run read and wrote."""
        return self._lineage or no_lineage()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Lineage:
        """Return what the run read and wrote before it failed."""
        return self._lineage or no_lineage()


def _lineage(setup: QueueSetup, stores: PreparedStores, report: Report) -> Lineage:
    """Return the lineage of all routes, each with its own numbers."""
    lineage = no_lineage()
    for route, (source, destination) in zip(setup.routes, setup.places, strict=True):
        part = transfer_lineage(
            dataset_name(source.location, account_name=stores.account_name(source)),
            dataset_name(destination.location, account_name=stores.account_name(destination)),
            report=report.by_route[route.id],
        )
        lineage.inputs.extend(part.inputs)
        lineage.outputs.extend(part.outputs)
    return lineage
