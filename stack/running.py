"""One component on a free port, for as long as a `with` block lasts: what test fixtures are made of.

with running(component("moto"), tmp_path) as moto:
    client = boto3.client("s3", endpoint_url=moto.url, ...)
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.components import Component
from stack.health import free_port, is_healthy, last_lines

_STARTS: Final = 3
_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 5.0


class ComponentError(Exception):
    """A component did not start; the message names its log and ends with its last lines."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running component: where it is reached, where it logs, and its process group."""

    url: str
    port: int
    log: Path
    pid: int


@contextmanager
def running(
    component: Component, folder: Path, *, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Endpoint]:
    """Start a component, wait until it is healthy, and stop it with all its children at the end of the block.

    Args:
        component: A row of the table, `component("moto")` for example.
        folder: For its data (in `folder/data`) and its log; created where it is missing.
        port: A port to insist on, to restart a component where its clients expect it; default a free one.
        environment: Added to the environment of this process.

    Raises:
        ComponentError: It ended, or was not healthy before its deadline.
    """
    process, endpoint = _start(component, folder, port, {**os.environ, **component.environment, **(environment or {})})
    try:
        yield endpoint
    finally:
        _stop(process)


def _start(
    component: Component, folder: Path, port: int | None, environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], Endpoint]:
    data, log = folder / "data", folder / f"{component.name}.log"
    data.mkdir(parents=True, exist_ok=True)
    # Between choosing a free port and listening on it somebody else may take it, so one early end is not the last word.
    for attempt in range(_STARTS):
        chosen = port or free_port()
        with log.open("ab") as output:
            process = subprocess.Popen(
                component.command(chosen, data),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            if _await_health(component, chosen, process):
                return process, Endpoint(component.url(chosen), chosen, log, process.pid)
        except BaseException:
            _stop(process)
            raise
        ended = process.poll() is not None
        _stop(process)
        if not ended or port is not None or attempt == _STARTS - 1:
            break
    what = "ended" if ended else f"was not healthy within {component.deadline_seconds} seconds"
    raise ComponentError(f"{component.name} {what}; its log is {log}\n{last_lines(log)}")


def _await_health(component: Component, port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + component.deadline_seconds
    while process.poll() is None and time.monotonic() < deadline:
        if is_healthy(component, port):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    # Also when the leader has ended: a child that outlived it is still in its group.
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the whole group has ended
        os.killpg(process.pid, number)
