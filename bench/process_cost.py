"""What running a program costs: seconds, CPU seconds of its whole process tree, peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LAUNCHER = Path(__file__).parent / "program_launcher.py"


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

    A small process starts it (`bench.program_launcher`): Linux counts the memory of whoever starts a program as the
    program's own peak.

    Raises:
        ProgramFailedError: It failed, or took longer than it may.
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(timeout_seconds)]
    with tempfile.TemporaryFile() as output:
        told = subprocess.run(
            [*launcher, *(str(argument) for argument in arguments)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            check=True,
        )
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    cost = json.loads(told.stdout)
    if cost["status"] != 0:
        raise ProgramFailedError(f"{arguments[0]} ended with {cost['status']}:\n" + "\n".join(lines[-15:]))
    return ProcessCost(
        cpu_seconds=cost["cpu_seconds"],
        wall_seconds=cost["wall_seconds"],
        peak_bytes=cost["peak_bytes"],
        told=_last_json(lines),
    )


def _last_json(lines: list[str]) -> dict[str, Any]:
    for line in reversed(lines):
        if line.startswith("{"):
            told: dict[str, Any] = json.loads(line)
            return told
    return {}
