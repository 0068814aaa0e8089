"""The handler: posts an event of S3 or EventBridge to `POST /transfer/v1/events`, with bounded retries.

What cannot be delivered is raised. Lambda calls the function again then, twice unless it is told otherwise, and gives
the event to the function's dead-letter queue at last. An event that is delivered twice costs nothing: it is a ring.

The token is kept between calls and renewed when Airflow refuses it. Neither it nor the login is logged; what an address
sends back may be what it was sent, so the token is taken out of it, and nothing is shown that answers a login.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

from skyferry.lambda_forwarder.airflow_address import Login, airflow_url, read_login
from skyferry.lambda_forwarder.http_post import TIMEOUT_SECONDS, Answer, ForwardError, TryAgainError, post

MAX_ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 20.0

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
_OLD_TOKEN = frozenset({401, 403})
"""Airflow answers 401 for a token that has expired, and 403 for one that it signed with a key it has no more."""

_SHOWN_CHARACTERS = 500
_TOKEN = re.compile(r"[\x21-\x7e]+")

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)


class LambdaContext(Protocol):
    """As much of what Lambda says about a call as is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the call may still take."""


def handle(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Forward one event; the entry point of the function.

    Raises:
        ForwardError: Airflow did not take the event; says why, and what to do.
    """
    return _forwarder().forward(event, seconds_left=lambda: context.get_remaining_time_in_millis() / 1000)


@cache
def _forwarder() -> EventForwarder:
    return EventForwarder(airflow_url())


class EventForwarder:
    """Rings one Airflow; kept as long as the process that Lambda calls the function in.

    Args:
        url: Of Airflow's API server.
        log_in: Returns how to log in; asked when there is no token, or an old one.
        sleep: Waits for some seconds.
        chance: Returns a number from 0 to 1.
    """

    def __init__(
        self,
        url: str,
        *,
        log_in: Callable[[], Login] = read_login,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._log_in = log_in
        self._sleep = sleep
        self._chance = chance
        self._timeout_seconds = timeout_seconds
        self._token = ""

    def forward(self, event: Any, *, seconds_left: Callable[[], float]) -> dict[str, Any]:
        """Deliver an event and return Airflow's answer.

        Args:
            seconds_left: Until Lambda ends the call; no attempt is begun without time for one answer.

        Raises:
            ForwardError: Airflow refused the event, or did not answer as often as it was asked.
        """
        body = json.dumps(event).encode("ascii")
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return self._ring(body)
            except TryAgainError as error:
                pause = pause_seconds(attempt, asked_seconds=error.after_seconds, chance=self._chance())
                if attempt == MAX_ATTEMPTS or pause + self._timeout_seconds > seconds_left():
                    raise ForwardError(
                        f"the event was not delivered, after {attempt} of {MAX_ATTEMPTS} attempts in the time of this"
                        f" call: {error}"
                    ) from error
                _log.warning("attempt %d of %d: %s; next in %.1f s", attempt, MAX_ATTEMPTS, error, pause)
                self._sleep(pause)
        raise AssertionError

    def _ring(self, body: bytes) -> dict[str, Any]:
        known = self._token
        self._token = known or self._new_token()
        answer = self._post_event(body)
        if answer.status in _OLD_TOKEN and known:
            self._token = ""
            self._token = self._new_token()
            answer = self._post_event(body)
        if answer.status in _OLD_TOKEN:
            self._token = ""
        return self._delivered(answer)

    def _post_event(self, body: bytes) -> Answer:
        headers = {**_JSON, "Authorization": f"Bearer {self._token}"}
        answer = post(f"{self._url}/transfer/v1/events", body, headers, timeout_seconds=self._timeout_seconds)
        # Some of it is shown, and who is not Airflow may send back what it got.
        return replace(answer, body=answer.body.replace(self._token.encode("ascii"), b"***"))

    def _delivered(self, answer: Answer) -> dict[str, Any]:
        found = _object(answer)
        rings = found.get("rings")
        if answer.status != 200 or not isinstance(rings, list):
            said = f": {str(found['detail'])[:_SHOWN_CHARACTERS]}" if "detail" in found else ""
            raise ForwardError(
                f"{self._url}/transfer/v1/events answered {answer.status}{said}. {_what_to_do(answer.status)}"
            )
        refused = [ring for ring in rings if ring.get("rung") == "refused"]
        if refused:
            names = "; ".join(f"{ring.get('route')}: {ring.get('detail')}" for ring in refused)
            raise ForwardError(f"{len(refused)} of {len(rings)} routes were not rung: {names}")
        _log.info("%d objects: %s", found.get("objects", 0), json.dumps(rings) if rings else found.get("reason", ""))
        return found

    def _new_token(self) -> str:
        login = self._log_in()
        token = login.token or self._token_for(login)
        if not _TOKEN.fullmatch(token):
            # A client's own message would repeat it.
            raise ForwardError("the token for Airflow holds characters that no token has; store it again")
        return token

    def _token_for(self, login: Login) -> str:
        url = f"{self._url}/auth/token"
        body = json.dumps({"username": login.user, "password": login.password}).encode("ascii")
        answer = post(url, body, _JSON, timeout_seconds=self._timeout_seconds)
        token = _object(answer).get("access_token")
        if answer.status not in (200, 201) or not isinstance(token, str):
            raise ForwardError(
                f'{url} gave no token for user "{login.user}" (status {answer.status}); check user and password, and'
                " that the address is Airflow's"
            )
        return token


def pause_seconds(attempt: int, *, asked_seconds: float, chance: float) -> float:
    """Return how long to wait after an attempt: not less than asked for, and otherwise at random, more each time.

    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/

    Args:
        attempt: From 1.
        chance: From 0 to 1.
    """
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
    return asked_seconds + chance * longest


def _object(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _what_to_do(status: int) -> str:
    if status in _OLD_TOKEN:
        return "Tokens of Airflow expire: give the function user and password, of a user who may start the routes' DAGs"
    if status == 422:
        return "The function's trigger sends other things than events of S3"
    return "Check that the address is Airflow's, and that Skyferry is installed there"
