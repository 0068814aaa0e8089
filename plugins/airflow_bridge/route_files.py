"""Which routes and queues become DAGs in the process that parses the DAG file."""

from __future__ import annotations

import logging

from skyferry.errors import RouteConfigError, UnknownRouteError
from skyferry.queue_groups import QueueGroup, group_by_queue
from skyferry.routes import Route, find_route, load_routes

ROUTE_DAG_PREFIX = "transfer__"
CONSUME_DAG_PREFIX = "consume__"

_log = logging.getLogger(__name__)


def parts_to_build(dag_id: str | None) -> tuple[list[Route], list[QueueGroup]]:
    """Return the routes and the queues whose DAGs are asked for, in the order of their names.

    A route file that is wrong is left out with a warning that names file and line; the others are not affected. The
    warning stands in the DAG processor's log; `transfer config validate` shows it too, and fails.

    Args:
        dag_id: The DAG a worker is about to run; None for all. For the DAG of a route only its own file is read. Which
            routes share a queue stands in their files, so for the DAG of a queue all are read.
    """
    if dag_id is None:
        return _all_parts()
    if dag_id.startswith(ROUTE_DAG_PREFIX):
        return _route_with(dag_id.removeprefix(ROUTE_DAG_PREFIX)), []
    if dag_id.startswith(CONSUME_DAG_PREFIX):
        name = dag_id.removeprefix(CONSUME_DAG_PREFIX)
        return [], [queue for queue in _all_parts()[1] if queue.name == name]
    return [], []


def _all_parts() -> tuple[list[Route], list[QueueGroup]]:
    routes, problems = load_routes()
    for problem in problems:
        _log.warning("route left out: %s", problem)
    queues, _ = group_by_queue(routes)
    return sorted(routes, key=lambda route: route.id), queues


def _route_with(route_id: str) -> list[Route]:
    try:
        return [find_route(route_id)]
    except (RouteConfigError, UnknownRouteError) as error:
        _log.warning("route left out: %s", error)
        return []
