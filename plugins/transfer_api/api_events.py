"""/events: somebody says that an object has arrived; the routes it belongs to are told to look.

An event is never more than a ring. Nothing of it reaches a run: the run lists its source, or receives from its queue,
and finds what there is. So a ring that is lost or doubled costs nothing, and whoever may ring can start a route and no
more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from fastapi import APIRouter, Request

from airflow_bridge.route_files import CONSUME_DAG_PREFIX, ROUTE_DAG_PREFIX
from skyferry.detect.object_records import ObjectRecord
from skyferry.detect.s3_events import parse_message
from skyferry.errors import AirflowRefusedError, UnknownRunError
from skyferry.history.airflow_api import AirflowApi
from skyferry.queue_groups import group_by_queue
from skyferry.routes import Route, load_routes
from transfer_api.api_caller import SignedIn
from transfer_api.api_models import EventAnswer, Ring
from transfer_api.api_problems import ProblemError, responses
from transfer_api.api_threads import in_thread

router = APIRouter(prefix="/events", tags=["events"])

_ARRIVALS = frozenset({"created", "restored"})
_ringing = threading.Lock()
"""Held from looking for a waiting run to starting one, so that a burst of events starts one run and not many."""


@router.post("", responses=responses(), summary="Ring for an object")
async def ring(caller: SignedIn, request: Request) -> EventAnswer:
    """Tell the routes that read from a bucket that an object has arrived there.

    The body is an event of S3 (as S3, SNS, SQS, MinIO or Ceph send it) or of EventBridge. Each route whose source and
    selection match starts a run, unless one is waiting to begin; for a route that a queue feeds, a run that consumes
    the queue, which copies what its messages tell of. Events of removed objects ring nothing.
    """
    message = parse_message(await request.body())
    if message.verdict == "poison":
        raise ProblemError(422, f"this is no event of S3: {message.reason}", code="UnreadableEvent")
    arrived = [record for record in message.records if record.kind in _ARRIVALS]
    routes, _ = await in_thread(load_routes)
    wanted = [route for route in routes if _concerns(route, arrived)]
    bells = {route.id: ROUTE_DAG_PREFIX + route.id for route in wanted}
    for queue in group_by_queue(routes)[0]:
        bells |= {route_id: CONSUME_DAG_PREFIX + queue.name for route_id in queue.route_ids if route_id in bells}
    rings = await in_thread(lambda: _ring_all(caller.airflow(), bells)) if wanted else []
    if rings and all(each.rung == "refused" for each in rings):
        details = tuple(f"{each.route}: {each.detail}" for each in rings)
        raise ProblemError(403, "no route was rung; " + "; ".join(details), code="Forbidden", problems=details)
    return EventAnswer(objects=len(arrived), rings=rings, reason="" if rings else _why_not(message.reason, arrived))


def _why_not(reason: str, arrived: list[ObjectRecord]) -> str:
    return "no route reads these objects" if arrived else reason or "the event tells of no object that has arrived"


def _concerns(route: Route, records: Iterable[ObjectRecord]) -> bool:
    request = route.request()
    source = request.source_location
    if source.kind != "s3":
        return False
    keys = (
        record.key.removeprefix(source.prefix)
        for record in records
        if record.bucket == source.bucket and record.key.startswith(source.prefix)
    )
    wanted = request.object_filter
    # An object of exactly this key counts, even if the key could also be read as a glob.
    return any(wanted.names(key) or (key == request.data and wanted.includes(key)) for key in keys)


def _ring_all(airflow: AirflowApi, bells: Mapping[str, str]) -> list[Ring]:
    """Ring for routes, by the DAGs that do their work."""
    visible = {dag.dag_id for dag in airflow.dags() if not dag.is_stale}
    with _ringing:
        return [_ring(airflow, route_id, dag_id) for route_id, dag_id in bells.items() if dag_id in visible]


def _ring(airflow: AirflowApi, route_id: str, dag_id: str) -> Ring:
    try:
        waiting = airflow.list_runs([dag_id], states=["queued"], newest_first=True, limit=1).runs
        if waiting:
            return Ring(route=route_id, dag_id=dag_id, rung="already_waiting", run_id=waiting[0].run_id, detail="")
        run = airflow.start(dag_id, {})
    except (AirflowRefusedError, UnknownRunError) as error:
        return Ring(route=route_id, dag_id=dag_id, rung="refused", run_id="", detail=str(error))
    return Ring(route=route_id, dag_id=dag_id, rung="started", run_id=run.run_id, detail="")
