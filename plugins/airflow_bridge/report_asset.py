"""The asset of reports: a run that ends well and announces no arrival leaves its report there, as an event.

Airflow gives values of XCom one at a time, and asset events a hundred at a time, so this is how the history of many
runs is read quickly. A report that is an event of a route's asset (`airflow_bridge.arrival_assets`) is not told twice.
The report of a run that consumed a queue is told here as a whole, beside the shares of its routes. A task that fails
has no events: reports of failed runs are read one by one.

An event names no object, as those of arrivals do not. It is one row in Airflow's table of asset events, which
`airflow db clean` cleans with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from skyferry.history.transfer_run import REPORTED_ASSET

if TYPE_CHECKING:
    from airflow.sdk import Context

_SUFFIX = ".reports"
_LEFT_OUT = ("problems",)
"""Fields of a report that name objects."""


def report_outlet(dag_id: str) -> AssetAlias:
    """Return the outlet of a report that may be told; an alias, because an asset would get an event each time."""
    return AssetAlias(f"{dag_id}{_SUFFIX}")


def tell_report(context: Context, report: Mapping[str, Any]) -> None:
    """Add an asset event with the report to the running task, if the task has the outlet and the report is a success.

    Args:
        report: As JSON.
    """
    outlet = find_outlet(context, suffix=_SUFFIX)
    if report["state"] == "success" and outlet is not None:
        context["outlet_events"][outlet].add(Asset(REPORTED_ASSET), extra=without_names(report))


def find_outlet(context: Context, *, suffix: str) -> AssetAlias | None:
    """Return the outlet of the running task that is an alias whose name ends so; None if it has none."""
    aliases = (outlet for outlet in context["task"].outlets if isinstance(outlet, AssetAlias))
    return next((alias for alias in aliases if alias.name.endswith(suffix)), None)


def without_names(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report without what names objects."""
    return {name: value for name, value in report.items() if name not in _LEFT_OUT}
