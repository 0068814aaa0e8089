"""Where a route's `detect` looks, and what counts there: the same objects that a run of the route would copy."""

from __future__ import annotations

from airflow_bridge.source_watch import SourceWatch
from skyferry.route_detection import DetectFiles, DetectObjects
from skyferry.routes import Route


def watch_of_route(route: Route, detect: DetectObjects | DetectFiles) -> SourceWatch:
    """Return the look at a route's source; the later it is asked for, the newer is the route file it goes by."""
    include = (route.data,) if route.data else ()
    if isinstance(detect, DetectFiles):
        return SourceWatch(
            kind="files",
            url=route.source.url,
            include=include,
            settle_seconds=detect.settle_seconds,
            done_suffix=detect.done_suffix,
        )
    return SourceWatch(
        kind="objects",
        url=route.source.url,
        conn_id=route.source.conn_id,
        include=include,
        overlap_seconds=detect.overlap_seconds,
    )
