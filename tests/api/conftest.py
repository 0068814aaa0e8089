"""Clients of the REST API of one real Airflow, one for each kind of user."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.local_airflow import LocalAirflow

API = "/transfer/v1"
DEADLINE_SECONDS = 180


@dataclass(frozen=True)
class Clients:
    """Somebody without a login, somebody who may look, somebody who may run DAGs, somebody who may do (almost) all."""

    nobody: httpx.Client
    viewer: httpx.Client
    user: httpx.Client
    op: httpx.Client


@pytest.fixture(scope="session")
def clients(airflow_services: LocalAirflow) -> Iterator[Clients]:
    with ExitStack() as stack:

        def client(user: str = "") -> httpx.Client:
            headers = {"Authorization": f"Bearer {token(airflow_services, user)}"} if user else {}
            made = httpx.Client(base_url=airflow_services.url + API, headers=headers, timeout=60, trust_env=False)
            return stack.enter_context(made)

        yield Clients(client(), client("viewer"), client("user"), client("op"))


def token(airflow: LocalAirflow, user: str) -> str:
    login = {"username": user, "password": airflow.password_of(user)}
    answer = httpx.post(f"{airflow.url}/auth/token", json=login, timeout=60, trust_env=False)
    return str(answer.raise_for_status().json()["access_token"])


@pytest.fixture(scope="session")
def until_over(clients: Clients) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Wait until a run is over and return it in detail."""

    def wait(run: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            found: dict[str, Any] = clients.user.get(path_of(run)).raise_for_status().json()
            if found["state"] in {"success", "failed"}:
                return found
            assert time.monotonic() < deadline, f"{found['run_id']} is {found['state']}: {found['tasks']}"
            time.sleep(0.5)

    return wait


def start(client: httpx.Client, parameters: dict[str, Any], *, key: str = "") -> dict[str, Any]:
    """Start a transfer and return its run.

    Asks again after a 503, as the guide says: Airflow's SQLite refuses now and then when several write at once.
    """
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        answer = client.post("/transfers", json={"parameters": parameters}, headers=headers)
        if answer.status_code != 503 or time.monotonic() > deadline:
            assert answer.status_code in {200, 201}, answer.text
            run: dict[str, Any] = answer.json()
            return run
        time.sleep(1)


def wait_for_dag(clients: Clients, route_id: str) -> None:
    """Wait until Airflow has parsed a new route."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not clients.op.get(f"/routes/{route_id}").json().get("is_known_to_airflow"):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def path_of(run: dict[str, Any]) -> str:
    return f"/transfers/{run['dag_id']}/{run['run_id']}"


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem an answer holds, which must be of this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"], found["type"]) == (status, code, "about:blank")
    assert found["detail"]
    return found
