"""One Airflow for all tests of the history, and a way to run transfers in it."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skyferry.history.airflow_access import AirflowAccess
from skyferry.history.airflow_api import AirflowApi
from skyferry.history.transfer_run import TransferRun
from tests.history.pausing import pause
from tests.local_airflow import LocalAirflow
from tests.unit.cli.command import transfer as run_transfer

DEADLINE_SECONDS = 180

Transfer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def api(airflow_services: LocalAirflow) -> AirflowApi:
    airflow = airflow_services
    return AirflowApi(AirflowAccess(url=airflow.url, user=airflow.user, password=airflow.password))


@pytest.fixture(scope="session")
def until_over(api: AirflowApi) -> Callable[[TransferRun], TransferRun]:
    """Wait until a run is over and return it."""

    def wait(run: TransferRun) -> TransferRun:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not run.is_finished:
            assert time.monotonic() < deadline, f"{run.run_id} is {run.state}: {api.tasks(run.dag_id, run.run_id)}"
            time.sleep(0.5)
            run = api.run(run.dag_id, run.run_id)
        return run

    return wait


@pytest.fixture(scope="session")
def folders(airflow_services: LocalAirflow) -> Callable[[int], tuple[Path, Path]]:
    """Make a pair of folders nobody has used: one with so many files of 10 bytes, and one that is not there yet."""
    numbers = itertools.count(1)

    def make(files: int) -> tuple[Path, Path]:
        folder = airflow_services.exchange / f"pair-{next(numbers)}"
        source = folder / "in"
        source.mkdir(parents=True)
        for number in range(files):
            (source / f"file-{number}.bin").write_bytes(b"0123456789")
        return source, folder / "out"

    return make


@pytest.fixture
def transfer(airflow_services: LocalAirflow, tmp_path: Path) -> Transfer:
    """The command in a shell of the local stack, with a cache of its own."""
    environ = {"SKYFERRY_STACK": str(airflow_services.layout.state), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return lambda *arguments: run_transfer(*arguments, environ=environ, timeout_seconds=240)


@pytest.fixture
def waiting_run(api: AirflowApi, folders: Callable[[int], tuple[Path, Path]]) -> Iterator[TransferRun]:
    """A run of `transfer` that does not begin."""
    source, destination = folders(1)
    pause(api)
    yield api.start("transfer", {"source": f"file://{source}/", "destination": f"file://{destination}/"})
    api.unpause("transfer")
