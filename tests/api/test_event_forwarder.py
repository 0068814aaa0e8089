"""The Lambda forwarder against a real Airflow: events as AWS sends them, with faults between."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest

from skyferry.detect.s3_events import parse_message
from skyferry.lambda_forwarder import forward_event
from skyferry.lambda_forwarder.airflow_address import Login, read_login
from skyferry.lambda_forwarder.forward_event import EventForwarder
from skyferry.lambda_forwarder.http_post import ForwardError
from stack.health import free_port
from stack.running import Endpoint
from tests.api.conftest import Clients, token, wait_for_dag
from tests.api.test_transfers_over_http import CREATED
from tests.faults.proxy import FaultProxy, Forward, Request, Response, answer, drop_reply, fault_proxy_in_thread, refuse
from tests.local_airflow import LocalAirflow
from tests.unit.detect.samples import Happening, eventbridge
from tests.unit.detect.test_corpora import CHOSEN, entries

pytestmark = pytest.mark.slow

ROUTE = """\
id: forwarded
source: {url: "s3://forwarded-shop/orders/"}
destination: {url: "s3://forwarded-archive/orders/"}
"""
EVENT = json.loads(json.dumps(CREATED).replace("bell-shop", "forwarded-shop"))
HOUR = 3600.0


@pytest.fixture(scope="module", autouse=True)
def _no_proxies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def between(airflow_services: LocalAirflow) -> Iterator[FaultProxy]:
    with fault_proxy_in_thread(airflow_services.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def rung(clients: Clients) -> Iterator[Callable[[], str]]:
    """A route on hold, so that a run that was rung for waits; says which run waits, and takes it away."""
    clients.op.put("/routes/forwarded", json={"text": ROUTE}).raise_for_status()
    wait_for_dag(clients, "forwarded")
    dag = clients.op.base_url.join("/api/v2/dags/transfer__forwarded")
    clients.op.patch(dag, json={"is_paused": True}).raise_for_status()

    def take() -> str:
        runs = clients.op.get(f"{dag}/dagRuns", params={"state": "queued"}).raise_for_status().json()["dag_runs"]
        for run in runs:
            clients.op.delete(f"{dag}/dagRuns/{run['dag_run_id']}").raise_for_status()
        return ", ".join(run["dag_run_id"] for run in runs)

    yield take
    take()
    clients.op.delete("/routes/forwarded")


@pytest.fixture
def login(airflow_services: LocalAirflow) -> Login:
    return Login("user", airflow_services.password_of("user"))


@pytest.fixture
def forwarder(between: FaultProxy, login: Login) -> EventForwarder:
    between.clear()
    return EventForwarder(between.url, log_in=lambda: login, sleep=lambda _: None, timeout_seconds=60)


def forward(found: EventForwarder, event: Any = EVENT) -> dict[str, Any]:
    return found.forward(event, seconds_left=lambda: HOUR)


@pytest.mark.parametrize("event", [EVENT, json.loads(eventbridge(Happening(bucket="forwarded-shop", key="orders/a")))])
def test_an_event_starts_the_route(forwarder: EventForwarder, rung: Callable[[], str], event: Any) -> None:
    [ring] = forward(forwarder, event)["rings"]
    assert (ring["route"], ring["rung"]) == ("forwarded", "started")
    [again] = forward(forwarder, event)["rings"]
    assert (again["rung"], again["run_id"]) == ("already_waiting", ring["run_id"])
    assert rung() == ring["run_id"]


@pytest.mark.parametrize("entry", entries("s3-events"))
def test_events_of_aws_are_taken_as_their_labels_say(
    forwarder: EventForwarder, corpora: Path, entry: dict[str, Any]
) -> None:
    raw = (corpora / entry["file"]).read_bytes()
    try:
        event = json.loads(raw)
    except ValueError:
        pytest.skip("Lambda gives a function nothing but JSON")
    action = CHOSEN.get(entry["expected"]["action"], entry["expected"]["action"])
    if action == "poison":
        with pytest.raises(ForwardError, match="answered 422: this is no event of S3"):
            forward(forwarder, event)
        return
    found = forward(forwarder, event)
    arrived = [one for one in parse_message(raw).records if one.kind in {"created", "restored"}]
    assert found["objects"] == len(arrived) >= len(entry["expected"].get("objects", ()))
    assert found["rings"] == []


def test_503_and_then_fine(forwarder: EventForwarder, between: FaultProxy, rung: Callable[[], str]) -> None:
    between.inject(answer(503, headers={"Retry-After": "1"}), target_contains="/events", times=2)
    between.inject(answer(503), target_contains="/auth/token", times=1)
    [ring] = forward(forwarder)["rings"]
    assert rung() == ring["run_id"]


def test_an_answer_that_is_lost_starts_no_second_run(
    forwarder: EventForwarder, between: FaultProxy, rung: Callable[[], str]
) -> None:
    between.inject(drop_reply(), target_contains="/events", times=1)
    [ring] = forward(forwarder)["rings"]
    assert ring["rung"] == "already_waiting"
    assert rung() == ring["run_id"]


def test_an_answer_that_does_not_come_is_not_waited_for(
    between: FaultProxy, login: Login, rung: Callable[[], str]
) -> None:
    between.clear()
    found = EventForwarder(between.url, log_in=lambda: login, sleep=lambda _: None, timeout_seconds=15)
    between.inject(_silence, target_contains="/events", times=1)
    [ring] = forward(found)["rings"]
    assert between.count(target_contains="/events") == 2
    assert rung() == ring["run_id"]


async def _silence(request: Request, forward: Forward) -> Response:
    del request, forward
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("kind", ["expired", "forged"])
def test_an_old_token_is_renewed(
    between: FaultProxy, airflow_services: LocalAirflow, login: Login, rung: Callable[[], str], kind: str
) -> None:
    """Airflow itself refuses both: with 401 the one that has expired, with 403 the one of another key."""
    between.clear()
    old = expired_token(airflow_services) if kind == "expired" else "a.b.c"
    logins = iter([Login(token=old), login])
    found = EventForwarder(between.url, log_in=lambda: next(logins), sleep=lambda _: None, timeout_seconds=60)
    status = {"expired": 401, "forged": 403}[kind]
    with pytest.raises(ForwardError, match=f"answered {status}: .*Tokens of Airflow expire"):
        forward(found)
    # As after a day of calls: the token it kept is old by now.
    found._token = old
    [ring] = forward(found)["rings"]
    assert rung() == ring["run_id"]


def expired_token(airflow: LocalAirflow) -> str:
    """A token of this Airflow that was valid until an hour ago."""
    fresh = token(airflow, "user")
    claims = jwt.decode(fresh, options={"verify_signature": False})
    secret = airflow.environment["AIRFLOW__API_AUTH__JWT_SECRET"]
    return jwt.encode(claims | {"exp": claims["iat"] - HOUR}, secret, jwt.get_unverified_header(fresh)["alg"])


def test_who_may_start_nothing_is_told_so(
    between: FaultProxy, airflow_services: LocalAirflow, rung: Callable[[], str]
) -> None:
    between.clear()
    viewer = Login("viewer", airflow_services.password_of("viewer"))
    found = EventForwarder(between.url, log_in=lambda: viewer, timeout_seconds=60)
    with pytest.raises(ForwardError, match="answered 403: no route was rung; forwarded: .*who may start the routes"):
        forward(found)
    assert rung() == ""


def test_a_wrong_password_is_told_without_it(between: FaultProxy, login: Login) -> None:
    wrong = replace(login, password="hunter2")
    found = EventForwarder(between.url, log_in=lambda: wrong, timeout_seconds=60)
    with pytest.raises(ForwardError, match='gave no token for user "user"') as failed:
        forward(found)
    assert "hunter2" not in str(failed.value)


def test_an_airflow_that_is_not_there_is_told(login: Login) -> None:
    found = EventForwarder(f"http://127.0.0.1:{free_port()}", log_in=lambda: login, sleep=lambda _: None)
    with pytest.raises(ForwardError, match="after 5 of 5 attempts .* did not answer: ConnectionRefusedError"):
        forward(found)


def test_a_connection_that_is_reset_is_made_again(
    forwarder: EventForwarder, between: FaultProxy, rung: Callable[[], str]
) -> None:
    between.inject(refuse(), times=2)
    [ring] = forward(forwarder)["rings"]
    assert rung() == ring["run_id"]


class Context:
    """What Lambda hands to a function beside the event."""

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def test_the_function_as_lambda_calls_it_with_a_secret(
    moto: Endpoint,
    airflow_services: LocalAirflow,
    login: Login,
    rung: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("secretsmanager", endpoint_url=moto.url, region_name="eu-central-1", **keys)
    values = json.dumps({"user": login.user, "password": login.password})
    secret = client.create_secret(Name=f"airflow-{uuid.uuid4().hex}", SecretString=values)["ARN"]
    for name, value in {
        "TRANSFER_AIRFLOW_URL": airflow_services.url,
        "TRANSFER_AIRFLOW_SECRET": secret,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():
        monkeypatch.setenv(name, value)
    forward_event._forwarder.cache_clear()
    [ring] = forward_event.handle(EVENT, Context())["rings"]
    assert rung() == ring["run_id"]
    client.put_secret_value(SecretId=secret, SecretString="no JSON, but hunter2")
    with pytest.raises(ForwardError, match="is no JSON object; store one in it with user and password") as failed:
        read_login()
    assert "hunter2" not in str(failed.value)
    client.put_secret_value(SecretId=secret, SecretString='{"username": "user"}')
    with pytest.raises(ForwardError, match="holds no login; store a JSON object in it"):
        read_login()
    monkeypatch.setenv("TRANSFER_AIRFLOW_SECRET", f"{secret[:-6]}abcdef")
    with pytest.raises(ForwardError, match=r"was refused \(ResourceNotFoundException\)"):
        read_login()
