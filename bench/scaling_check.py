"""Measures what the model of bench.scaling is checked against: transfers with and without a delay of each request.

    python -m bench.scaling_check FILE

The transfer without delay gives the processor time of an object. The delayed ones are what the model has to foretell:
one with the default number of objects in flight, which the processor bounds, and one with few, which round trips bound.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.contenders import Work, ours
from bench.grounds import Ground, Grounds

WORK = Work(source="s3", destination="az", count=2_000, size_bytes=64 * 1024)
DELAY_SECONDS = 0.04
FEW_IN_FLIGHT = 4
_TURNS = 3


def measure(grounds: Grounds, ground: Ground, **conf: Any) -> dict[str, Any]:
    """Return the seconds of each stage of one transfer, and the processor time of its process.

    Args:
        conf: Parameters other than the defaults.
    """
    prepared = grounds.prepare_run(ground)
    start = ours(WORK, prepared.place)
    case = json.loads(start.arguments[-1])
    case["conf"] |= conf
    command = [*start.arguments[:-1], json.dumps(case)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, env=dict(start.environment), capture_output=True, text=True, timeout=600, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"the transfer failed: {done.stderr[-1000:]}")
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**told, "cpu_seconds": round(cpu_seconds, 3), "load": os.getloadavg()[0]}


def main() -> None:
    """Let both take turns and write what was measured."""
    found: dict[str, Any] = {"objects": WORK.count, "delay_seconds": DELAY_SECONDS, "few_in_flight": FEW_IN_FLIGHT}
    found |= {"without": [], "with": [], "few": []}
    with (
        tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder,
        Grounds(Path(folder), delay_seconds=DELAY_SECONDS) as grounds,
    ):
        fast, slow = grounds.sink(), grounds.slow_sink()
        grounds.fill(fast, WORK)
        for _ in range(_TURNS):
            found["without"].append(measure(grounds, fast))
            found["with"].append(measure(grounds, slow))
            found["few"].append(measure(grounds, slow, max_objects_in_flight=FEW_IN_FLIGHT))
    Path(sys.argv[1]).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
