"""A shell as a reader has it after `make up` and `eval "$(make -s env)"`, over emulators on free ports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from stack.running import Endpoint
from tests.airflow_home import PROJECT, connection_variables, migrate_database, use_own_airflow
from tests.local_airflow import LocalAirflow

use_own_airflow()

TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Shell:
    """Runs commands of the documentation.

    Attributes:
        folder: Where they run: not the checkout, but with its installed environment.
    """

    folder: Path
    environment: dict[str, str]

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )


@pytest.fixture(scope="session")
def stores(moto: Endpoint, azurite: Endpoint, fake_gcs: Endpoint) -> dict[str, str]:
    """The connections of the local stack, to emulators of this test run."""
    migrate_database()
    return connection_variables(moto=moto.url, azurite=azurite.url, gcs=fake_gcs.url)


@pytest.fixture
def shell(stores: dict[str, str], tmp_path: Path) -> Shell:
    (tmp_path / ".venv").symlink_to(PROJECT / ".venv")
    (tmp_path / "plugins").symlink_to(PROJECT / "plugins")
    return Shell(tmp_path, _environment(tmp_path, stores))


@pytest.fixture
def shell_of_stack(shell: Shell, airflow_services: LocalAirflow, tmp_path: Path) -> Shell:
    """The same while an Airflow is up, whose route `orders_to_lake` has something to copy."""
    orders = airflow_services.exchange / "shop" / "2026"
    orders.mkdir(parents=True, exist_ok=True)
    (orders / "may.csv").write_text("order,amount\n")
    ours = {
        "SKYFERRY_STACK": str(airflow_services.layout.state),
        "SKYFERRY_CONFIG": str(airflow_services.config),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(PROJECT / "include"),
    }
    return Shell(shell.folder, {**shell.environment, **ours})


@pytest.fixture
def shop(moto: Endpoint) -> None:
    """The bucket that the example routes read, as `Getting started` leaves it."""
    client = boto3.client(
        "s3",
        endpoint_url=moto.url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket="shop-exports")
    client.put_object(Bucket="shop-exports", Key="orders/2026/orders.csv", Body=b"order,amount\n")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Return a function that gives Airflow a connection by its JSON text, and looks it up."""

    def look_up(text: str) -> object:
        from airflow.sdk import BaseHook

        monkeypatch.setenv("AIRFLOW_CONN_DOCUMENTED", text)
        return BaseHook.get_connection("documented")

    return look_up


def _environment(folder: Path, stores: dict[str, str]) -> dict[str, str]:
    tools = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **stores,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "SKYFERRY_LOCAL_ROOTS": str(folder),
        "SKYFERRY_RETRIES": "0",
    }
