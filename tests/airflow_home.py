"""An Airflow of the test run's own, in a temporary folder; child processes see it too.

Airflow reads its settings when it is first imported, so `use_own_airflow` comes before that: conftest files of the
folders that need Airflow call it while they are loaded.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from stack.environment import AZURITE_ACCOUNT, AZURITE_KEY

PROJECT = Path(__file__).resolve().parents[1]

_home: Path | None = None


def use_own_airflow() -> Path:
    """Return the folder that holds AIRFLOW_HOME, after pointing this process's environment at it."""
    global _home  # noqa: PLW0603 - one Airflow per process, whoever asks first
    if _home is not None:
        return _home
    if "airflow" in sys.modules:
        raise RuntimeError("airflow was imported before its settings were made; call use_own_airflow in a conftest")
    _home = Path(tempfile.mkdtemp(prefix="skyferry-tests-"))
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
    for name in list(os.environ):
        if name.startswith(("AIRFLOW_", "SKYFERRY_STATE", "SKYFERRY_CONFIG", "SKYFERRY_RETRIES")):
            del os.environ[name]
    os.environ.pop("STORAGE_EMULATOR_HOST", None)
    os.environ.update(_settings(_home))
    return _home


def migrate_database() -> None:
    """Create the database; costs a few seconds."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=180)


def _settings(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        # A slow machine needs longer than the default for the first call, which builds the API server's application.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "SKYFERRY_LOCAL_ROOTS": str(home / "roots"),
    }


def connection_variables(*, moto: str, azurite: str, gcs: str, secret: str = "testing") -> dict[str, str]:
    """Return the default connections to emulators as Airflow's environment variables.

    Args:
        secret: The S3 secret key; moto takes any.
    """
    connections = {
        "aws_default": {
            "conn_type": "aws",
            "login": "testing",
            "password": secret,
            "extra": {"endpoint_url": moto, "region_name": "us-east-1"},
        },
        "wasb_default": {
            "conn_type": "wasb",
            "login": AZURITE_ACCOUNT,
            "extra": {"connection_string": azurite_connection_string(azurite)},
        },
        "google_cloud_default": {
            "conn_type": "google_cloud_platform",
            "extra": {"is_anonymous": True, "project": "skyferry", "endpoint_url": gcs},
        },
    }
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}


def azurite_connection_string(azurite: str) -> str:
    """Return the connection string of Azurite's well-known account."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
        f"BlobEndpoint={azurite}/{AZURITE_ACCOUNT};"
    )
