"""A whole Airflow with Celery workers of a test session's own: real Postgres and Redis, everything on this machine.

    with celery_airflow(tmp_path, workers=["one", "two"]) as cluster:
        cluster.workers["one"].kill()

Each worker is a process tree as it would be on a machine of its own; the workers share nothing but the broker, the
API server, and whatever store the state folder is in.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from stack.components import CELERY_WORKER_COMMAND
from stack.environment import airflow_settings
from stack.health import last_lines
from stack.servers import postgres, redis
from tests.local_airflow import LocalAirflow, local_airflow

SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
START_SECONDS = 300
STOP_SECONDS = 20


@dataclass(frozen=True)
class Worker:
    """A Celery worker and all processes below it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def pids(self) -> set[int]:
        """Return its process and all below it, also those of the tasks it runs."""
        try:
            leader = psutil.Process(self.process.pid)
            return {leader.pid, *(child.pid for child in leader.children(recursive=True))}
        except psutil.NoSuchProcess:
            return set()

    def hold(self) -> None:
        """Stop all of it where it is."""
        self._signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End all of it at once, as if its machine lost its power."""
        self.hold()  # or one of its processes would see another one die, and say so
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """End it in good order: what it runs may come to its end."""
        self.let_go()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.kill()


@dataclass(frozen=True)
class CeleryAirflow:
    """A running Airflow and its workers, by name."""

    airflow: LocalAirflow
    workers: Mapping[str, Worker]

    def client(self) -> httpx.Client:
        """Return a client of the API server that is logged in."""
        airflow = self.airflow
        client = httpx.Client(base_url=airflow.url, trust_env=False, timeout=60)
        login = {"username": airflow.user, "password": airflow.password}
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        return client


@contextmanager
def celery_airflow(
    folder: Path,
    *,
    workers: Sequence[str],
    routes: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    is_durable: bool = False,
) -> Iterator[CeleryAirflow]:
    """Start Postgres, Redis, Airflow and the workers, wait until they are ready, and stop them at the end of the block.

    Args:
        folder: Everything is written there, save the data of Postgres.
        workers: Their names.
        routes: As for `local_airflow`.
        environment: Added to the settings of all processes.
        is_durable: Whether Postgres waits for the disk.
    """
    with ExitStack() as started:
        database = started.enter_context(postgres(folder, is_durable=is_durable))
        settings = {
            **airflow_settings("celery"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CELERY__BROKER_URL": started.enter_context(redis(folder)),
            **(environment or {}),
        }
        airflow = started.enter_context(local_airflow(folder, services=SERVICES, routes=routes, environment=settings))
        made = {name: started.enter_context(_worker(name, airflow)) for name in workers}
        for worker in made.values():
            _await_ready(worker)
        yield CeleryAirflow(airflow, made)


@contextmanager
def _worker(name: str, airflow: LocalAirflow) -> Iterator[Worker]:
    folder = airflow.layout.state / f"worker-{name}"
    folder.mkdir(exist_ok=True)
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "airflow", *CELERY_WORKER_COMMAND, "--celery-hostname", f"{name}@{name}"],
            env={**os.environ, **airflow.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    worker = Worker(name, process, log)
    try:
        yield worker
    finally:
        worker.stop()


def _await_ready(worker: Worker) -> None:
    deadline = time.monotonic() + START_SECONDS
    while b" ready." not in worker.log.read_bytes():
        assert worker.process.poll() is None, f"worker {worker.name} ended\n{last_lines(worker.log)}"
        assert time.monotonic() < deadline, f"worker {worker.name} is not ready\n{last_lines(worker.log)}"
        time.sleep(0.2)
