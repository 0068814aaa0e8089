"""What running a program costs: seconds, CPU seconds of its whole process tree, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCost:
    """One run of one program.

    Attributes:
        cpu_seconds: User and system time of the process and of all children it waited for.
        wall_seconds: From its start to its end, interpreter and imports included.
        peak_bytes: Resident memory of its largest process, at its highest.
        told: What the program itself printed as JSON in its last line; empty when it printed none.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    told: Mapping[str, Any]


class ProgramFailedError(Exception):
    """A contender did not finish its work; the message ends with its last output."""


def run_program(
    arguments: Sequence[str | Path], *, environment: Mapping[str, str], timeout_seconds: float = 900
) -> ProcessCost:
    """Run a program to its end.

    Raises:
        ProgramFailedError: It failed, or took longer than it may.
    """
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(argument) for argument in arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        status, usage = _wait(process, started + timeout_seconds)
        wall_seconds = time.monotonic() - started
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    if status != 0:
        raise ProgramFailedError(f"{arguments[0]} ended with {status}:\n" + "\n".join(lines[-15:]))
    return ProcessCost(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=wall_seconds,
        peak_bytes=usage.ru_maxrss * 1024,
        told=_last_json(lines),
    )


def _wait(process: subprocess.Popen[bytes], deadline: float) -> tuple[int, Any]:
    """Wait like `wait4`, which tells what this one child and its descendants used, up to a time."""
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        if time.monotonic() > deadline:
            process.kill()
            deadline = float("inf")
        time.sleep(0.005)


def _last_json(lines: list[str]) -> dict[str, Any]:
    for line in reversed(lines):
        if line.startswith("{"):
            told: dict[str, Any] = json.loads(line)
            return told
    return {}
