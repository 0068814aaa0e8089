"""The page on watch folders: its commands switch on what the example routes make."""

from __future__ import annotations

import re

from airflow_bridge.route_files import parts_to_build
from skyferry.routes import find_route
from tests.docs.pages import PROJECT, page


def test_make_switches_on_dags_that_there_are() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    switched_on = re.findall(r"-m stack on (\S+)", makefile)
    routes, queues = parts_to_build(None)
    assert switched_on == ["transfer__watch_folder", "consume__skyferry-uploads"]
    assert set(switched_on) <= {f"transfer__{route.id}" for route in routes} | {
        f"consume__{one.name}" for one in queues
    }
    guide = page("docs/guide/watch-folder.md").text
    assert [dag_id for dag_id in switched_on if dag_id not in guide] == []


def test_the_two_routes_fit_together() -> None:
    upload, download = find_route("watch_folder"), find_route("downloads")
    assert upload.destination.url == download.source.url
    assert upload.destination.notify is not None
    assert download.queue is not None
    assert upload.destination.notify.queue_url == download.queue.queue_url


def test_the_page_names_the_folders_of_the_routes() -> None:
    guide = page("docs/guide/watch-folder.md").text
    source = find_route("watch_folder").source
    for url in (source.url, source.claim, source.done, find_route("downloads").destination.url):
        folder = url.rstrip("/").rpartition("/")[2]
        assert f"| `{folder}` |" in guide
