"""Seconds from a put to the verified commit of its copy, and on which steps they were spent.

Objects are put one after the other while a stack runs whose routes are started by events. The commit is `finished_at`
of the receipt: the copy is visible and verified then. Once the receipt is seen, the destination is asked as well.

| step | from | to |
|---|---|---|
| ring | the end of the put | Airflow has made the run that copies it |
| start | then | its first task begins: scheduler, and the start of a process |
| plan | then | its task that copies begins (nothing where the first task copies) |
| copy | then | the commit |

A step that was over before the put takes no time: an object may be copied by a run that was under way.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from azure.storage.blob import ContainerClient

from bench.event_stack import EventStack
from skyferry.state import Run

BODY_BYTES = 16 * 1024
_LOOK_SECONDS = 0.5
_STEPS = ("ring", "start", "plan", "copy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """One object that arrived.

    Attributes:
        put_at: End of the put, seconds since 1970.
        committed_at: `finished_at` of its receipt.
        folder: Of the run, below the state folder.
    """

    key: str
    put_at: float
    committed_at: float
    folder: str


def put_and_wait(
    stack: EventStack, *, bucket: str, prefix: str, container: str, count: int, every_seconds: float, patience: float
) -> list[Copied]:
    """Put objects at a steady rate and return what became of each.

    Raises:
        TimeoutError: Some have no receipt when `patience` seconds have passed since the last put.
        AssertionError: An object with a receipt is not at the destination.
    """
    destination = ContainerClient.from_connection_string(stack.azurite_connection, container)
    with ThreadPoolExecutor(1) as putting:
        puts: dict[str, float] = {}
        keys = [f"{prefix}{number:06d}" for number in range(count)]
        done = putting.submit(_put, stack.client("s3"), keys, bucket=bucket, every_seconds=every_seconds, puts=puts)
        copied: dict[str, Copied] = {}
        read: set[Path] = set()
        deadline = time.monotonic() + count * every_seconds + patience
        while len(copied) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count - len(copied)} of {count} objects did not arrive")
            for row, folder in _new_receipts(stack.state, read):
                if row["key"].startswith(prefix) and row["outcome"] == "copied" and row["key"] not in copied:
                    assert destination.get_blob_client(row["destination_key"]).exists(), row
                    at = datetime.fromisoformat(row["finished_at"]).timestamp()
                    copied[row["key"]] = Copied(key=row["key"], put_at=puts[row["key"]], committed_at=at, folder=folder)
            time.sleep(_LOOK_SECONDS)
        done.result()
    return list(copied.values())


def _put(s3: Any, keys: Sequence[str], *, bucket: str, every_seconds: float, puts: dict[str, float]) -> None:
    started = time.monotonic()
    for number, key in enumerate(keys):
        time.sleep(max(0.0, started + number * every_seconds - time.monotonic()))
        puts[key] = time.time()  # a receipt may be there before the put has returned
        s3.put_object(Bucket=bucket, Key=key, Body=number.to_bytes(8) * (BODY_BYTES // 8))
        puts[key] = time.time()


def _new_receipts(state: Path, read: set[Path]) -> Iterable[tuple[dict[str, Any], str]]:
    """Yield the rows of receipts that were not read yet, and the folder of their run."""
    for path in state.glob("*/*/**/receipts/**/*.ndjson"):
        if path not in read:
            read.add(path)
            folder = "/".join(path.relative_to(state).parts[:2]) + "/"
            for line in path.read_text(encoding="utf-8").splitlines():
                yield json.loads(line), folder


def summary_of(stack: EventStack, dag_id: str, copied: Sequence[Copied]) -> dict[str, Any]:
    """Return the figures of one case: totals, and each step by itself."""
    moments = _moments_of_runs(stack, dag_id)
    steps = [_steps(one, moments[one.folder]) for one in copied]
    totals = [one.committed_at - one.put_at for one in copied]
    runs = stack.runs(dag_id)
    return {
        "objects": len(copied),
        "runs": len(runs),
        "runs_failed": sum(run["state"] == "failed" for run in runs),
        "seconds": _figures(totals),
        "steps": {name: _figures([step[name] for step in steps]) for name in _STEPS},
        "all_seconds": [round(total, 3) for total in totals],
    }


def _moments_of_runs(stack: EventStack, dag_id: str) -> dict[str, tuple[float, float, float]]:
    """Return for each run, by its folder, when it was made and when its first and its copying tasks began."""
    begun: dict[str, dict[str, float]] = {}
    for task in stack.tasks(dag_id):
        if task["start_date"]:
            tasks = begun.setdefault(task["dag_run_id"], {})
            at = _timestamp(task["start_date"])
            tasks[task["task_id"]] = min(at, tasks.get(task["task_id"], at))
    moments = {}
    for run in stack.runs(dag_id):
        tasks = begun.get(run["dag_run_id"], {})
        copying = [at for name, at in tasks.items() if name in ("copy", "consume")]
        if copying:
            folder = Run(dag_id=dag_id, run_id=run["dag_run_id"], route="", started_at="").folder
            moments[folder] = (_timestamp(run["queued_at"]), min(tasks.values()), min(copying))
    return moments


def _steps(one: Copied, moments: tuple[float, float, float]) -> dict[str, float]:
    steps, before = {}, one.put_at
    for name, at in zip(_STEPS, (*moments, one.committed_at), strict=True):
        steps[name] = max(0.0, at - before)
        before = max(before, at)
    return steps


def _figures(seconds: Sequence[float]) -> Mapping[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(statistics.median(ordered), 2),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 2),
        "max": round(ordered[-1], 2),
    }


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
