"""What the tasks of a queue's DAG have to know: its routes, the run, and what opens the places of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_bridge.index_upkeep import IndexUse, index_use
from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from airflow_bridge.transfer_lineage import Flow, flow_of
from airflow_bridge.transfer_setup import allowed_uses, run_of, uses_of
from skyferry.defaults import load_defaults
from skyferry.detect.queue_route import QueueRoute
from skyferry.errors import RequestError, TransferError
from skyferry.handover import NO_HANDOVER
from skyferry.routes import Route, find_route
from skyferry.state import Run

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSetup:
    """The routes of one queue in one run, ready for its tasks.

    Attributes:
        places: Source and destination of each route, in their order.
        indexes: Of those routes that have one.
    """

    routes: tuple[QueueRoute, ...]
    run: Run
    places: tuple[tuple[StoreUse, StoreUse], ...]
    state: StoreUse
    known_connections: tuple[str, ...]
    indexes: tuple[IndexUse, ...] = ()

    @property
    def source_conn_id(self) -> str:
        """Connection of the first route's source."""
        return self.places[0][0].conn_id

    def prepare_stores(self) -> PreparedStores:
        """Return what opens all stores; asks Airflow for connections, so call it outside the event loop."""
        return PreparedStores(
            (*(use for uses in self.places for use in uses), self.state),
            known_connections=self.known_connections,
            max_objects_in_flight=max(route.request.max_objects_in_flight for route in self.routes),
        )


def queue_setup_from_run(dag_run: DagRunProtocol, *, route_ids: Sequence[str], queue_url: str) -> QueueSetup:
    """Work out what a run of a queue's DAG is about, by the route files as they are now.

    Raises:
        UnknownRouteError: One of the routes does not exist.
        RequestError: A route cannot be fed by a queue, or uses a folder outside the allowed roots.
        ConnectionConfigError: A connection may not be used for its place.
    """
    defaults = load_defaults()
    routes = [find_route(route_id) for route_id in route_ids]
    uses = [uses_of(route.request()) for route in routes]
    return QueueSetup(
        routes=tuple(_queue_route(route) for route in routes),
        run=run_of(dag_run, route=queue_url.rpartition("/")[2]),
        places=tuple(
            allowed_uses(route.request(), route_uses=own, defaults=defaults)
            for route, own in zip(routes, uses, strict=True)
        ),
        state=state_use(defaults),
        known_connections=(*defaults.connections, *(use.conn_id for own in uses for use in own)),
        indexes=tuple(use for use in (index_use(route, route.request()) for route in routes) if use is not None),
    )


def flows_of_routes(route_ids: Sequence[str]) -> tuple[Flow, ...]:
    """Return what the routes read and write, as their files are now; asks nobody. Nothing when one of them is wrong."""
    try:
        uses = [uses_of(find_route(route_id).request()) for route_id in route_ids]
    except TransferError:
        return ()
    return tuple(flow_of(source, destination, stores=None) for source, destination in uses)


def _queue_route(route: Route) -> QueueRoute:
    if route.handover() != NO_HANDOVER:
        raise RequestError(
            f'the route "{route.id}" has destination.notify, which a route that is fed by a queue cannot do yet',
            hint="leave it out; nothing was received",
        )
    return QueueRoute(request=route.request(), mirror_deletes=route.mirror_deletes, max_deletes=route.max_deletes)
