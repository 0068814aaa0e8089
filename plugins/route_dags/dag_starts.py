"""What starts a route's DAGs: the argument `schedule` of a DAG, and the sensor that comes first where one is needed.

| schedule in the route | the DAG's schedule | first task |
|---|---|---|
| event | an asset that a trigger rings, or the backstop's times | |
| @continuous | @continuous | a sensor, waiting in the triggerer |
| cron, preset, none | the same | |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable

from airflow_bridge.route_watch import watch_of_route
from skyferry.route_detection import DetectQueue
from skyferry.route_schedule import CONTINUOUS, EVENT

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger

    from sensors.waiting_sensor import WaitingSensor
    from skyferry.queue_groups import QueueGroup
    from skyferry.routes import Route

DETECT_TASK_ID = "detect"
_LONGEST_WAIT = timedelta(hours=1)
"""After this time a waiting run goes on although nothing was noticed; its backstop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DagStart:
    """What starts a DAG.

    Attributes:
        schedule: For the DAG's argument of that name.
        sensor: Makes the first task, inside the DAG; None where there is none.
    """

    schedule: Any = None
    sensor: Callable[[], WaitingSensor] | None = None


NOT_BY_ITSELF = DagStart()


def start_of_transfers(dag_id: str, route: Route) -> DagStart:
    """Return what starts the runs of a route that list its source.

    A route that reads a queue is listed at its `reconcile` times only.
    """
    detect = route.detect
    if detect is None or isinstance(detect, DetectQueue) or route.schedule not in (EVENT, CONTINUOUS):
        return DagStart(schedule=route.listing_times)
    # Here, so that routes without a sensor or trigger of their own cost no import.
    from sensors.source_sensor import SourceSensor
    from triggers.source_events_trigger import SourceEventsTrigger

    watch = watch_of_route(route, detect)
    if route.schedule == CONTINUOUS:
        seen = Asset(_asset_name(dag_id))
        return DagStart(
            schedule=CONTINUOUS,
            sensor=lambda: SourceSensor(watch=watch, asset=seen, **_waiting(detect.poll_seconds)),
        )
    trigger = SourceEventsTrigger(watch=watch.to_json(), poke_interval=detect.poll_seconds)
    return DagStart(schedule=_rung_by(dag_id, trigger, backstop=route.backstop))


def start_of_consumption(dag_id: str, group: QueueGroup) -> DagStart:
    """Return what starts the runs that consume a queue."""
    from sensors.sqs_object_events import SqsObjectEventsSensor
    from triggers.queue_events_trigger import QueueEventsTrigger

    queue_url, conn_id, poll_seconds = group.detect.queue_url, group.conn_id, group.detect.poll_seconds
    if group.schedule == CONTINUOUS:
        return DagStart(
            schedule=CONTINUOUS,
            sensor=lambda: SqsObjectEventsSensor(queue_url=queue_url, conn_id=conn_id, **_waiting(poll_seconds)),
        )
    if group.schedule == EVENT:
        trigger = QueueEventsTrigger(queue_url=queue_url, conn_id=conn_id, poll_seconds=poll_seconds)
        return DagStart(schedule=_rung_by(dag_id, trigger, backstop=group.backstop))
    return DagStart(schedule=group.schedule)


def _rung_by(dag_id: str, trigger: BaseEventTrigger, *, backstop: str) -> AssetOrTimeSchedule:
    """Return the schedule of a DAG that a trigger rings, through an asset that belongs to this DAG alone.

    Airflow runs an asset's triggers while a DAG that is scheduled on the asset is switched on.
    """
    name = _asset_name(dag_id)
    return AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(backstop, timezone="UTC"),
        assets=[Asset(name, watchers=[AssetWatcher(name=name, trigger=trigger)])],
    )


def _waiting(poll_seconds: int) -> dict[str, Any]:
    """Return the arguments of a sensor that waits in the triggerer, and in runs that nobody started only."""
    return {
        "task_id": DETECT_TASK_ID,
        "deferrable": True,
        "poke_interval": poll_seconds,
        "timeout": _LONGEST_WAIT,
        "manual_runs_wait": False,
        "done_after_timeout": True,
    }


def _asset_name(dag_id: str) -> str:
    return f"{dag_id}.detect"
