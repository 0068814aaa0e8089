"""Switches DAGs of the running stack on: Airflow creates every DAG paused."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Sequence
from typing import Final

from airflow_client.client import ApiClient, ApiException, Configuration
from airflow_client.client.api.dag_api import DAGApi
from airflow_client.client.models.dag_patch_body import DAGPatchBody

from stack.components import component
from stack.environment import PASSWORD, USER
from stack.layout import Layout, StackError

_REQUEST_SECONDS: Final = 30.0
_DEADLINE_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 1.0


def switch_on(layout: Layout, dag_ids: Sequence[str]) -> None:
    """Unpause DAGs, each as soon as Airflow has parsed it.

    Raises:
        StackError: Airflow does not know one of them after three minutes, or does not answer.
    """
    url = layout.url(component("api-server"))
    try:
        api = DAGApi(ApiClient(Configuration(host=url, access_token=_token(url))))
        for dag_id in dag_ids:
            _switch_on(api, dag_id)
    except OSError as error:
        raise StackError(f"Airflow does not answer at {url}: {error}; see: make status") from error


def _switch_on(api: DAGApi, dag_id: str) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        try:
            api.patch_dag(dag_id, DAGPatchBody(is_paused=False), _request_timeout=_REQUEST_SECONDS)
        except ApiException as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise StackError(
                    f"Airflow has no DAG {dag_id} ({error.status}); check its route with: transfer config validate"
                ) from error
        else:
            return
        time.sleep(_POLL_SECONDS)


def _token(url: str) -> str:
    request = urllib.request.Request(  # noqa: S310 - the stack's own address
        f"{url}/auth/token",
        data=json.dumps({"username": USER, "password": PASSWORD}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as answer:  # noqa: S310
        return str(json.load(answer)["access_token"])
