"""The last task of a queue's run: adds up what its consumers did, and has the last word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_bridge.arrival_assets import announce_arrivals
from airflow_bridge.queue_setup import flows_of_routes, queue_setup_from_run
from airflow_bridge.report_asset import tell_report
from airflow_bridge.transfer_lineage import flow_of
from airflow_bridge.transfer_metrics import send_metrics
from airflow_bridge.transfer_tables import consumption_lines
from operators.transfer_report import RETURN_KEY
from operators.transfer_stage import TransferStageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.queue_setup import QueueSetup
    from airflow_bridge.store_opener import PreparedStores
    from airflow_bridge.transfer_lineage import Flow
    from skyferry.queue_report import ConsumptionReport


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

    def run_stage(self, context: Context) -> dict[str, Any]:
        from skyferry.queue_report import receipts_folder
        from skyferry.queue_stages import report_consumption

        setup = queue_setup_from_run(context["dag_run"], route_ids=self.route_ids, queue_url=self.queue_url)
        stores = setup.prepare_stores()
        # Before the report, so that it tells what consumers that died, or met a table that was down, left undone.
        indexes = [use.of(receipts_folder(use.place.route)) for use in setup.indexes]
        indexing = self.keep_indexes(indexes, setup, stores)
        coroutine = report_consumption(
            setup.routes,
            run=setup.run,
            open_store=stores,
            state=setup.state.location,
            state_conn_id=setup.state.conn_id,
            consumers=self.consumers,
            indexing=indexing,
        )
        report = self.run_coroutine(coroutine)
        self._remember(setup, stores, report)
        for share in (report.of_route(route.id) for route in setup.routes):
            send_metrics(share)
            # A task that fails announces nothing, whichever of its routes is to blame: the next run tells of it.
            announce_arrivals(context, replace(share, state=report.state))
        tell_report(context, report.to_json())
        for line in consumption_lines(report):
            self.log.info("%s", line)
        if report.state != "success":
            # A task that fails has no result; the report must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=report.to_json())
        report.raise_if_incomplete()
        return report.to_json()

    def flows_at_start(self) -> Sequence[Flow]:
        """Return the folders of the routes, as their files are now."""
        return flows_of_routes(self.route_ids)

    def _remember(self, setup: QueueSetup, stores: PreparedStores, report: ConsumptionReport) -> None:
        """Keep the lineage of all routes, each with its own numbers."""
        from skyferry.lineage import facet_of_report

        flows = [
            flow_of(source, destination, stores=stores, facet=facet_of_report(report.of_route(route.id)))
            for route, (source, destination) in zip(setup.routes, setup.places, strict=True)
        ]
        self.remember_lineage(flows, facet_of_report(report))
