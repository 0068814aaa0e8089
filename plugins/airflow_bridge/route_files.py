"""Which routes become DAGs in the process that parses the DAG file."""

from __future__ import annotations

import logging

from skyferry.errors import RouteConfigError, UnknownRouteError
from skyferry.routes import Route, find_route, load_routes

ROUTE_DAG_PREFIX = "transfer__"

_log = logging.getLogger(__name__)


def routes_to_build(dag_id: str | None) -> list[Route]:
    """Return the routes whose DAGs are asked for, in the order of their ids.

    A route file that is wrong is left out with a warning that names file and line; the others are not affected. The
    warning stands in the DAG processor's log; `transfer config validate` shows it too, and fails.

    Args:
        dag_id: The DAG a worker is about to run, for which only its own file is read; None for all.
    """
    if dag_id is not None:
        return _route_of_dag(dag_id)
    routes, problems = load_routes()
    for problem in problems:
        _log.warning("route left out: %s", problem)
    return sorted(routes, key=lambda route: route.id)


def _route_of_dag(dag_id: str) -> list[Route]:
    if not dag_id.startswith(ROUTE_DAG_PREFIX):
        return []
    try:
        return [find_route(dag_id.removeprefix(ROUTE_DAG_PREFIX))]
    except (RouteConfigError, UnknownRouteError) as error:
        _log.warning("route left out: %s", error)
        return []
