"""The forwarder by itself: how long it waits, what it says, what it never says, and that its zip needs only Python."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.lambda_forwarder import http_post
from skyferry.lambda_forwarder.airflow_address import Login, airflow_url, read_login
from skyferry.lambda_forwarder.forward_event import (
    LONGEST_PAUSE_SECONDS,
    MAX_ATTEMPTS,
    EventForwarder,
    pause_seconds,
)
from skyferry.lambda_forwarder.http_post import ForwardError, seconds_of
from skyferry.provisioning.forwarder_package import HANDLER, code_digest, forwarder_package
from tests.faults.proxy import (
    Fault,
    FaultProxy,
    Forward,
    Request,
    Response,
    answer,
    cut_reply,
    fault_proxy_in_thread,
    refuse,
)

EVENT = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "shop"}, "object": {"key": "a"}}}]}
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NOBODY = "http://127.0.0.1:9"
PASSWORD = "hunter2-of-the-function"
RUNG = {"objects": 1, "rings": [{"route": "orders", "rung": "started"}], "reason": ""}


def airflow(token: str = "token-1", reply: object = RUNG) -> Fault:
    """An Airflow as far as the forwarder sees one."""

    async def fault(request: Request, forward: Forward) -> Response:
        del forward
        if request.target == "/auth/token":
            known = json.loads(request.body) == {"username": "ringer", "password": PASSWORD}
            return Response(201 if known else 401, (), json.dumps({"access_token": token} if known else {}).encode())
        if request.header("Authorization") != f"Bearer {token}":
            return Response(401, (), b'{"detail": "Invalid token"}')
        return Response(200, (), json.dumps(reply).encode())

    return fault


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with fault_proxy_in_thread(NOBODY, always=airflow()) as found:
        yield found


def forwarder(url: str, waits: list[float], login: Callable[[], Login] | None = None) -> EventForwarder:
    known = login or (lambda: Login("ringer", PASSWORD))
    return EventForwarder(url, log_in=known, sleep=waits.append, chance=lambda: 0.5)


def forward(found: EventForwarder, *, seconds_left: float = 3600) -> dict[str, Any]:
    return found.forward(EVENT, seconds_left=lambda: seconds_left)


def test_an_event_is_delivered_and_the_token_kept(proxy: FaultProxy) -> None:
    waits: list[float] = []
    found = forwarder(proxy.url, waits)
    assert [forward(found), forward(found)] == [RUNG, RUNG]
    assert (proxy.count(target_contains="/auth/token"), proxy.count(target_contains="/events"), waits) == (1, 2, [])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_and_not_before_it_is_asked_for(proxy: FaultProxy, status: int) -> None:
    waits: list[float] = []
    proxy.inject(answer(status, headers={"Retry-After": "7"}), target_contains="/events", times=2)
    assert forward(forwarder(proxy.url, waits)) == RUNG
    assert waits == [7.5, 8.0]


@pytest.mark.parametrize("fault", [refuse(), cut_reply(10), cut_reply(10, resets=False), answer(503)])
def test_a_connection_that_breaks_is_made_again(proxy: FaultProxy, fault: Fault) -> None:
    waits: list[float] = []
    proxy.inject(fault, target_contains="/events", times=1)
    proxy.inject(refuse(), target_contains="/auth/token", times=1)
    assert forward(forwarder(proxy.url, waits)) == RUNG
    assert waits == [0.5, 1.0]


def test_it_stops_after_some_attempts(proxy: FaultProxy) -> None:
    waits: list[float] = []
    proxy.inject(answer(503), target_contains="/events")
    with pytest.raises(ForwardError, match=f"after {MAX_ATTEMPTS} of {MAX_ATTEMPTS} attempts .* answered 503"):
        forward(forwarder(proxy.url, waits))
    assert (proxy.count(target_contains="/events"), len(waits)) == (MAX_ATTEMPTS, MAX_ATTEMPTS - 1)


def test_no_attempt_is_begun_that_lambda_would_cut_off(proxy: FaultProxy) -> None:
    waits: list[float] = []
    proxy.inject(answer(503, headers={"Retry-After": "100"}), target_contains="/events")
    with pytest.raises(ForwardError, match="after 1 of 5 attempts in the time of this call"):
        forward(forwarder(proxy.url, waits), seconds_left=119)
    assert (proxy.count(target_contains="/events"), waits) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 413, 422])
def test_what_will_not_pass_is_raised_at_once(proxy: FaultProxy, status: int) -> None:
    body = json.dumps({"detail": "this is no event of S3: because"}).encode()
    proxy.inject(answer(status, headers={"Location": proxy.url}, body=body), target_contains="/events")
    waits: list[float] = []
    with pytest.raises(ForwardError, match=f"answered {status}: this is no event of S3: because"):
        forward(forwarder(proxy.url, waits))
    assert (proxy.count(target_contains="/events"), proxy.count(), waits) == (1, 2, [])


@pytest.mark.parametrize("status", [401, 403])
def test_an_old_token_is_renewed_once(proxy: FaultProxy, status: int) -> None:
    waits: list[float] = []
    found = forwarder(proxy.url, waits)
    forward(found)
    proxy.inject(answer(status), target_contains="/events", times=1)
    assert forward(found) == RUNG
    assert proxy.count(target_contains="/auth/token") == 2
    proxy.inject(answer(status), target_contains="/events")
    with pytest.raises(ForwardError, match=f"answered {status}. Tokens of Airflow expire"):
        forward(found)
    assert (proxy.count(target_contains="/auth/token"), waits) == (3, [])


def test_a_login_that_is_refused_is_not_tried_again_and_read_anew_the_next_time(proxy: FaultProxy) -> None:
    logins = iter([Login("ringer", "old-" + PASSWORD), Login("ringer", PASSWORD)])
    found = forwarder(proxy.url, [], lambda: next(logins))
    with pytest.raises(ForwardError, match=r'gave no token for user "ringer" \(status 401\); check user and password'):
        forward(found)
    assert forward(found) == RUNG


@pytest.mark.parametrize("reply", ["<html>", [], {"rings": None}, {"reason": "no"}])
def test_an_answer_of_somebody_else_is_no_delivery(proxy: FaultProxy, reply: object) -> None:
    proxy.always = airflow(reply=reply)
    with pytest.raises(ForwardError, match="answered 200. Check that the address is Airflow's"):
        forward(forwarder(proxy.url, []))


def test_a_route_that_was_not_rung_is_no_delivery(proxy: FaultProxy) -> None:
    refused = {"route": "orders", "rung": "refused", "detail": "Forbidden"}
    proxy.always = airflow(reply={"objects": 1, "rings": [RUNG["rings"][0], refused], "reason": ""})  # type: ignore[index]
    with pytest.raises(ForwardError, match="1 of 2 routes were not rung: orders: Forbidden"):
        forward(forwarder(proxy.url, []))


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a b", "", "ü"])
def test_a_token_that_is_none_is_not_sent_and_not_shown(proxy: FaultProxy, token: str) -> None:
    proxy.always = airflow(token=token)
    with pytest.raises(ForwardError, match="holds characters that no token has") as failed:
        forward(forwarder(proxy.url, []))
    assert not token or token not in str(failed.value)


async def echo(request: Request, forward: Forward) -> Response:
    """Something that is no Airflow sends back all it gets, as the detail of an error too."""
    del forward
    text = f"{request.headers} {request.body.decode()}"
    return Response(418, (), json.dumps({"detail": text}).encode())


def test_neither_token_nor_password_is_shown(proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found, texts = forwarder(proxy.url, []), []
    proxy.inject(answer(503), times=2)
    forward(found)
    for fault in (echo, answer(401), refuse()):
        proxy.inject(fault, times=MAX_ATTEMPTS)
        with pytest.raises(ForwardError) as failed:
            forward(found)
        texts.append(repr(failed.value) + repr(failed.value.__cause__))
    shown = caplog.text + "".join(texts) + repr(Login("ringer", PASSWORD, "token-1"))
    assert "token-1" not in shown
    assert PASSWORD not in shown
    assert "attempt 1 of 5" in shown
    assert "Bearer ***" in shown, "the answer of whoever sends back all it gets is shown"


@pytest.mark.parametrize("url", ["", "airflow", "ftp://a", "https://", "https://u:geheim@a", "https://a?geheim=1"])
def test_an_address_that_is_none_is_told_and_not_shown(url: str) -> None:
    with pytest.raises(ForwardError, match="set TRANSFER_AIRFLOW_URL of the function") as failed:
        airflow_url({"TRANSFER_AIRFLOW_URL": url})
    assert "geheim" not in str(failed.value)


def test_logins_of_variables() -> None:
    assert airflow_url({"TRANSFER_AIRFLOW_URL": "https://a.example/deployment/"}) == "https://a.example/deployment"
    both = {"TRANSFER_AIRFLOW_USER": "u", "TRANSFER_AIRFLOW_PASSWORD": "p"}
    assert read_login(both) == Login("u", "p")
    assert read_login({"TRANSFER_AIRFLOW_TOKEN": "t"}) == Login(token="t")
    for missing in ({}, {"TRANSFER_AIRFLOW_USER": "u"}):
        with pytest.raises(ForwardError, match="the function has no login for Airflow; set TRANSFER_AIRFLOW_SECRET"):
            read_login(missing)
    with pytest.raises(ForwardError, match="is no ARN of a secret"):
        read_login({"TRANSFER_AIRFLOW_SECRET": "airflow"})


@given(st.integers(1, MAX_ATTEMPTS), st.floats(0, 10_000), st.floats(0, 1))
def test_pauses_are_bounded_and_honour_what_is_asked_for(attempt: int, asked: float, chance: float) -> None:
    pause = pause_seconds(attempt, asked_seconds=asked, chance=chance)
    assert asked <= pause <= asked + LONGEST_PAUSE_SECONDS
    assert pause_seconds(attempt, asked_seconds=0, chance=1) >= pause_seconds(
        max(1, attempt - 1), asked_seconds=0, chance=1
    )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 5 ", 5),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Sat, 21 Nov 2026 12:00:10", 10),
        *((text, 0) for text in (None, "", "-3", "soon", "1e9", "²", "9" * 9999 + "x")),
        ("Sat, 21 Nov 2026 12:00:10 +99999999999999999999", 0),
    ],
)
def test_what_retry_after_asks_for(header: str | None, seconds: float) -> None:
    assert seconds_of(header, now=NOW) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_a_number_of_seconds(header: str) -> None:
    assert seconds_of(header, now=NOW) >= 0


def test_a_slow_answer_is_not_waited_for(proxy: FaultProxy) -> None:
    """The first request is never answered; the short wait for it bounds nothing else."""

    async def silence(request: Request, forward: Forward) -> Response:
        del request, forward
        await asyncio.Event().wait()
        raise AssertionError

    proxy.inject(silence)
    begin = time.monotonic()
    with pytest.raises(http_post.TryAgainError, match="did not answer: TimeoutError"):
        http_post.post(proxy.url, b"", {}, timeout_seconds=0.2)
    assert time.monotonic() - begin < 20


def test_the_package_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    package = forwarder_package()
    assert package == forwarder_package()
    assert len(code_digest(package)) == 44
    (tmp_path / "forwarder.zip").write_bytes(package)
    with zipfile.ZipFile(tmp_path / "forwarder.zip") as found:
        assert found.testzip() is None
        assert {entry.date_time[0] for entry in found.infolist()} == {1980}
        assert all(entry.external_attr >> 16 == 0o100644 for entry in found.infolist())


def test_the_package_alone_is_the_function(tmp_path: Path, proxy: FaultProxy) -> None:
    """Unpacked as Lambda does, in a Python that sees nothing beside its own library."""
    (tmp_path / "forwarder.zip").write_bytes(forwarder_package())
    with zipfile.ZipFile(tmp_path / "forwarder.zip") as package:
        package.extractall(tmp_path / "task")
    module, _, function = HANDLER.rpartition(".")
    program = f"""
import importlib, json, sys
sys.path.insert(0, {str(tmp_path / "task")!r})
class Context:
    def get_remaining_time_in_millis(self): return 3600_000
answer = importlib.import_module({module!r}).{function}(json.loads({json.dumps(EVENT)!r}), Context())
known = {{*sys.stdlib_module_names, "skyferry", "__main__"}}
foreign = [name for name in sys.modules if name.partition(".")[0] not in known]
print(json.dumps([answer, foreign]))
"""
    variables = {
        "TRANSFER_AIRFLOW_URL": proxy.url,
        "TRANSFER_AIRFLOW_USER": "ringer",
        "TRANSFER_AIRFLOW_PASSWORD": PASSWORD,
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [RUNG, []]
