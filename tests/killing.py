"""Programs of the tests that kill themselves -9 at a step: exact on any machine, unlike a killer from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

_PROJECT = Path(__file__).resolve().parents[1]
_STEP, _TIMES = "SKYFERRY_TEST_KILL_AT", "SKYFERRY_TEST_KILL_TIMES"
_seen: Counter[str] = Counter()

NEVER = "never"
"""A step no program takes: it runs to its end."""


def killed_at(module: str, *arguments: str, step: str, times: int = 1) -> bool:
    """Run `python -m <module>`, which is to die when it takes a step for so many a time.

    Returns:
        Whether it died so; False when it came to its end.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": f"{_PROJECT}:{_PROJECT / 'include'}",
        _STEP: step,
        _TIMES: str(times),
    }
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=_PROJECT, env=environment, check=False)
    assert done.returncode in (0, -signal.SIGKILL), f"{module} ended with {done.returncode}"
    return done.returncode != 0


def take(step: str) -> None:
    """Say that a step is taken; a program started by `killed_at` ends here when it is the wanted one."""
    _seen[step] += 1
    if step == os.environ[_STEP] and _seen[step] == int(os.environ[_TIMES]):
        os.kill(os.getpid(), signal.SIGKILL)


def steps_around(step: str) -> Any:
    """Return a meddler (see `tests.engine.meddling`) that takes a step before a call and one after it."""

    async def meddle(method: Any, *args: Any, **kwargs: Any) -> Any:
        take(f"before {step}")
        answer = await method(*args, **kwargs)
        take(f"after {step}")
        return answer

    return meddle
