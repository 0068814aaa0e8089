"""Thousands of finished runs in the database of an Airflow, each a copy of the rows that a real run has left.

Airflow offers no way to make history, so this writes to its SQLite file; nothing else of the project does. Ids and
times are those of the copy.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_EVERY = timedelta(minutes=1)
_TIMES = ("queued_at", "start_date", "end_date", "run_after", "created_at", "updated_at", "last_scheduling_decision")
_FORMAT = "%Y-%m-%d %H:%M:%S.%f"

Row = dict[str, Any]


class HistoryFiller:
    """Copies runs within one database.

    Args:
        database: Airflow's SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._database = sqlite3.connect(database, timeout=60)
        self._database.row_factory = sqlite3.Row

    def copy_runs(self, run_ids: Sequence[str], *, count: int) -> None:
        """Make so many copies of these runs, in turns, one for each minute until now."""
        templates = [self._rows_of(run_id) for run_id in run_ids]
        newest = datetime.now(UTC).replace(tzinfo=None)
        number = self._highest("dag_run")
        event = self._highest("asset_event")
        with self._database:
            for index in range(count):
                number += 1
                event += 1
                self._copy(templates[index % len(templates)], number, event, newest - _EVERY * (count - index))
        self._database.close()

    def _rows_of(self, run_id: str) -> dict[str, list[Row]]:
        tables = {"dag_run": "run_id", "task_instance": "run_id", "xcom": "run_id", "asset_event": "source_run_id"}
        return {
            table: [dict(row) for row in self._database.execute(f"SELECT * FROM {table} WHERE {column} = ?", (run_id,))]  # noqa: S608
            for table, column in tables.items()
        }

    def _highest(self, table: str) -> int:
        return int(self._database.execute(f"SELECT COALESCE(MAX(id), 0) FROM {table}").fetchone()[0])  # noqa: S608

    def _copy(self, rows: dict[str, list[Row]], number: int, event: int, moment: datetime) -> None:
        (run,) = rows["dag_run"]
        shift = moment - datetime.fromisoformat(run["run_after"])
        run_id = f"manual__{moment.isoformat()}+00:00_{number}"
        moved = {name: _moved(run[name], shift) for name in _TIMES if run[name]}
        self._insert("dag_run", {**run, "id": number, "run_id": run_id, **moved})
        for task in rows["task_instance"]:
            moved = {name: _moved(task[name], shift) for name in ("start_date", "end_date", "updated_at") if task[name]}
            self._insert("task_instance", {**task, "id": uuid.uuid4().hex, "run_id": run_id, **moved})
        for entry in rows["xcom"]:
            value = _report(entry["value"], run_id, shift) if entry["task_id"] == "report" else entry["value"]
            self._insert("xcom", {**entry, "dag_run_id": number, "run_id": run_id, "value": value})
        for told in rows["asset_event"]:
            extra = _report(told["extra"], run_id, shift)
            timestamp = _moved(told["timestamp"], shift)
            self._insert(
                "asset_event", {**told, "id": event, "source_run_id": run_id, "extra": extra, "timestamp": timestamp}
            )

    def _insert(self, table: str, row: Row) -> None:
        places = ", ".join("?" * len(row))
        self._database.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})",  # noqa: S608 - the columns are the database's own
            tuple(row.values()),
        )


def _moved(text: str, shift: timedelta) -> str:
    return (datetime.fromisoformat(text) + shift).strftime(_FORMAT)


def _report(text: str, run_id: str, shift: timedelta) -> str:
    """Return a report of another run at another time; anything else as it is."""
    report = json.loads(text)
    if not isinstance(report, dict) or "started_at" not in report:
        return text
    times = {name: (datetime.fromisoformat(report[name]) + shift).isoformat() for name in ("started_at", "ended_at")}
    return json.dumps({**report, **times, "run_id": run_id})
