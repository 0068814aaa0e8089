"""One of two Celery workers is killed in the middle of a transfer: the other one finishes it, each object once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.components import component
from stack.running import Endpoint, running
from stack.servers import missing_programs
from tests.celery_airflow import CeleryAirflow, Worker, celery_airflow
from tests.e2e.buckets import S3Bucket
from tests.e2e.truth import Evidence, check_truth

pytestmark = pytest.mark.slow

OBJECTS = 2000
BATCH_OBJECTS = 250
DELAY_SECONDS = 0.04
ROUTE = "many"
DAG = f"transfer__{ROUTE}"
PATIENCE_SECONDS = 900
"""How long anything may take; far more than it does, because a busy machine is not what is tested."""


class Harbour:
    """A source, a destination and a state folder in one S3, whose every request takes 40 ms longer for the workers."""

    def __init__(self, moto: Endpoint) -> None:
        self.source, self.destination, self.state = (S3Bucket(name, moto.url) for name in ("many", "copies", "state"))
        self.content = {f"day-{number % 7}/{number:05d}.csv": f"{number},".encode() * 40 for number in range(OBJECTS)}

    def fill(self) -> None:
        for bucket in (self.source, self.destination, self.state):
            bucket.create()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.source.put, self.content, self.content.values()))

    def arrived(self) -> int:
        pages = self.destination.client.get_paginator("list_objects_v2").paginate(Bucket=self.destination.name)
        return sum(page["KeyCount"] for page in pages)

    def records(self, url: str, folder: Path) -> Path:
        """Bring the records of a run into a folder, and return it."""
        prefix = url.removeprefix(self.state.url)
        for key, body in self.state.content().items():
            file = folder / key
            if key.startswith(prefix):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(body)
        return folder / prefix


@contextmanager
def delayed(endpoint: Endpoint) -> Iterator[str]:
    """Put a long line in front of a server, and yield the URL at its other end."""
    command = [sys.executable, "-m", "bench.delay_line", str(endpoint.port), str(DELAY_SECONDS)]
    line = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert line.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(line.stdout.readline())}"
    finally:
        line.kill()
        line.wait()


@pytest.fixture(scope="module")
def whole_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Start a moto that lists 1,000 keys a page, as S3 does; that of the other tests lists 50."""
    with running(component("moto"), tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def harbour(whole_pages: Endpoint) -> Harbour:
    made = Harbour(whole_pages)
    made.fill()
    return made


@pytest.fixture(scope="module")
def cluster(
    harbour: Harbour, whole_pages: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryAirflow]:
    if missing := missing_programs():
        # Where everything has to be tested, a missing program is a fault of .ci/run.
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(f"not installed: {', '.join(missing)}")
    route = {
        "id": ROUTE,
        "source": {"url": harbour.source.url},
        "destination": {"url": harbour.destination.url},
        "limits": {"batch_objects": BATCH_OBJECTS, "max_objects_in_flight": 8},
    }
    with delayed(whole_pages) as url:
        extra = {"endpoint_url": url, "region_name": "us-east-1"}
        environment = {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
            ),
            "SKYFERRY_STATE_URL": f"{harbour.state.url}skyferry/",
            "SKYFERRY_RETRIES": "5",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        }
        folder = tmp_path_factory.mktemp("celery")
        workers = ["one", "two"]
        with celery_airflow(
            folder, workers=workers, routes={ROUTE: json.dumps(route)}, environment=environment
        ) as made:
            yield made


class Watched:
    """One run, and what Airflow says of it over REST."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        answer = client.post(f"/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None})
        self.run_id = answer.raise_for_status().json()["dag_run_id"]
        self._path = f"/api/v2/dags/{DAG}/dagRuns/{self.run_id}"

    def get(self, path: str = "") -> Any:
        return self._client.get(self._path + path, params={"limit": 100}).raise_for_status().json()

    def state(self) -> str:
        return str(self.get()["state"])

    def copies(self) -> dict[int, dict[str, Any]]:
        """Return the instances of the task that copies, by their number."""
        found = self.get("/taskInstances")["task_instances"]
        return {one["map_index"]: one for one in found if one["task_id"] == "copy" and one["map_index"] >= 0}

    def running_on(self, pids: set[int]) -> set[int]:
        return {index for index, one in self.copies().items() if one["state"] == "running" and one["pid"] in pids}


def eventually(is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} seconds for {what}"
        time.sleep(0.5)


def kill_while_it_copies(victim: Worker, run: Watched) -> set[int]:
    """Kill a worker while it runs copies, and return their numbers; it is held first, so that none ends meanwhile."""
    while True:
        victim.hold()
        if lost := run.running_on(victim.pids()):
            victim.kill()
            return lost
        victim.let_go()
        assert run.state() in ("queued", "running"), "the run ended before a worker could be killed"
        time.sleep(1)


def test_the_other_worker_finishes_and_every_object_is_there_once(
    cluster: CeleryAirflow, harbour: Harbour, tmp_path: Path
) -> None:
    run = Watched(cluster.client())
    victim = cluster.workers["one"]
    eventually(lambda: harbour.arrived() >= OBJECTS // 4, "a quarter of the objects")
    lost = kill_while_it_copies(victim, run)
    assert harbour.arrived() < OBJECTS, "the kill came too late"

    eventually(lambda: run.state() in ("success", "failed"), "the end of the run")
    copies = run.copies()
    assert len(copies) == OBJECTS // BATCH_OBJECTS
    assert lost <= {index for index, one in copies.items() if one["try_number"] > 1}, "whose tasks nobody tried again"

    report = run.get("/taskInstances/report/xcomEntries/return_value")["value"]
    assert run.state() == "success"
    assert report["objects_copied"] == OBJECTS
    folder = harbour.records(report["records"], tmp_path)
    told = check_truth(
        Evidence(
            run_id=run.run_id,
            state=run.state(),
            report={**report, "records": f"file://{folder}/"},
            source_before=harbour.content,
            destination_before={},
            destination_after=harbour.destination.content(),
        )
    )
    assert set(told) == {"stores", "receipts", "report"}
