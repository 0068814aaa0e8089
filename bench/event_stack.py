"""A whole local stack for the benches that need Airflow: started on free ports, with routes that are switched on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx

from stack.components import STACK, component
from stack.environment import AZURITE_ACCOUNT, PASSWORD, USER, azurite_connection_string
from stack.health import free_port
from stack.layout import ROOT, STATE_VARIABLE, Layout

ACCOUNT = "123456789012"
REGION = "us-east-1"
NEVER = "0 0 29 2 *"
"""A backstop that plays no part in what is measured."""


class EventStack:
    """The emulators of a running stack, and what its Airflow says over REST."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.moto_url = layout.url(component("moto"))
        self.azurite_connection = azurite_connection_string(f"{layout.url(component('azurite'))}/{AZURITE_ACCOUNT}")
        self.state = layout.state / "skyferry-state"
        self._http = httpx.Client(base_url=layout.url(component("api-server")), timeout=60, trust_env=False)

    def client(self, service: str) -> Any:
        """Return a client of moto."""
        return aws_client(service, self.moto_url)

    def queue_url(self, name: str) -> str:
        """Return the URL of a queue."""
        return f"{self.moto_url}/{ACCOUNT}/{name}"

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return the answer of Airflow's REST API."""
        login = {"username": USER, "password": PASSWORD}
        token = self._http.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        answer = self._http.get(f"/api/v2/{path}", params=params, headers={"Authorization": f"Bearer {token}"})
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a DAG, the oldest first."""
        return self._all(f"dags/{dag_id}/dagRuns", "dag_runs", order_by="run_after")

    def tasks(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a DAG."""
        return self._all(f"dags/{dag_id}/dagRuns/~/taskInstances", "task_instances")

    def _all(self, path: str, name: str, **params: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=100, offset=len(rows), **params)
            rows += page[name]
            if len(rows) >= page["total_entries"]:
                return rows


def aws_client(service: str, endpoint_url: str) -> Any:
    """Return boto3's client of a service that moto plays."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - the emulator takes any
    )


def tell_queue(s3: Any, bucket: str, queue: str, *, prefix: str) -> None:
    """Let a bucket send an event to a queue for everything that is put below a prefix."""
    rule = {
        "QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
    }
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})


@contextmanager
def event_stack(folder: Path, routes: Mapping[str, dict[str, Any]], queues: Sequence[str]) -> Iterator[EventStack]:
    """Start a stack with these routes, and stop it at the end.

    Args:
        folder: Everything it writes is kept there.
        routes: Route files by id; `{queue:NAME}` as a queue URL stands for that queue of the stack.
        queues: Names that may stand there.
    """
    layout = Layout(folder / "stack", {each: free_port() for each in dict.fromkeys(one.port_variable for one in STACK)})
    stack = EventStack(layout)
    config = folder / "config"
    (config / "routes").mkdir(parents=True)
    for route_id, route in routes.items():
        text = json.dumps({"id": route_id, **route})
        for name in queues:
            text = text.replace(f"{{queue:{name}}}", stack.queue_url(name))
        (config / "routes" / f"{route_id}.yaml").write_text(text, encoding="utf-8")
    environment = {
        **os.environ,
        **{variable: str(port) for variable, port in layout.ports.items()},
        STATE_VARIABLE: str(layout.state),
        "SKYFERRY_CONFIG": str(config),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }
    try:
        _command("up", environment)
        yield stack
    finally:
        _command("down", environment)


def _command(name: str, environment: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "stack", name], cwd=ROOT, env=environment, check=True, timeout=600)
