"""The asset of a route: DAGs that are scheduled on it run when something new has arrived at the route's destination.

Its event carries the numbers of the report, and no name of an object; `records` leads to the receipts. Nothing is
announced for a run that copied nothing, that failed, or that wrote somewhere else than the route does. What a failed
run copied is announced by the route's next run that succeeds, whether or not that one copies anything itself. A
finished run that is cleared announces what it copied again, with the same `run_id`.

An outlet that is an asset gets an event whenever its task succeeds; an alias only when one is added. So the outlet is
an alias, and the asset an inlet, which makes it known to Airflow before its first event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_bridge.report_asset import find_outlet, report_outlet, without_names
from skyferry.errors import TransferError
from skyferry.routes import find_route

if TYPE_CHECKING:
    from airflow.sdk import Context

    from skyferry.report import Report

_SUFFIX = ".arrivals"
_UNANNOUNCED_KEY = "skyferry-unannounced"
_MAX_UNANNOUNCED = 50


def arrival_asset(route_id: str) -> Asset:
    """Return the asset of a route; its name depends on nothing but the route's id."""
    return Asset(f"transfer__{route_id}.arrived")


def arrival_links(dag_id: str, route_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Return the inlets and outlets of a report.

    Args:
        route_ids: Routes the DAG always serves; a DAG may serve others, if a request names them.
    """
    return {
        "inlets": [arrival_asset(route_id) for route_id in route_ids],
        "outlets": [AssetAlias(f"{dag_id}{_SUFFIX}"), report_outlet(dag_id)],
    }


def announce_arrivals(context: Context, report: Report) -> bool:
    """Add an asset event to the running task for what a run brought to its route's destination; see above.

    Returns whether there was something to announce.

    Args:
        context: Of a task that has the links of `arrival_links`; for any other task nothing is announced.
    """
    if not _is_at_the_route_s_destination(report):
        return False
    outlet = find_outlet(context, suffix=_SUFFIX)
    if outlet is None:
        return False
    asset = arrival_asset(report.route)
    missed = _Unannounced(context, asset)
    if report.state != "success":
        missed.keep(report)
        return False
    earlier = missed.before(report.run_id)
    if not (report.objects_copied or earlier):
        return False
    extra = without_names(report.to_json()) | {"failed_runs_before": earlier}
    context["outlet_events"][outlet].add(asset, extra=extra)
    missed.forget()
    return True


def _is_at_the_route_s_destination(report: Report) -> bool:
    try:
        return find_route(report.route).request().destination == report.destination
    except TransferError:
        return False  # the id of a request that stands on its own


class _Unannounced:
    """What failed runs copied, kept in the asset's state until it is announced."""

    def __init__(self, context: Context, asset: Asset) -> None:
        # A task has the state of its inlets only; the on-demand DAG knows no route beforehand.
        self._state: Any = context["asset_state_store"][asset] if asset in context["task"].inlets else None

    def keep(self, report: Report) -> None:
        if self._state is None or not report.objects_copied:
            return
        kept = {name: getattr(report, name) for name in ("run_id", "objects_copied", "bytes_copied", "records")}
        self._state.set(_UNANNOUNCED_KEY, [*self.before(report.run_id), kept][-_MAX_UNANNOUNCED:])

    def before(self, run_id: str) -> list[Mapping[str, Any]]:
        """Return what other runs than this one have kept."""
        kept = self._state.get(_UNANNOUNCED_KEY, []) if self._state is not None else []
        return [one for one in kept or [] if one["run_id"] != run_id]

    def forget(self) -> None:
        if self._state is not None:
            self._state.delete(_UNANNOUNCED_KEY)
