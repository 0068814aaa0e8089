"""A whole Airflow of a test session's own: API server, scheduler, DAG processor, on free ports, in a temporary folder.

It runs the DAGs of this checkout with routes of the tests' own, and needs no emulator: the transfers of its tests go
from one local folder to another. Put this into a conftest that needs it, or into a script:

    with local_airflow(tmp_path) as airflow:
        httpx.get(f"{airflow.url}/api/v2/version")
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from stack.components import STACK, component
from stack.environment import PASSWORD, USER, stack_environment, write_login
from stack.health import free_port
from stack.layout import Layout
from stack.running import running

SERVICES = ("api-server", "scheduler", "dag-processor")
MIGRATION_SECONDS = 300
DAGS_SECONDS = 120


@dataclass(frozen=True)
class LocalAirflow:
    """A running Airflow.

    Attributes:
        url: Of the API server.
        layout: Its folders and ports.
        environment: What makes a process part of it.
        config: Its configuration folder, with the routes; files put there are found within a few seconds.
        exchange: The local folder its transfers may read and write.
    """

    url: str
    layout: Layout
    environment: Mapping[str, str]
    config: Path
    user: str = USER
    password: str = PASSWORD

    def password_of(self, user: str) -> str:
        """Of a user that `AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS` names."""
        passwords = self.layout.airflow_home / "simple_auth_manager_passwords.json.generated"
        return str(json.loads(passwords.read_text())[user])

    @property
    def exchange(self) -> Path:
        return self.layout.exchange

    @property
    def state(self) -> Path:
        """Where its runs keep their records."""
        return self.layout.state / "skyferry-state"


@contextmanager
def local_airflow(
    folder: Path,
    *,
    services: Sequence[str] = SERVICES,
    routes: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[LocalAirflow]:
    """Start an Airflow, wait until it is healthy, and stop it at the end of the block.

    Takes half a minute on two idle processors.

    Args:
        folder: Everything it writes is kept here.
        services: Of the Airflow components of the stack; add "triggerer" where something defers or watches.
        routes: Route id to the text of its file, with `{exchange}` for the folder.
        environment: Added to its settings: connections to emulators, for example.
    """
    ports = {each.port_variable: free_port() for each in STACK}
    layout = Layout(folder.resolve(), ports)
    config = layout.state / "config"
    for each in (layout.airflow_home, layout.logs, layout.exchange, config / "routes"):
        each.mkdir(parents=True, exist_ok=True)
    write_login(layout)
    for route_id, text in (routes or {}).items():
        (config / "routes" / f"{route_id}.yaml").write_text(text.replace("{exchange}", str(layout.exchange)))
    settings = {
        **stack_environment(layout),
        "SKYFERRY_CONFIG": str(config),
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        **(environment or {}),
    }
    _migrate(settings, layout.logs / "migrate.log")
    port = ports["AIRFLOW_PORT"]
    with ExitStack() as started:
        for name in services:
            started.enter_context(running(component(name), layout.state / name, port=port, environment=settings))
        airflow = LocalAirflow(component("api-server").url(port), layout, settings, config)
        _await_dags(airflow, {"transfer", *(f"transfer__{route_id}" for route_id in routes or {})})
        yield airflow


@contextmanager
def same_routes_afterwards(airflow: LocalAirflow) -> Iterator[None]:
    """Put the route files back at the end of the block, whatever was done to them, and wait until Airflow has them."""
    folder = airflow.config / "routes"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    yield
    for file in folder.iterdir():
        if file.name not in before:
            file.unlink()
    for name, text in before.items():
        (folder / name).write_bytes(text)
    _await_dags(airflow, {f"transfer__{Path(name).stem}" for name in before})


def _await_dags(airflow: LocalAirflow, wanted: set[str]) -> None:
    """Wait until the DAG processor is through for the first time."""
    login = {"username": airflow.user, "password": airflow.password}
    with httpx.Client(base_url=airflow.url, trust_env=False, timeout=60) as client:
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        deadline = time.monotonic() + DAGS_SECONDS
        while True:
            missing = wanted - _dag_ids(client, token)
            if not missing:
                return
            assert time.monotonic() < deadline, f"Airflow at {airflow.url} has no DAGs {missing} after {DAGS_SECONDS} s"
            time.sleep(0.5)


def _dag_ids(client: httpx.Client, token: str) -> set[str]:
    found: set[str] = set()
    while True:
        page = client.get(
            "/api/v2/dags", params={"limit": 100, "offset": len(found)}, headers={"Authorization": f"Bearer {token}"}
        )
        dags = page.raise_for_status().json()
        found |= {dag["dag_id"] for dag in dags["dags"]}
        if len(found) >= dags["total_entries"] or not dags["dags"]:
            return found


def _migrate(settings: Mapping[str, str], log: Path) -> None:
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            check=True,
            env={**os.environ, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=MIGRATION_SECONDS,
        )
