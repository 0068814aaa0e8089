"""What a second process inside a task would give: one process over all objects, and two side by side over halves.

    python -m bench.two_processes             # five turns, about four minutes
    python -m bench.two_processes --turns 1   # for a first look

Each process is a whole transfer by the library, start and imports included; the stores are the sink.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.contenders import Start, Work, ours
from bench.grounds import Ground, Grounds
from bench.process_cost import run_program

DELAY_SECONDS = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Work, and the globs that divide its keys between two processes."""

    work: Work
    halves: tuple[str, str]
    is_slow: bool = False


SMALL = Work(source="s3", destination="az", count=2_000, size_bytes=64 * 1024)
SMALL_LOCAL = replace(SMALL, source="file")
TINY = Work(source="s3", destination="az", count=20_000, size_bytes=1024)
CASES = (
    Case(work=SMALL, halves=("000*", "001*")),
    Case(work=SMALL, halves=("000*", "001*"), is_slow=True),
    Case(work=SMALL_LOCAL, halves=("000*", "001*")),
    Case(work=SMALL_LOCAL, halves=("000*", "001*"), is_slow=True),
    Case(work=TINY, halves=("00*", "01*")),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Two processes over one, for the objects of one batch.")
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    table = Table("work", "one process, s", "two, s", "times as fast", "CPU of two by one")
    with (
        tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder,
        Grounds(Path(folder), delay_seconds=DELAY_SECONDS) as grounds,
    ):
        for case in CASES:
            table.add_row(*measure(case, grounds, turns=turns))
    Console(highlight=False).print(table)


def measure(case: Case, grounds: Grounds, *, turns: int) -> tuple[str, ...]:
    """Return the row of a case: the medians of both ways, which take turns."""
    ground = grounds.slow_sink() if case.is_slow else grounds.sink()
    grounds.fill(ground, case.work)
    one, two = [], []
    for _ in range(turns):
        one.append(copy(case.work, (), grounds.prepare_run(ground)))
        two.append(copy(case.work, case.halves, grounds.prepare_run(ground)))
    one_seconds, one_cpu = map(statistics.median, zip(*one, strict=True))
    two_seconds, two_cpu = map(statistics.median, zip(*two, strict=True))
    what = f"{case.work.count:,} x {case.work.size_bytes:,} B, {case.work.source} -> {case.work.destination}"
    return (
        what + (f", {DELAY_SECONDS * 1000:.0f} ms a request" if case.is_slow else ""),
        f"{one_seconds:.2f}",
        f"{two_seconds:.2f}",
        f"{one_seconds / two_seconds:.2f}",
        f"{two_cpu / one_cpu:.2f}",
    )


def copy(work: Work, globs: tuple[str, ...], ground: Ground) -> tuple[float, float]:
    """Copy with a process for each glob (one without any); return wall and CPU seconds.

    Raises:
        RuntimeError: Not every object was copied.
    """
    starts = [_only(glob, ours(work, ground.place)) for glob in globs] or [ours(work, ground.place)]
    began = time.monotonic()
    with ThreadPoolExecutor(len(starts)) as pool:
        costs = list(pool.map(lambda start: run_program(start.arguments, environment=start.environment), starts))
    seconds = time.monotonic() - began
    copied = sum(cost.told["objects"] for cost in costs)
    if copied != work.count:
        raise RuntimeError(f"{copied:,} of {work.count:,} objects were copied")
    return seconds, sum(cost.cpu_seconds for cost in costs)


def _only(glob: str, start: Start) -> Start:
    """Return the start of a transfer of these keys alone, with records of its own."""
    case = json.loads(start.arguments[-1])
    state = Path(case["state"]) / glob.strip("*")
    state.mkdir(parents=True)
    case["conf"]["include"] = [glob]
    return replace(start, arguments=(*start.arguments[:-1], json.dumps({**case, "state": str(state)})))


if __name__ == "__main__":
    main()
