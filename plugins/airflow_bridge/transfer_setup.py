"""What a stage of a transfer has to know, worked out from its DAG run: request, run, places and their connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_bridge.index_upkeep import IndexUse, index_use
from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse, check_connection_allowed
from skyferry.defaults import Defaults, check_local_root, load_defaults
from skyferry.errors import RequestError, UnknownRouteError
from skyferry.handover import NO_HANDOVER, Handover
from skyferry.notify.notifier import NotifierOpener
from skyferry.request import DEFAULT_CONN_IDS, TransferRequest, params_defaults, request_from_conf
from skyferry.routes import Route, find_route
from skyferry.state import Run

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

_KEY_FIELDS = ("data", "include", "exclude")
"""The parameters that may hold names of objects."""

_HANDOVER_FIELD = "handover"
"""Beside the parameters in a pinned request; a conf that holds it is refused, as every unknown name is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSetup:
    """One transfer, ready for its stages.

    Attributes:
        is_reconciliation: A queue feeds the route, and this run lists the route's own source.
        index: Where the route has its receipts too.
    """

    request: TransferRequest
    run: Run
    source: StoreUse
    destination: StoreUse
    state: StoreUse
    known_connections: tuple[str, ...]
    is_reconciliation: bool = False
    handover: Handover = NO_HANDOVER
    index: IndexUse | None = None

    @property
    def records_url(self) -> str:
        """URL of the folder with the records of this run."""
        return f"{self.state.location.url.rstrip('/')}/{self.run.folder}"

    def prepare_stores(self) -> PreparedStores:
        """Return what opens this transfer's stores; asks Airflow for connections, so call it outside the event loop."""
        return PreparedStores(
            (self.source, self.destination, self.state),
            known_connections=self.known_connections,
            max_objects_in_flight=self.request.max_objects_in_flight,
        )

    def pinned_request(self) -> dict[str, Any]:
        """Return the request for the later stages of this run, whatever becomes of the route file meanwhile.

        It holds no key (XComs are shown, and rendered): only the plan needs to know which objects.
        """
        values = {name: value for name, value in self.request.to_conf().items() if name not in _KEY_FIELDS}
        return {**values, _HANDOVER_FIELD: self.handover.model_dump(mode="json")}

    def notifier_opener(self) -> NotifierOpener | None:
        """Return what opens the notifier of this transfer; None when nobody is told. As `prepare_stores`."""
        notify = self.handover.notify
        if notify is None:
            return None
        from airflow_bridge.queue_notifying import NotifierAccess

        is_in_s3 = self.destination.location.kind == "s3"
        own_conn_id = self.destination.conn_id if is_in_s3 else DEFAULT_CONN_IDS["s3"]
        return NotifierAccess(notify, conn_id=notify.conn_id or own_conn_id).open


def setup_from_run(
    dag_run: DagRunProtocol, *, route_id: str | None, pinned_request: Mapping[str, Any] | None = None
) -> TransferSetup:
    """Work out the transfer of a DAG run, and check that it may use the connections and folders it names.

    Args:
        route_id: The route of the DAG; None for the on-demand DAG, whose `id` may name one.
        pinned_request: What the run's plan went by; None for the plan itself.

    Raises:
        RequestError: A parameter is wrong, or a local folder lies outside the allowed roots.
        UnknownRouteError: The request leaves source or destination to a route that does not exist.
        ConnectionConfigError: A connection may not be used for its place.
    """
    defaults = load_defaults()
    conf = dag_run.conf or {}
    route = route_of_conf(conf, route_id)
    request, handover = _of_conf(conf, route) if pinned_request is None else _of_pinned(pinned_request)
    route_uses = uses_of(route.request()) if route else ()
    source, destination = allowed_uses(request, route_uses=route_uses, defaults=defaults)
    for location in handover.folders:
        _check_folder(StoreUse(what="source", location=location, conn_id=""), defaults)
    return TransferSetup(
        request=request,
        run=run_of(dag_run, route=request.id),
        source=source,
        destination=destination,
        state=state_use(defaults),
        known_connections=(*defaults.connections, *(use.conn_id for use in route_uses)),
        handover=handover,
        index=index_use(route, request),
        is_reconciliation=route is not None and route.queue is not None and request.source == route.source.url,
    )


def allowed_uses(
    request: TransferRequest, *, route_uses: Sequence[StoreUse], defaults: Defaults
) -> tuple[StoreUse, StoreUse]:
    """Return the source and the destination of a request, once it is sure that it may use them.

    Raises:
        RequestError: A local folder lies outside the allowed roots.
        ConnectionConfigError: A connection may not be used for its place.
    """
    source, destination = uses_of(request)
    for use in (source, destination):
        check_connection_allowed(use, allowed=defaults.connections, route_uses=route_uses)
        _check_folder(use, defaults)
    return source, destination


def run_of(dag_run: DagRunProtocol, *, route: str) -> Run:
    """Return which run a DAG run is to the library."""
    started_at = (dag_run.start_date or dag_run.run_after).isoformat()
    return Run(dag_id=dag_run.dag_id, run_id=dag_run.run_id, route=route, started_at=started_at)


def _of_conf(conf: Mapping[str, Any], route: Route | None) -> tuple[TransferRequest, Handover]:
    """Return the request of a conf, and what its route does beside the copy: with its own places, and no others."""
    request = request_of_conf(conf, route)
    handover = route.handover() if route else NO_HANDOVER
    if route is None or handover == NO_HANDOVER:
        return request, NO_HANDOVER
    own = route.request()
    for name in ("source", "source_conn_id", "destination", "destination_conn_id"):
        if getattr(request, name) != getattr(own, name):
            raise RequestError(
                f'{name} is not that of the route "{route.id}", which claims files, sets them aside or tells a queue'
                " of them in its own places only",
                hint=f"leave {name} out, or transfer without the route; nothing was changed",
            )
    return request, handover


def _of_pinned(values: Mapping[str, Any]) -> tuple[TransferRequest, Handover]:
    parameters = {name: value for name, value in values.items() if name != _HANDOVER_FIELD}
    return request_from_conf(parameters), Handover.model_validate(values.get(_HANDOVER_FIELD, {}))


def places_of_run(dag_run: DagRunProtocol, *, route_id: str | None) -> tuple[StoreUse, StoreUse]:
    """Return source and destination of a DAG run by its conf alone; asks nobody, and checks nothing else.

    Raises:
        TransferError: The conf holds no valid request; the plan will say so.
    """
    conf = dag_run.conf or {}
    return uses_of(request_of_conf(conf, route_of_conf(conf, route_id)))


def request_of_conf(conf: Mapping[str, Any], route: Route | None) -> TransferRequest:
    """Return the request of a conf, with the route's values where the conf has none; null counts as none.

    Raises:
        RequestError: A parameter is wrong, missing or unknown.
    """
    given = {name: value for name, value in conf.items() if value is not None}
    base = dict(route.request().to_conf()) if route else {}
    for side in ("source", "destination"):
        # Another kind of store needs another connection than the route's.
        if side in given and base and _scheme(given[side]) != _scheme(base[side]):
            del base[f"{side}_conn_id"]
    return request_from_conf(base | given)


def route_of_conf(conf: Mapping[str, Any], route_id: str | None) -> Route | None:
    """Return the route of the DAG, or the one the conf's `id` names; None for a request that stands on its own.

    Raises:
        UnknownRouteError: The conf leaves source or destination to a route that does not exist.
    """
    named = route_id or conf.get("id")
    if not isinstance(named, str):
        return None
    try:
        return find_route(named)
    except UnknownRouteError:
        # An id is also just a name, as long as the request says by itself what to do. The name that the form fills in
        # was not meant for a route, so what lacks is source or destination.
        is_by_form = named == params_defaults()["id"]
        if route_id or not (is_by_form or (conf.get("source") and conf.get("destination"))):
            raise
        return None


def _scheme(url: object) -> str:
    return str(url).partition("://")[0]


def uses_of(request: TransferRequest) -> tuple[StoreUse, StoreUse]:
    """Return the source and the destination of a request."""
    return (
        StoreUse(what="source", location=request.source_location, conn_id=request.source_conn_id),
        StoreUse(what="destination", location=request.destination_location, conn_id=request.destination_conn_id),
    )


def _check_folder(use: StoreUse, defaults: Defaults) -> None:
    if use.location.kind != "file":
        return
    try:
        check_local_root(use.location.bucket, defaults.local_roots)
    except RequestError as error:
        raise RequestError(f"{use.what}: {error.message}", hint=error.hint) from error
