"""The step `webhook`: posts the report of a transfer to an HTTP endpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import requests
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import BaseOperator

from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.transfer_connections import find_connection_of_type
from operators.then_step import ThenStepMixin
from skyferry.errors import ConnectionLostError, PermanentError, ThrottledError, TransferError
from skyferry.then_steps import WebhookStep

if TYPE_CHECKING:
    from airflow.sdk import Context

_TIMEOUT_SECONDS = 60.0
_THROTTLED = frozenset({429, 503})


class WebhookOperator(ThenStepMixin, BaseOperator):
    """Posts the report as JSON to the endpoint of an `http` connection, with its login and its headers.

    The endpoint may get it more than once: an attempt that got no answer is repeated. Every attempt carries the same
    `Idempotency-Key`. Any answer of 2xx counts as taken; redirects are not followed.
    """

    def __init__(self, *, step: WebhookStep, route_id: str, is_share: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = step.conn_id
        self.path = step.path
        self.only_if_copied = step.only_if_copied
        self.route_id = route_id
        self.is_share = is_share

    def execute(self, context: Context) -> None:
        """Post; raises `StageFailed`, already logged, for everything that was foreseen."""
        report = self.report_of(context)
        with failing_plainly(self.log):
            find_connection_of_type(self.conn_id, expected="http", named_by=f"then of {self.route_id}", known=())
            self._post(json.dumps(report), self.idempotency_key(context))

    def _post(self, body: str, key: str) -> None:
        hook = HttpHook(method="POST", http_conn_id=self.conn_id)
        what = f'posting the report to the connection "{self.conn_id}", path "{self.path}", failed'
        try:
            answer = hook.run(
                self.path,
                data=body,
                headers={"Content-Type": "application/json", "Idempotency-Key": key},
                extra_options={"timeout": _TIMEOUT_SECONDS, "check_response": False, "allow_redirects": False},
            )
        except requests.ConnectionError as error:
            raise ConnectionLostError(f"{what}: {type(error).__name__}", hint=_HINT) from error
        except requests.Timeout as error:
            raise ConnectionLostError(f"{what}: no answer within {_TIMEOUT_SECONDS:.0f} s", hint=_HINT) from error
        except (requests.RequestException, ValueError) as error:
            raise PermanentError(
                f"{what}: {type(error).__name__}", hint="correct the host of the connection"
            ) from error
        if answer.status_code // 100 != 2:
            raise _refusal(answer.status_code, what)
        self.log.info("posted the report to %s: %d", self.conn_id, answer.status_code)


_HINT = "the transfer itself is complete"


def _refusal(status: int, what: str) -> TransferError:
    if status in _THROTTLED:
        return ThrottledError(f"{what}: the endpoint answered {status}", hint=_HINT)
    if status >= 500:
        return ConnectionLostError(f"{what}: the endpoint answered {status}", hint=_HINT)
    return PermanentError(
        f"{what}: the endpoint answered {status}; expected 2xx",
        hint=f"correct the connection or the path; {_HINT}",
    )
