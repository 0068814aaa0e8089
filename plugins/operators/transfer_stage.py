"""What the tasks of a transfer have in common: one call of the library, stoppable, and failing with one message."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseOperator, get_current_context

from airflow_bridge.index_upkeep import keep_indexes
from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.transfer_lineage import Flow, flow_of, lineage_of
from airflow_bridge.transfer_setup import TransferSetup, places_of_run, setup_from_run
from operators.transfer_links import ObjectsLink, TransferLink
from skyferry.errors import TransferError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.index_upkeep import IndexUse
    from airflow_bridge.queue_setup import QueueSetup
    from airflow_bridge.store_opener import PreparedStores
    from airflow_bridge.transfer_lineage import Lineage
    from skyferry.lineage import TransferFacet
    from skyferry.receipts_index.indexing import Indexing

PLAN_TASK_ID = "plan"
COPY_TASK_ID = "copy"
REPORT_TASK_ID = "report"
REQUEST_KEY = "request"
"""XCom of the plan: the request all later stages of the run go by."""
FAILURE_KEY = "failure"
"""XCom of a plan that failed: why, in one sentence, for the report."""

_Result = TypeVar("_Result")


class TransferStageOperator(BaseOperator):
    """One stage of a transfer.

    Nothing is templated: parameters may hold names of objects, and those are data, never code.

    Args:
        route_id: The route this DAG belongs to; None for the on-demand DAG.
    """

    template_fields: Sequence[str] = ()
    operator_extra_links = (TransferLink(), ObjectsLink())

    def __init__(self, *, route_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.route_id = route_id
        self._runner: StageRunner | None = None
        self._flows: Sequence[Flow] = ()
        self._facet: TransferFacet | None = None

    def execute(self, context: Context) -> Any:
        """Run the stage; raises `StageFailed`, already logged, for everything that was foreseen."""
        with failing_plainly(self.log):
            return self.run_stage(context)

    @abstractmethod
    def run_stage(self, context: Context) -> Any:
        """Do the stage's work and return what later stages get."""

    def on_kill(self) -> None:
        """Stop the stage: what is under way is cancelled and cleaned up; no destination key shows half an object."""
        if self._runner is not None:
            self._runner.stop()

    def run_coroutine(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Return the result of the library call this stage is made of."""
        self._runner = StageRunner()
        return self._runner.run(coroutine)

    def transfer_of(self, context: Context) -> TransferSetup:
        """Return the transfer of this run, by the request its plan went by once there is one."""
        pinned = None if self.task_id == PLAN_TASK_ID else self.pinned_request(context)
        return setup_from_run(context["dag_run"], route_id=self.route_id, pinned_request=pinned)

    def pinned_request(self, context: Context) -> dict[str, Any] | None:
        """Return the request the plan left; None when the plan did not get that far."""
        pinned: dict[str, Any] | None = context["ti"].xcom_pull(task_ids=PLAN_TASK_ID, key=REQUEST_KEY)
        return pinned

    def keep_indexes(
        self, uses: Sequence[IndexUse], setup: TransferSetup | QueueSetup, stores: PreparedStores
    ) -> Indexing:
        """Write receipts that are on record to the indexes of the run's routes, as far as those take them."""
        done = keep_indexes(uses, setup, stores, self.run_coroutine)
        if done.left:
            self.log.warning("%s", done.text)
        return done

    def remember_lineage(self, flows: Sequence[Flow], facet: TransferFacet | None = None) -> None:
        """Keep what this stage reads and writes, for the moment the OpenLineage provider asks."""
        self._flows = flows
        self._facet = facet

    def get_openlineage_facets_on_start(self) -> Lineage:
        """Return the folders the stage is about to read and write.

        Those of Azure are told at the end: their names need the connection, and asking for it here would let a lineage
        backend that hangs break the task's talk with Airflow.
        """
        return lineage_of(self.flows_at_start())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage:
        """Return what the stage read and wrote."""
        del task_instance
        return lineage_of(self._flows, facet=self._facet)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Lineage:
        """Return what the stage really read and wrote before it failed or was stopped."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def flows_at_start(self) -> Sequence[Flow]:
        """Return what can be known from the run's conf; nothing when that is wrong."""
        try:
            source, destination = places_of_run(get_current_context()["dag_run"], route_id=self.route_id)
        except TransferError:
            return ()
        return (flow_of(source, destination, stores=None),)
