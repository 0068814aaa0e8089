"""An Airflow of the test run's own: home, database and configuration in a temporary folder, seen by child processes too.

Airflow reads its settings when it is first imported, so `use_own_airflow` comes before that: conftest files of the
folders that need Airflow call it while they are loaded.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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
