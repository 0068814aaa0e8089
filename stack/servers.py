"""A Postgres and a Redis for as long as a `with` block lasts: what a cluster of Airflow workers needs beside Airflow.

The programs are those of the machine (Debian's packages `postgresql` and `redis-server`, Homebrew's `postgresql` and
`redis`). Both listen on the loopback interface only, on free ports, and everything in them is gone at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from stack.components import HOST
from stack.health import free_port, last_lines

_DEBIAN_POSTGRES: Final = Path("/usr/lib/postgresql")
_DATABASE: Final = "airflow"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
# Postgres refuses to run as root; these are there on Debian, with and without its package.
_UNPRIVILEGED_USERS: Final = ("postgres", "nobody")


class ServerError(Exception):
    """A server is not installed, or did not start; the message says which, and ends with the last lines of its log."""


def missing_programs() -> list[str]:
    """Return the programs that are not installed; empty when `postgres` and `redis` can be started."""
    wanted = {"postgres": _postgres_program("postgres"), "initdb": _postgres_program("initdb")}
    wanted["redis-server"] = _on_path("redis-server")
    return [name for name, program in wanted.items() if program is None]


@contextmanager
def postgres(folder: Path, *, is_durable: bool = False) -> Iterator[str]:
    """Start a Postgres with an empty database, and yield its SQLAlchemy URL.

    Args:
        folder: For its log; the data are in a temporary folder, which another user must be able to reach.
        is_durable: False for one that does not wait for the disk: a crash of the machine would cost its data.

    Raises:
        ServerError: It is not installed, or did not start.
    """
    data = Path(tempfile.mkdtemp(prefix="skyferry-postgres-"))
    log = folder / "postgres.log"
    user = _unprivileged_user()
    if user is not None:
        shutil.chown(data, user)
    try:
        initdb = [*_program("initdb"), "--pgdata", str(data), "--username", _DATABASE, "--auth", "trust", "--no-sync"]
        _run_to_end([*initdb, "--encoding", "UTF8", "--locale", "C"], log, user=user)
        port = free_port()
        settings = [] if is_durable else ["-c", "fsync=off", "-c", "synchronous_commit=off"]
        # No socket file: its usual folder may not be there, and may be another server's.
        settings += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
        command = [*_program("postgres"), "-D", str(data), "-p", str(port), *settings]
        with _served(command, log, is_ready=lambda: _answers_sql(port), user=user, stop=signal.SIGINT):
            _create_database(port)
            yield _postgres_url(port, _DATABASE)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Start an empty Redis that keeps everything in memory, and yield its URL.

    Raises:
        ServerError: It is not installed, or did not start.
    """
    program = _on_path("redis-server")
    if program is None:
        raise ServerError("redis-server is not installed; on Debian: apt install redis-server")
    port = free_port()
    command = [program, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with _served(command, folder / "redis.log", is_ready=lambda: _answers_ping(port)):
        yield f"redis://{HOST}:{port}/0"


def _postgres_url(port: int, database: str) -> str:
    return f"postgresql+psycopg2://{_DATABASE}@{HOST}:{port}/{database}"


def _program(name: str) -> list[str]:
    found = _postgres_program(name)
    if found is None:
        raise ServerError(f"{name} is not installed; on Debian: apt install postgresql")
    return [found]


def _postgres_program(name: str) -> str | None:
    """Return a program of Postgres: of the newest version below Debian's folder, else the one on the PATH."""
    debian = [folder / "bin" / name for folder in _DEBIAN_POSTGRES.glob("[0-9]*")]
    there = [file for file in debian if file.is_file()]
    return str(max(there, key=lambda file: int(file.parts[-3]))) if there else _on_path(name)


def _on_path(name: str) -> str | None:
    return shutil.which(name)


def _unprivileged_user() -> str | None:
    """Return whom to run Postgres as; None for the user of this process."""
    if os.geteuid() != 0:
        return None
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED_USERS if name in known)


def _run_to_end(command: Sequence[str], log: Path, *, user: str | None) -> None:
    with log.open("ab") as output:
        done = subprocess.run(command, user=user, cwd="/", stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise ServerError(f"{command[0]} failed; its log is {log}\n{last_lines(log)}")


@contextmanager
def _served(
    command: Sequence[str],
    log: Path,
    *,
    is_ready: Callable[[], bool],
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[None]:
    """Run a server, from when it answers to the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, user=user, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{command[0]} did not start; its log is {log}\n{last_lines(log)}")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        process.send_signal(stop)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.kill()
        process.wait()


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _answers_sql(port: int) -> bool:
    import psycopg2  # here, because it is needed nowhere else in this package

    try:
        psycopg2.connect(host=HOST, port=port, user=_DATABASE, dbname="postgres", connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def _create_database(port: int) -> None:
    import psycopg2

    connection = psycopg2.connect(host=HOST, port=port, user=_DATABASE, dbname="postgres")
    connection.autocommit = True  # a database cannot be created in a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_DATABASE}")
    finally:
        connection.close()
