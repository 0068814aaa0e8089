"""The one task of the maintenance: removes unfinished uploads that nobody goes on with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse, check_connection_allowed
from airflow_bridge.transfer_setup import uses_of
from operators.transfer_report import RETURN_KEY
from skyferry.defaults import Defaults, check_local_root, load_defaults
from skyferry.errors import TransferError
from skyferry.routes import Route, find_route, load_routes
from skyferry.urls import Location, parse_location

if TYPE_CHECKING:
    from airflow.sdk import Context

    from skyferry.upload_cleanup import Abandoned, Cleanup
    from skyferry.upload_records import FoundUpload

ROUTE_PARAM = "id"
URL_PARAM = "url"
AGE_PARAM = "older_than_seconds"
DRY_RUN_PARAM = "dry_run"

_LIVE_STATES = ("running", "queued")
_CONNECTIONS_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is to be cleaned."""

    routes: tuple[Route, ...]
    below: str
    older_than_seconds: int
    dry_run: bool


class CleanUploadsOperator(BaseOperator):
    """Removes unfinished uploads older than the parameter `older_than_seconds`, never those of a run that is not over.

    A record names the connection of its upload; that is used only where a request or a route may use it for this place
    today. What it may not open, or cannot end, is a problem by itself, and the task fails when all others are gone.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._runner: StageRunner | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the clean; raises `StageFailed`, already logged, for everything that was foreseen."""
        with failing_plainly(self.log):
            return self._clean(context)

    def on_kill(self) -> None:
        """Stop; what was removed is removed, and the rest waits for the next clean."""
        if self._runner is not None:
            self._runner.stop()

    def _clean(self, context: Context) -> dict[str, Any]:
        from skyferry.upload_cleanup import find_abandoned, remove_abandoned, spare_live

        wanted, defaults = _wanted(context["params"]), load_defaults()
        state = state_use(defaults)
        find = find_abandoned(
            _prepared(state),
            state.location,
            state.conn_id,
            older_than_seconds=wanted.older_than_seconds,
            below=wanted.below,
        )
        abandoned = self._run(find)
        spare_live(abandoned, lambda dag_id, run_id: _is_live(context, dag_id, run_id))
        cleanup: Cleanup = self._run(
            remove_abandoned(
                abandoned,
                _prepared(state, *_allowed(abandoned, wanted.routes, defaults)),
                state.location,
                state.conn_id,
                folders=[Path(one.bucket) for one in _folders(wanted, defaults)],
                older_than_seconds=wanted.older_than_seconds,
                dry_run=wanted.dry_run,
            )
        )
        self._log_cleanup(cleanup)
        if cleanup.state != "success":
            # A task that fails has no result; it must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=cleanup.to_json())
        cleanup.raise_if_failed()
        return cleanup.to_json()

    def _run(self, coroutine: Any) -> Any:
        self._runner = StageRunner()
        return self._runner.run(coroutine)

    def _log_cleanup(self, cleanup: Cleanup) -> None:
        self.log.info(
            "%d unfinished uploads: %d %s, %d too young, %d of runs that are not over; %d files without a record",
            cleanup.uploads_found, cleanup.uploads_removed, "to remove" if cleanup.dry_run else "removed",
            cleanup.uploads_young, cleanup.uploads_live, cleanup.files_removed,
        )  # fmt: skip
        for text in cleanup.problems:
            self.log.warning("%s", text)


def _wanted(params: Any) -> _Wanted:
    route_id = str(params[ROUTE_PARAM] or "")
    routes = (find_route(route_id),) if route_id else tuple(load_routes()[0])
    below = str(params[URL_PARAM] or "")
    if below:
        below = parse_location(below, what=URL_PARAM).url
    elif route_id:
        below = routes[0].request().destination_location.url
    return _Wanted(
        routes=routes,
        below=below,
        older_than_seconds=int(params[AGE_PARAM]),
        dry_run=bool(params[DRY_RUN_PARAM]),
    )


def _prepared(*uses: StoreUse) -> PreparedStores:
    known = {use.conn_id for use in uses}
    return PreparedStores(uses, known_connections=sorted(known), max_objects_in_flight=_CONNECTIONS_AT_ONCE)


def _is_live(context: Context, dag_id: str, run_id: str) -> bool:
    """Ask Airflow; a run it does not know any more is over."""
    try:
        return str(context["ti"].get_dagrun_state(dag_id=dag_id, run_id=run_id)) in _LIVE_STATES
    except Exception:  # noqa: BLE001 - the answer to an unknown run is an error of Airflow's own, of no certain class
        return False


def _allowed(abandoned: Abandoned, routes: tuple[Route, ...], defaults: Defaults) -> list[StoreUse]:
    """Return the places of the uploads that may be opened; the others become problems."""
    route_uses = [use for route in routes for use in uses_of(route.request())]
    uses: list[StoreUse] = []
    allowed: list[FoundUpload] = []
    for upload in abandoned.due:
        try:
            uses.append(_use(upload, route_uses, defaults))
            allowed.append(upload)
        except TransferError as error:
            abandoned.problems.append(str(error))
    abandoned.due = allowed
    return uses


def _use(upload: FoundUpload, route_uses: list[StoreUse], defaults: Defaults) -> StoreUse:
    from skyferry.upload_cleanup import bucket_of

    bucket = bucket_of(upload)
    if bucket.kind == "file":
        check_local_root(bucket.bucket, defaults.local_roots)
    place = Location(bucket.kind, bucket.bucket, "" if bucket.kind == "file" else upload.record.key)
    use = StoreUse(what="destination", location=place, conn_id=upload.record.destination_conn_id)
    check_connection_allowed(use, allowed=defaults.connections, route_uses=route_uses)
    return use


def _folders(wanted: _Wanted, defaults: Defaults) -> Iterator[Location]:
    """Yield the local destinations in which partial files are looked for."""
    places = [route.request().destination_location for route in wanted.routes]
    if wanted.below.startswith("file:"):
        places = [parse_location(wanted.below)]
    for place in dict.fromkeys(places):
        if place.kind == "file" and place.url.startswith(wanted.below):
            check_local_root(place.bucket, defaults.local_roots)
            yield place
