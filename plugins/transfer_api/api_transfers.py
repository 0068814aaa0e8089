"""/transfers: runs are started, listed, looked at, cancelled and run again."""

from __future__ import annotations

import hashlib
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Response

from skyferry.errors import AirflowRefusedError, AirflowUnreachableError, UnknownRunError
from skyferry.history.run_control import cancel_run, retry_run, start_run
from skyferry.history.run_progress import ProgressReader
from skyferry.history.transfer_run import ON_DEMAND_DAG_ID, ROUTE_DAG_PREFIX, TransferRun, is_transfer_dag
from skyferry.run_objects import BEGINNING
from transfer_api.api_caller import Caller, SignedIn
from transfer_api.api_history import CallerHistory
from transfer_api.api_models import (
    DagId,
    Limit,
    ObjectList,
    RunDetail,
    RunId,
    RunList,
    RunSummary,
    RunToRetry,
    TransferToStart,
)
from transfer_api.api_problems import ProblemError, responses
from transfer_api.api_threads import in_thread

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi

router = APIRouter(prefix="/transfers", tags=["transfers"])

_KEY_RUN_PREFIX = "rest__"
_MAX_ID = 200

_starting = threading.Lock()
"""Held while a run is started for a key, so that repeats at the same time find it."""

DagInPath = Annotated[DagId, Path()]
RunInPath = Annotated[RunId, Path()]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Any text of yours. A repeat with the same key returns the run of the first request, and starts"
        " none; with other parameters it is refused.",
    ),
]


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": RunSummary, "description": "The run that this key started earlier"},
        **responses(404, 409),
    },
    summary="Start a transfer",
)
async def start_transfer(
    caller: SignedIn, body: TransferToStart, response: Response, idempotency_key: IdempotencyKey = None
) -> RunSummary:
    """Start a run of a route, or of a transfer that the parameters describe in full."""
    run_id = _run_id(caller, idempotency_key)
    run, is_new = await in_thread(lambda: _start(caller.airflow(), body, run_id))
    response.status_code = 201 if is_new else 200
    return RunSummary.of(run)


@router.get("", responses=responses(), summary="List the newest runs")
async def list_transfers(
    caller: SignedIn,
    route: Annotated[str, Query(max_length=_MAX_ID, description="Only runs of this route, or of this name.")] = "",
    since: Annotated[datetime | None, Query(description="Only runs that were to begin then or later.")] = None,
    limit: Annotated[Limit, Query()] = 20,
) -> RunList:
    """List runs with what they did, the newest first. Costs Airflow one request for each run."""
    runs = await in_thread(lambda: CallerHistory(caller).latest(limit=limit, route=route, since=since))
    return RunList(runs=[RunSummary.of(run) for run in runs])


@router.get("/{dag_id}/{run_id}", responses=responses(404), summary="Show a run")
async def get_transfer(caller: SignedIn, dag_id: DagInPath, run_id: RunInPath) -> RunDetail:
    """Show one run with its parameters, report, tasks and progress."""
    return await in_thread(lambda: _detail(CallerHistory(caller), dag_id, run_id))


@router.get("/{dag_id}/{run_id}/objects", responses=responses(404, 502), summary="List the objects of a run")
async def list_objects(
    caller: SignedIn,
    dag_id: DagInPath,
    run_id: RunInPath,
    *,
    outcome: Annotated[
        Literal["copied", "skipped", "refused", "failed", "deleted", "pending"] | None, Query(description="Only these.")
    ] = None,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[
        str, Query(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}$", description="`next_cursor` of the last answer.")
    ] = BEGINNING,
) -> ObjectList:
    """List what became of each object, from the records of the run, with reasons and proofs.

    A page may hold fewer objects than `limit`, even none, and still have a `next_cursor`.
    """
    from airflow_bridge.run_records import objects_of_run

    run = await in_thread(lambda: _run(CallerHistory(caller), dag_id, run_id))
    page = await in_thread(lambda: objects_of_run(run, outcome=outcome, limit=limit, cursor=cursor))
    return ObjectList.model_validate(page, from_attributes=True)


@router.post("/{dag_id}/{run_id}/cancel", responses=responses(404, 409), summary="Cancel a run")
async def cancel_transfer(caller: SignedIn, dag_id: DagInPath, run_id: RunInPath) -> RunSummary:
    """Stop a run. What was copied by then is whole, and stays."""

    def cancel() -> TransferRun:
        history = CallerHistory(caller)
        return cancel_run(history.api, _run(history, dag_id, run_id))

    return RunSummary.of(await in_thread(cancel))


@router.post("/{dag_id}/{run_id}/retry", responses=responses(404, 409), summary="Run a run again")
async def retry_transfer(caller: SignedIn, dag_id: DagInPath, run_id: RunInPath, body: RunToRetry) -> RunSummary:
    """Let a finished run run again under its id; what was copied is not copied again."""

    def retry() -> TransferRun:
        history = CallerHistory(caller)
        return retry_run(history.api, _run(history, dag_id, run_id), failed_only=body.only_failed)

    return RunSummary.of(await in_thread(retry))


def _run_id(caller: Caller, key: str | None) -> str | None:
    """Return the run id of a caller's key: the same for each repeat, and nobody else's."""
    if key is None:
        return None
    return _KEY_RUN_PREFIX + hashlib.sha256(f"{caller.name}\n{key}".encode()).hexdigest()[:32]


def _start(airflow: AirflowApi, body: TransferToStart, run_id: str | None) -> tuple[TransferRun, bool]:
    conf = body.parameters
    if run_id is None:
        return start_run(airflow, conf, unpause=body.unpause), True
    with _starting:
        earlier = _earlier(airflow, conf, run_id)
        if earlier is not None:
            return earlier, False
        try:
            return start_run(airflow, conf, unpause=body.unpause, run_id=run_id), True
        except (AirflowRefusedError, AirflowUnreachableError):
            # Another process of the API server may have been quicker, or the answer was lost.
            earlier = _earlier(airflow, conf, run_id)
            if earlier is None:
                raise
            return earlier, False


def _earlier(airflow: AirflowApi, conf: dict[str, object], run_id: str) -> TransferRun | None:
    """Return the run a key has started, if it has.

    Raises:
        ProblemError: It was started with other parameters.
    """
    for dag_id in (f"{ROUTE_DAG_PREFIX}{conf.get('id', '')}", ON_DEMAND_DAG_ID):
        try:
            run = airflow.run(dag_id, run_id)
        except UnknownRunError:
            continue
        if airflow.conf(dag_id, run_id) != conf:
            raise ProblemError(
                422,
                f'this Idempotency-Key started the run "{run_id}" with other parameters; nothing was started',
                code="IdempotencyKeyReused",
            )
        return run
    return None


def _run(history: CallerHistory, dag_id: str, run_id: str) -> TransferRun:
    if not is_transfer_dag(dag_id):
        raise UnknownRunError(f'"{dag_id}" is no DAG of transfers')
    return history.with_report(history.api.run(dag_id, run_id))


def _detail(history: CallerHistory, dag_id: str, run_id: str) -> RunDetail:
    from airflow_bridge.run_records import local_records_folder

    run, airflow = _run(history, dag_id, run_id), history.api
    progress = ProgressReader(airflow, run, records=local_records_folder()).read()
    return RunDetail.assembled(
        run, parameters=airflow.conf(dag_id, run_id), progress=progress, tasks=airflow.tasks(dag_id, run_id)
    )
