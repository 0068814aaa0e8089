"""`transfer provision --access-key` against a real Airflow and moto: the connection works, only it has the secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.components import component
from stack.running import running
from tests.declared_entry_points import declared_path
from tests.history.test_command_line import document
from tests.local_airflow import LocalAirflow, same_routes_afterwards
from tests.plugins.guarded_aws import Guarded
from tests.unit.cli.command import transfer

pytestmark = pytest.mark.slow

ROUTE = """
id: keyed
source: {url: "s3://shop/orders/", conn_id: aws_default}
destination: {url: "s3://lake/raw/", conn_id: aws_default}
provision: {identity: {user: skyferry-keyed}}
"""
SECRET_OF = "from airflow.sdk import Connection; import sys; print(Connection.get(sys.argv[1]).password)"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def guarded(airflow_services: LocalAirflow, tmp_path: Path) -> Iterator[Guarded]:
    """Moto, where the connection aws_default of this Airflow expects it."""
    port = airflow_services.layout.port(component("moto"))
    with running(component("moto"), tmp_path / "moto", port=port) as moto, same_routes_afterwards(airflow_services):
        (airflow_services.config / "routes" / "keyed.yaml").write_text(ROUTE)
        yield Guarded(moto.url, {})


@pytest.fixture
def environ(airflow_services: LocalAirflow, tmp_path: Path) -> dict[str, str]:
    return {
        **airflow_services.environment,
        "PYTHONPATH": declared_path(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    }


@pytest.fixture
def rest(airflow_services: LocalAirflow) -> Iterator[httpx.Client]:
    login = {"username": airflow_services.user, "password": airflow_services.password}
    with httpx.Client(base_url=airflow_services.url, trust_env=False, timeout=60) as client:
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client
        client.delete("/api/v2/connections/aws_keyed")


def keys(guarded: Guarded) -> set[str]:
    found = guarded.client("iam").list_access_keys(UserName="skyferry-keyed")["AccessKeyMetadata"]
    return {one["AccessKeyId"] for one in found}


def secret_of(conn_id: str, environ: dict[str, str]) -> str:
    more = {"_AIRFLOW_PROCESS_CONTEXT": "server", "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    code = [sys.executable, "-c", SECRET_OF, conn_id]
    done = subprocess.run(code, env={**environ, **more}, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def files_with(secret: str, folder: Path) -> list[str]:
    return [str(one) for one in folder.rglob("*") if one.is_file() and secret.encode() in one.read_bytes()]


def test_a_connection_is_made_that_works_and_whose_secret_nothing_else_has(
    guarded: Guarded, environ: dict[str, str], rest: httpx.Client, airflow_services: LocalAirflow
) -> None:
    made = transfer("provision", "--id", "keyed", "--access-key", "aws_keyed", environ=environ)
    assert made.returncode == 0, made.stderr[-3000:]
    (first,) = keys(guarded)
    assert f'connection "aws_keyed" has the access key {first}' in made.stderr
    secret = secret_of("aws_keyed", environ)
    works_alone(guarded, environ)

    again = transfer("provision", "--id", "keyed", "--access-key", "aws_keyed", environ=environ)
    assert (again.returncode, keys(guarded)) == (2, {first})
    assert "is there already" in again.stderr
    asked = ("provision", "--id", "keyed", "--access-key", "aws_keyed", "--replace-key", "--json")
    other = transfer(*asked, environ=environ)
    assert other.returncode == 0, other.stderr[-3000:]
    (second,) = keys(guarded)
    told = document(other, "transfer provision")
    assert (told["state"], told["access_key"]) == ("success", {"key_id": second, "conn_id": "aws_keyed"})
    assert second != first
    newer = secret_of("aws_keyed", environ)
    assert len({secret, newer}) == 2
    works_alone(guarded, environ)

    events = [event for event in logged(rest) if event["event"] in ("post_connection", "patch_connection")]
    assert {event["event"] for event in events} == {"post_connection", "patch_connection"}
    for one in (secret, newer):
        assert len(one) > 20
        assert one not in json.dumps(events)
        assert all(one not in text for done in (made, again, other) for text in (done.stdout, done.stderr))
        assert files_with(one, airflow_services.layout.state) == []
    assert "botocore" in made.stdout + made.stderr, "at this level clients tell everything they do"

    removed = transfer("deprovision", "--id", "keyed", environ=environ)
    assert removed.returncode == 0, removed.stderr[-3000:]
    assert 'The Airflow connection "aws_keyed" is left' in " ".join(removed.stdout.split())
    assert guarded.client("iam").list_users()["Users"] == []


def works_alone(guarded: Guarded, environ: dict[str, str]) -> None:
    """Assert that the connection may do what the route does, and nothing else, when IAM is asked."""
    s3 = guarded.client("s3")
    s3.put_object(Bucket="shop", Key="orders/1.csv", Body=b"one")
    s3.put_object(Bucket="shop", Key="refunds/1.csv", Body=b"one")
    guarded.enforce(on=True)
    try:
        read = transfer("cat", "s3://shop/orders/1.csv", "--conn", "aws_keyed", environ=quiet(environ))
        assert (read.returncode, read.stdout) == (0, "one"), read.stderr
        denied = transfer("cat", "s3://shop/refunds/1.csv", "--conn", "aws_keyed", environ=quiet(environ))
        assert denied.returncode != 0
        assert "denied" in denied.stderr
    finally:
        guarded.enforce(on=False)
    for key in ("orders/1.csv", "refunds/1.csv"):
        s3.delete_object(Bucket="shop", Key=key)


def quiet(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}


def logged(rest: httpx.Client) -> list[Any]:
    answer = rest.get("/api/v2/eventLogs", params={"limit": 100, "order_by": "-when"})
    return list(answer.raise_for_status().json()["event_logs"])


def test_who_may_not_write_connections_makes_no_key(
    guarded: Guarded, environ: dict[str, str], airflow_services: LocalAirflow
) -> None:
    login = {
        "TRANSFER_AIRFLOW_URL": airflow_services.url,
        "TRANSFER_AIRFLOW_USER": "user",
        "TRANSFER_AIRFLOW_PASSWORD": airflow_services.password_of("user"),
    }
    asked = transfer("provision", "--id", "keyed", "--access-key", "aws_keyed", environ=quiet(environ) | login)
    assert asked.returncode == 2
    assert "does not let this login do that" in asked.stderr
    assert keys(guarded) == set()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--replace-key",), "goes with --access-key"),
        (("--access-key", "aws_keyed", "--dry-run"), "goes without --dry-run"),
        (("--access-key", "aws keyed"), "is no id of a connection"),
        (("--access-key", "aws_keyed"), 'route "orders" has no IAM user'),
    ],
)
def test_what_can_have_no_key_is_refused_before_anything_is_done(
    environ: dict[str, str], more: tuple[str, ...], message: str
) -> None:
    done = transfer("provision", "--id", "orders", *more, environ=quiet(environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
