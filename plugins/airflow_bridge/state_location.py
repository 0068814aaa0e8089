"""Where transfers keep their manifests and receipts, as the installation is configured."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.configuration import AIRFLOW_HOME

from airflow_bridge.transfer_connections import StoreUse
from skyferry.defaults import Defaults
from skyferry.errors import RequestError
from skyferry.request import DEFAULT_CONN_IDS
from skyferry.urls import parse_location

STATE_URL_VARIABLE = "SKYFERRY_STATE_URL"
_DEFAULT_FOLDER = "skyferry-state"


def state_use(defaults: Defaults) -> StoreUse:
    """Return the place for the records of runs, creating it if it is a local folder.

    The variable SKYFERRY_STATE_URL wins over `state_url` in the defaults; without either it is a folder beside
    AIRFLOW_HOME, which serves one machine only: workers on several machines need a bucket.

    Raises:
        RequestError: The folder cannot be created, or the URL is none.
    """
    url = os.environ.get(STATE_URL_VARIABLE) or defaults.state_url
    location = parse_location(url or _default_url(), what="state_url")
    if location.kind == "file":
        _create_folder(Path(location.bucket))
    conn_id = defaults.state_conn_id or DEFAULT_CONN_IDS[location.kind]
    return StoreUse(what="state", location=location, conn_id="" if location.kind == "file" else conn_id)


def _default_url() -> str:
    return f"file://{Path(AIRFLOW_HOME).resolve().parent / _DEFAULT_FOLDER}"


def _create_folder(folder: Path) -> None:
    try:
        # Manifests name every object a transfer saw: nobody else's business on a shared machine.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"the state folder {folder} cannot be created: {error.strerror}",
            hint=f"set {STATE_URL_VARIABLE}, or `state_url` in include/config/defaults.yaml",
        ) from error
