"""A whole local stack of its own for the tests of this folder: scheduler, triggerer, DAG processor and API server.

It is started once, on free ports, with routes that are switched on from the beginning; nobody starts a run by hand.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from stack.components import STACK, component
from stack.environment import PASSWORD, USER
from stack.health import free_port
from stack.layout import ROOT, STATE_VARIABLE, Layout
from stack.supervision import Supervisor

START_SECONDS = 900
STARTS = 3
ARRIVE_SECONDS = 900
"""How long anything may take to happen; far more than it takes, because a busy machine is not what is tested."""

NEVER = "0 0 29 2 *"
"""A backstop that is not what made a test pass."""

BUCKET = "live-in"
OUT = "live-out"
QUEUE = "live-events"


class Live:
    """A running stack, its stores, and what Airflow says over REST."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.airflow = layout.url(component("api-server"))
        self.endpoint = layout.url(component("moto"))
        self.s3, self.sqs = (self._client(service) for service in ("s3", "sqs"))
        self.inbox = layout.exchange / "in"
        self._http = httpx.Client(base_url=self.airflow, timeout=60)

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def prepare_stores(self) -> None:
        """Make the buckets, the folder, and a queue that is told of what is put below two prefixes."""
        for bucket in (BUCKET, OUT):
            self.s3.create_bucket(Bucket=bucket)
        self.inbox.mkdir()
        self.sqs.create_queue(QueueName=QUEUE)
        self._send_events()

    def _send_events(self) -> None:
        rule = {
            "QueueArn": f"arn:aws:sqs:us-east-1:123456789012:{QUEUE}",
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "queue/"}]}},
        }
        self.s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]}
        )

    @contextmanager
    def without_events(self) -> Iterator[None]:
        """Let the bucket tell the queue of nothing for a while: these events are lost."""
        self.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
        yield
        self._send_events()

    @property
    def queue_url(self) -> str:
        return f"{self.endpoint}/123456789012/{QUEUE}"

    def put(self, key: str, content: bytes = b"content") -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)

    def arrived(self, prefix: str) -> set[str]:
        """Return the keys below a prefix of the destination, without the prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=OUT, Prefix=prefix)
        return {one["Key"].removeprefix(prefix) for page in pages for one in page.get("Contents", ())}

    def waiting(self) -> tuple[int, int]:
        """Return how many messages wait in the queue, and how many somebody holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def get(self, path: str, **params: Any) -> Any:
        """Return the answer of Airflow's REST API."""
        answer = self._http.get(f"/api/v2/{path}", params=params, headers={"Authorization": f"Bearer {self._token()}"})
        answer.raise_for_status()
        return answer.json()

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, the oldest first."""
        found: list[dict[str, Any]] = self.get(f"dags/{dag_id}/dagRuns", order_by="run_after", limit=100)["dag_runs"]
        return found

    def start(self, dag_id: str) -> str:
        """Start a run as somebody would, and return its id; once more when SQLite was locked (Airflow answers 500)."""
        run_id = f"manual__{uuid.uuid4()}"
        for _ in range(10):
            answer = self._http.post(
                f"/api/v2/dags/{dag_id}/dagRuns",
                json={"logical_date": None, "dag_run_id": run_id},
                headers={"Authorization": f"Bearer {self._token()}"},
            )
            if answer.status_code != 500:
                break
            time.sleep(1)
        if answer.status_code != 409:  # it was there already: an attempt that was answered with 500 had made it
            answer.raise_for_status()
        return run_id

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def report(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return the report of a run."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/report/xcomEntries/return_value"
        value: dict[str, Any] = self.get(path)["value"]
        return value

    def held_slots(self) -> list[tuple[str, str, str]]:
        """Return the task instances that hold a worker slot, or are about to."""
        found = self.get(
            "dags/~/dagRuns/~/taskInstances", state=["running", "queued", "scheduled", "restarting"], limit=100
        )
        return [(one["dag_id"], one["task_id"], one["state"]) for one in found["task_instances"]]

    def kill(self, name: str) -> None:
        """Kill a component at once, with its children; the supervisor starts it again."""
        before = Supervisor(self.layout).processes()[name].pid
        os.killpg(before, signal.SIGKILL)
        eventually(lambda: Supervisor(self.layout).processes()[name].pid not in (0, before), f"{name} to be back")

    def _token(self) -> str:
        answer = self._http.post("/auth/token", json={"username": USER, "password": PASSWORD})
        answer.raise_for_status()
        return str(answer.json()["access_token"])


def eventually(is_so: Callable[[], object], what: str, *, seconds: float = ARRIVE_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:g} seconds for {what}"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    layout = Layout(folder / "stack", _free_ports())
    config = folder / "config"
    stack = Live(layout)
    _write_routes(config / "routes", stack)
    environment = {
        **os.environ,
        **{variable: str(port) for variable, port in layout.ports.items()},
        STATE_VARIABLE: str(layout.state),
        "SKYFERRY_CONFIG": str(config),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # A machine that is busy with other things fails tasks before they begin.
        "SKYFERRY_RETRIES": "6",
    }
    try:
        _bring_up(environment)
        stack.prepare_stores()
        yield stack
    finally:
        assert _stack("down", environment).returncode == 0


def _bring_up(environment: dict[str, str]) -> None:
    """Start the stack; again if it was not healthy in its own time, because the machine is busy."""
    for _ in range(STARTS):
        done = _stack("up", environment)
        if done.returncode == 0:
            return
    raise AssertionError(done.stdout)


def _stack(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stack", command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def _free_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    for each in STACK:
        while each.port_variable not in ports:
            port = free_port()
            if port not in ports.values():
                ports[each.port_variable] = port
    return ports


def _write_routes(folder: Path, stack: Live) -> None:
    folder.mkdir(parents=True)
    queue = {"kind": "sqs", "queue_url": stack.queue_url, "poll_seconds": 1, "wait_seconds": 2, "consumers": 2}
    routes = {
        "objects": (f"s3://{BUCKET}/objects/", {"kind": "objects", "poll_seconds": 2}, "event"),
        "files": (stack.inbox.as_uri() + "/", {"kind": "files", "poll_seconds": 1, "settle_seconds": 1}, "event"),
        "waits": (f"s3://{BUCKET}/waits/", {"kind": "objects", "poll_seconds": 2}, "@continuous"),
        "first": (f"s3://{BUCKET}/queue/first/", queue, "event"),
        "second": (f"s3://{BUCKET}/queue/second/", queue, "event"),
    }
    for route_id, (url, detect, schedule) in routes.items():
        route = {
            "id": route_id,
            "source": {"url": url},
            "destination": {"url": f"s3://{OUT}/{route_id}/"},
            "detect": detect,
            "schedule": schedule,
        }
        if schedule == "event":
            route["backstop"] = NEVER
        (folder / f"{route_id}.yaml").write_text(json.dumps(route), encoding="utf-8")
