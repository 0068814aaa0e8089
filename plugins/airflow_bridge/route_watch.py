"""Where a route's `detect` looks, and what counts there: the same objects that a run of the route would copy."""

from __future__ import annotations

from airflow_bridge.source_watch import SourceWatch
from skyferry.route_detection import DetectFiles, DetectObjects
from skyferry.routes import Route


def watch_of_route(route: Route, detect: DetectObjects | DetectFiles) -> SourceWatch:
    """Return the look at a route's source; the later it is asked for, the newer is the route file it goes by."""
    narrowed = {"url": route.source.url, "data": route.data, **route.select.model_dump()}
    if isinstance(detect, DetectFiles):
        return SourceWatch(
            kind="files", settle_seconds=detect.settle_seconds, done_suffix=detect.done_suffix, **narrowed
        )
    return SourceWatch(kind="objects", conn_id=route.source.conn_id, overlap_seconds=detect.overlap_seconds, **narrowed)
