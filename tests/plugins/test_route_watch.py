"""What a route's detection counts: exactly what a run of the route would take."""

from __future__ import annotations

import pytest

from airflow_bridge.route_watch import watch_of_route
from airflow_bridge.source_watch import SourceWatch
from skyferry.routes import Route


@pytest.mark.parametrize("kind", ["objects", "files"])
def test_the_watch_of_a_route_counts_what_a_run_takes(kind):
    select = {"include": ["**/*.csv"], "exclude": ["x/"], "min_age_seconds": 3, "min_size_bytes": 1}
    values = {
        "id": "orders",
        "source": {"url": "file:///srv/orders"},
        "destination": {"url": "s3://lake"},
        "data": "2026/",
        "select": {**select, "max_size_bytes": 9},
        "detect": {"kind": kind},
        "schedule": "event",
    }
    route = Route.model_validate(values)
    watch = watch_of_route(route, route.detect)
    assert (watch.kind, watch.url) == (kind, route.request().source)
    assert watch.filter() == route.request().object_filter
    assert watch.filter().to_json() == {"data": "2026/", **select, "max_size_bytes": 9}
    assert SourceWatch.from_json(watch.to_json()) == watch
