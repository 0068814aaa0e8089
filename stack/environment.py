"""The environment variables with which any process becomes part of a local stack: Airflow's settings and connections.

Every credential here is a published development one (Azurite's account key stands in Microsoft's documentation),
except for the three signing secrets, which are drawn at random for each stack and stay in its state folder.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from stack.components import component
from stack.layout import ROOT, STATE_VARIABLE, Layout

_SETTINGS: Final = Path(__file__).parent
USER: Final = "admin"
PASSWORD: Final = "admin"  # noqa: S105 - the development login, printed by `make up`
AZURITE_ACCOUNT: Final = "devstoreaccount1"
AZURITE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_SECRETS_FILE: Final = "secrets.json"


def airflow_settings(executor: Literal["local", "celery"] = "local") -> dict[str, str]:
    """The settings of Airflow that hold everywhere, and those that go with an executor."""
    return {**read_settings(_SETTINGS / "airflow.env"), **read_settings(_SETTINGS / f"{executor}.env")}


def read_settings(file: Path) -> dict[str, str]:
    """The settings of an env file, read the way Docker reads one: NAME=VALUE, no quotes, `#` lines are comments."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def stack_environment(layout: Layout, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a process needs, on top of what it inherits, to be part of the stack.

    Draws the stack's signing secrets at its first call and keeps them from then on.

    Args:
        layout: The stack.
        inherited: Read for the lists that are extended rather than replaced (PATH, NO_PROXY).
    """
    return {
        **airflow_settings(),
        **_airflow_places(layout),
        **_signing_secrets(layout.state),
        **connections(layout),
        **{variable: str(port) for variable, port in layout.ports.items()},
        STATE_VARIABLE: str(layout.state),
        "SKYFERRY_LOCAL_ROOTS": str(layout.exchange),
        **_search_paths(inherited),
    }


def connections(layout: Layout) -> dict[str, str]:
    """Airflow connections to the emulators, and the variable by which Google's own clients find theirs."""
    azurite = f"{layout.url(component('azurite'))}/{AZURITE_ACCOUNT}"
    gcs = layout.url(component("fake-gcs-server"))
    wanted: dict[str, dict[str, object]] = {
        "aws_default": {
            "conn_type": "aws",
            "login": "testing",
            "password": "testing",
            "extra": {"endpoint_url": layout.url(component("moto")), "region_name": "us-east-1"},
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
    variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in wanted.items()}
    return {**variables, "STORAGE_EMULATOR_HOST": gcs}


def azurite_connection_string(blob_endpoint: str) -> str:
    """The connection string of Azurite's well-known account at a blob endpoint (which ends in the account name)."""
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": AZURITE_ACCOUNT,
        "AccountKey": AZURITE_KEY,
        "BlobEndpoint": blob_endpoint,
    }
    return ";".join(f"{name}={value}" for name, value in parts.items()) + ";"


def export_lines(variables: Mapping[str, str]) -> str:
    """Shell text that exports the variables, whatever characters their values hold."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def write_login(layout: Layout) -> None:
    """Give Airflow's simple auth manager its one user with the fixed development password, and `transfer` the login."""
    _write_private(
        layout.airflow_home / "simple_auth_manager_passwords.json.generated",
        json.dumps({USER: PASSWORD}) + "\n",
    )
    url = layout.url(component("api-server"))
    login = {"url": url, "user": USER, "password": PASSWORD, "records": str(layout.state / "skyferry-state")}
    _write_private(layout.access_file, "".join(f"{name}: {json.dumps(value)}\n" for name, value in login.items()))


def _airflow_places(layout: Layout) -> dict[str, str]:
    url = layout.url(component("api-server"))
    lineage = {"type": "file", "log_file_path": str(layout.state / "lineage.ndjson"), "append": True}
    return {
        "AIRFLOW_HOME": str(layout.airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(layout.port(component("api-server"))),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
    }


def _signing_secrets(state: Path) -> dict[str, str]:
    file = state / _SECRETS_FILE
    if not file.exists():
        fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        drawn = {
            # 64 random bytes each: Airflow signs with SHA-512 and warns about anything shorter.
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(64),
            "AIRFLOW__CORE__FERNET_KEY": fernet,
        }
        _write_private(file, json.dumps(drawn, indent=2) + "\n")
    stored: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return stored


def _search_paths(inherited: Mapping[str, str]) -> dict[str, str]:
    tools = str(Path(sys.executable).parent)
    # Without this, requests to the emulators would be sent to the proxy of a machine that has one.
    direct = ["127.0.0.1", "localhost"]
    return {
        "PATH": _prepended([tools], inherited.get("PATH", os.defpath), os.pathsep),
        "NO_PROXY": _prepended(direct, inherited.get("NO_PROXY", ""), ","),
        "no_proxy": _prepended(direct, inherited.get("no_proxy", ""), ","),
    }


def _prepended(first: list[str], text: str, separator: str) -> str:
    rest = [entry for entry in text.split(separator) if entry and entry not in first]
    return separator.join([*first, *rest])


def _write_private(file: Path, text: str) -> None:
    """Put text into a file that nobody else can read, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)
