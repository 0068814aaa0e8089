"""Where a run is: its tasks and batches, and how many objects and bytes have arrived.

Airflow knows the tasks, and what each batch copied once it is through. What a batch under way has copied stands in its
receipts; they are read where this machine sees the folder with the records, and make the numbers exact to the second.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skyferry.history.airflow_api import AirflowApi, TaskState
from skyferry.history.transfer_run import COPY_TASK_IDS, PLAN_TASK_ID, TransferRun
from skyferry.state import Run

_NOT_BEGUN = frozenset({"none", "scheduled", "removed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """One mapped copy task: a batch, or a consumer of a queue.

    Attributes:
        name: What the UI shows, as `batch 2 of 7 (1,000 objects, 64.0 MB)`; its number before it has begun.
        state: Airflow's.
        try_number: From 1; 0 before the first.
    """

    name: str
    state: str
    try_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """Where a run is at one moment.

    Attributes:
        objects_total, bytes_total: What is to be copied; None before the plan is made, and for a queue.
        objects_done, bytes_done: What was copied by now, at least.
        is_exact: The numbers come from receipts; otherwise batches count when they are through.
        tasks: Task id to states to the number of its instances.
        batches: All that there are.
        elapsed_seconds: Since the run began; 0 before that.
        bytes_per_second: On the average so far; None before anything was copied.
        seconds_left: At that rate; None if it cannot be told.
    """

    run: TransferRun
    objects_total: int | None
    bytes_total: int | None
    objects_done: int
    bytes_done: int
    is_exact: bool
    tasks: dict[str, dict[str, int]]
    batches: tuple[BatchProgress, ...]
    elapsed_seconds: float
    bytes_per_second: float | None
    seconds_left: float | None

    @property
    def phase(self) -> str:
        """The task the run is at, as `plan` or `copy 2 of 7`; the run's state if no task has begun or all ended."""
        if self.run.is_finished or not self.tasks:
            return self.run.state
        at_work = [task for task, states in self.tasks.items() if states.keys() - _NOT_BEGUN - {"success"}]
        if not at_work:
            return self.run.state
        task = at_work[0]
        total = sum(self.tasks[task].values())
        return task if total == 1 else f"{task} {self.tasks[task].get('success', 0)} of {total}"


class ProgressReader:
    """Reads where one run is, again and again; what cannot change any more is read once.

    Each look costs two requests, and one for each batch that has ended since the last one.

    Args:
        records: The folder with the records of all runs, if this machine sees it; else empty.
    """

    def __init__(self, api: AirflowApi, run: TransferRun, *, records: str = "") -> None:
        self._api = api
        self._run = run
        self._planned: tuple[int, int] | None = None
        self._ended: dict[tuple[str, int, int], tuple[int, int]] = {}
        run_folder = Run(dag_id=run.dag_id, run_id=run.run_id, route="", started_at="").folder
        self._receipts = ReceiptCounter(Path(records) / run_folder) if records and Path(records).is_dir() else None

    def read(self) -> RunProgress:
        """Return where the run is now; the run in it has no report."""
        run = self._run = self._api.run(self._run.dag_id, self._run.run_id)
        tasks = self._api.tasks(run.dag_id, run.run_id)
        objects_total, bytes_total = self._totals(tasks)
        objects_done, bytes_done = self._receipts.count() if self._receipts else self._ended_batches(tasks)
        elapsed = _elapsed_seconds(run)
        rate = bytes_done / elapsed if bytes_done and elapsed else None
        left = (bytes_total - bytes_done) / rate if rate and bytes_total and not run.is_finished else None
        return RunProgress(
            run=run,
            objects_total=objects_total,
            bytes_total=bytes_total,
            objects_done=objects_done,
            bytes_done=bytes_done,
            is_exact=self._receipts is not None,
            tasks=_by_state(tasks),
            batches=tuple(_batch(task) for task in tasks if task.task_id in COPY_TASK_IDS and task.map_index >= 0),
            elapsed_seconds=elapsed,
            bytes_per_second=round(rate, 1) if rate else None,
            seconds_left=round(max(left, 0.0), 1) if left is not None else None,
        )

    def _totals(self, tasks: list[TaskState]) -> tuple[int, int] | tuple[None, None]:
        is_planned = any(task.task_id == PLAN_TASK_ID and task.state == "success" for task in tasks)
        if not is_planned:
            self._planned = None  # a run that was cleared plans anew
            return None, None
        if self._planned is None:
            batches = self._api.result(self._run.dag_id, self._run.run_id, PLAN_TASK_ID) or []
            self._planned = (_sum(batches, "objects"), _sum(batches, "size_bytes"))
        return self._planned

    def _ended_batches(self, tasks: list[TaskState]) -> tuple[int, int]:
        """Add up what the batches that are through have copied."""
        ended = {
            (task.task_id, task.map_index, task.try_number)
            for task in tasks
            if task.task_id in COPY_TASK_IDS and task.state == "success" and task.map_index >= 0
        }
        for key in ended - self._ended.keys():
            task_id, map_index, _ = key
            result = self._api.result(self._run.dag_id, self._run.run_id, task_id, map_index=map_index) or {}
            self._ended[key] = _copied(result)
        copied = [self._ended[key] for key in ended]
        return sum(objects for objects, _ in copied), sum(size_bytes for _, size_bytes in copied)


class ReceiptCounter:
    """Counts the copies of one run as their receipts appear in a local folder.

    Args:
        folder: Of the run's records.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: set[Path] = set()
        self._sizes: dict[tuple[str, str], int] = {}

    def count(self) -> tuple[int, int]:
        """Return how many objects and bytes have been copied by now; each record is read once."""
        for path in self._folder.glob("**/receipts/**/*.ndjson"):
            if path not in self._read:
                self._read.add(path)
                for line in path.read_text(encoding="utf-8").splitlines():
                    row = json.loads(line)
                    if row["outcome"] == "copied":
                        self._sizes[row["key"], row["destination_key"]] = row["size_bytes"]
        return len(self._sizes), sum(self._sizes.values())


def _by_state(tasks: list[TaskState]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for task in sorted(tasks, key=lambda each: _TASK_ORDER.get(each.task_id, len(_TASK_ORDER))):
        counts.setdefault(task.task_id, Counter())[task.state] += 1
    return {task_id: dict(states) for task_id, states in counts.items()}


_TASK_ORDER = {"detect": 0, PLAN_TASK_ID: 1, **dict.fromkeys(COPY_TASK_IDS, 2), "report": 3}


def _batch(task: TaskState) -> BatchProgress:
    return BatchProgress(
        name=task.name or f"{task.task_id} {task.map_index + 1}", state=task.state, try_number=task.try_number
    )


def _copied(result: Any) -> tuple[int, int]:
    if not isinstance(result, Mapping):
        return 0, 0
    return int(result.get("copied", 0)), int(result.get("bytes_copied", 0))


def _sum(batches: Any, name: str) -> int:
    return sum(int(batch.get(name, 0)) for batch in batches if isinstance(batch, Mapping))


def _elapsed_seconds(run: TransferRun) -> float:
    if run.started_at is None:
        return 0.0
    end = run.ended_at if run.is_finished and run.ended_at else datetime.now(UTC)
    return max(round((end - run.started_at).total_seconds(), 1), 0.0)
