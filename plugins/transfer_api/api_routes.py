"""/routes: the route files, beside what Airflow has made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response

from airflow_bridge.route_files import ROUTE_DAG_PREFIX
from skyferry.history.airflow_api import TransferDagInfo
from skyferry.route_registration import check_route, register_route, remove_route
from skyferry.routes import Route, find_route, load_routes, route_ids
from skyferry.yaml_document import ConfigProblem
from transfer_api.api_caller import Caller, Change, SignedIn
from transfer_api.api_models import (
    MAX_PAGE,
    FileProblem,
    Limit,
    RouteDetail,
    RouteId,
    RouteList,
    RouteSummary,
    RouteText,
    RouteToCheck,
    RouteVerdict,
)
from transfer_api.api_problems import ProblemError, responses
from transfer_api.api_threads import in_thread

router = APIRouter(prefix="/routes", tags=["routes"])

_RIGHT = "You need Airflow's permission to {} connections, because a route may use any of them."


@router.get("", responses=responses(), summary="List the routes")
async def list_routes(
    caller: SignedIn, limit: Annotated[Limit, Query()] = MAX_PAGE, offset: Annotated[int, Query(ge=0, le=10**6)] = 0
) -> RouteList:
    """List the routes whose DAG you may see, by their ids. Those who may write routes see new and wrong files too."""
    may_write = await caller.may_write_routes("PUT")
    dags = await in_thread(lambda: _dags(caller))
    routes, problems = await in_thread(load_routes)
    visible = [route for route in routes if may_write or route.id in dags]
    return RouteList(
        routes=[_summary(route, dags) for route in visible[offset : offset + limit]],
        total=len(visible),
        problems=_problems(problems) if may_write else [],
    )


@router.post("/validate", responses=responses(), summary="Check a route file")
async def validate_route(caller: SignedIn, body: RouteToCheck) -> RouteVerdict:
    """Check the text of a route file without keeping it."""
    _, problems = await in_thread(lambda: check_route(body.id, body.text))
    return RouteVerdict(valid=not problems, problems=_problems(problems))


@router.get("/{route_id}", responses=responses(404), summary="Show a route")
async def get_route(caller: SignedIn, route_id: RouteId) -> RouteDetail:
    """Show one route with all its values."""
    dags = await in_thread(lambda: _dags(caller))
    if route_id not in dags and not await caller.may_write_routes("PUT"):
        raise ProblemError(404, f'no route "{route_id}" that you may see', code="UnknownRouteError")
    return _detail(await in_thread(lambda: find_route(route_id)), dags)


@router.put(
    "/{route_id}",
    responses={201: {"model": RouteDetail, "description": "Created"}, **responses(409)},
    summary="Register a route",
)
async def put_route(
    caller: SignedIn,
    route_id: RouteId,
    body: RouteText,
    response: Response,
    *,
    replace: Annotated[bool, Query(description="There may be a route of this id already.")] = False,
) -> RouteDetail:
    """Write a route file: checked first, whole or not at all. Airflow finds it within its refresh interval.

    You need Airflow's permission to create connections, and to edit them for `replace`: a route may use any of them.
    The API server writes the folder it sees; the DAG processor must see the same one.
    """
    await _require(caller, "PUT" if replace else "POST")
    is_new = route_id not in await in_thread(route_ids)
    route = await in_thread(lambda: register_route(route_id, body.text, replace_existing=replace))
    response.status_code = 201 if is_new else 200
    return _detail(route, await in_thread(lambda: _dags(caller)))


@router.delete("/{route_id}", responses=responses(404), status_code=204, summary="Remove a route")
async def delete_route(caller: SignedIn, route_id: RouteId) -> None:
    """Delete a route file. Its runs stay in Airflow. You need Airflow's permission to delete connections."""
    await _require(caller, "DELETE")
    await in_thread(lambda: remove_route(route_id))


async def _require(caller: Caller, change: Change) -> None:
    if not await caller.may_write_routes(change):
        verb = {"POST": "create", "PUT": "edit", "DELETE": "delete"}[change]
        raise ProblemError(403, _RIGHT.format(verb), code="Forbidden")


def _dags(caller: Caller) -> dict[str, TransferDagInfo]:
    """Return the DAGs of routes that the caller may see, by route id."""
    found = caller.airflow().dags()
    return {
        dag.dag_id.removeprefix(ROUTE_DAG_PREFIX): dag
        for dag in found
        if dag.dag_id.startswith(ROUTE_DAG_PREFIX) and not dag.is_stale
    }


def _summary(route: Route, dags: dict[str, TransferDagInfo]) -> RouteSummary:
    return RouteSummary.of(route, dags.get(route.id), dag_id=ROUTE_DAG_PREFIX + route.id)


def _detail(route: Route, dags: dict[str, TransferDagInfo]) -> RouteDetail:
    return RouteDetail(
        **_summary(route, dags).model_dump(),
        definition=route.model_dump(mode="json", by_alias=True),
        parameters=route.request().to_conf(),
    )


def _problems(problems: Sequence[ConfigProblem]) -> list[FileProblem]:
    return [FileProblem(file=each.file, line=each.line, message=each.message) for each in problems]
