"""A local copy of the run history in one SQLite file, which can be deleted at any time.

Airflow has no aggregation, and gives reports one at a time. So what a finished run said is kept here; whether that is
still the whole truth is for `skyferry.history.run_history` to find out. Rows are read one by one, never all at once.

A file that is damaged, or of another version of this program, is begun anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skyferry.history.transfer_run import TransferRun

FOLDER_VARIABLE = "XDG_CACHE_HOME"
_VERSION = 1
_BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    dag_id TEXT NOT NULL, run_id TEXT NOT NULL, route TEXT NOT NULL, state TEXT NOT NULL, run_type TEXT NOT NULL,
    run_after TEXT NOT NULL, queued_at TEXT, started_at TEXT, ended_at TEXT, note TEXT NOT NULL,
    is_reported INTEGER NOT NULL, report TEXT, listing INTEGER NOT NULL, PRIMARY KEY (dag_id, run_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (run_after);
CREATE INDEX IF NOT EXISTS runs_to_report ON runs (is_reported) WHERE is_reported = 0;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_UNREPORTED = "is_reported = 0 AND state IN ('failed', 'success') AND run_after >= ?"
_COLUMNS = "dag_id, run_id, route, state, run_type, run_after, queued_at, started_at, ended_at, note"


def cache_file(url: str, user: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file for one Airflow as one user sees it, below the user's cache folder."""
    folder = environ.get(FOLDER_VARIABLE) or str(Path.home() / ".cache")
    name = hashlib.sha256(f"{url}\n{user}".encode()).hexdigest()[:16]
    return Path(folder) / "skyferry" / f"runs-{name}.sqlite"


class RunCache:
    """The runs of one Airflow.

    Args:
        file: Created with its folder where it is missing, for its owner only.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._database = self._open()
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        self.file.touch(mode=0o600)
        database = sqlite3.connect(self.file, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] not in {0, _VERSION}:
                raise sqlite3.DatabaseError("another version")
            # What is lost in a crash is fetched again.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def mark(self, name: str) -> str:
        """Return what was noted under a name; empty if nothing was."""
        row = self._database.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_mark(self, name: str, value: str) -> None:
        """Note something."""
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))

    def put(self, runs: Iterable[TransferRun], *, listing: int) -> None:
        """Take in runs as Airflow lists them.

        A report that is known stays only while the run is what it was when the report was read: finished, begun and
        ended at the same times.

        Args:
            listing: Number of the listing that named them; see `forget_others`.
        """
        rows = [(*_row(run), listing) for run in runs]
        with self._database:
            self._database.executemany(
                f"""
                INSERT INTO runs ({_COLUMNS}, is_reported, report, listing)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, ?)
                ON CONFLICT (dag_id, run_id) DO UPDATE SET
                    is_reported = is_reported AND state IS excluded.state AND started_at IS excluded.started_at
                        AND ended_at IS excluded.ended_at,
                    report = CASE WHEN state IS excluded.state AND started_at IS excluded.started_at
                        AND ended_at IS excluded.ended_at THEN report END,
                    route = CASE WHEN report IS NULL THEN excluded.route ELSE route END,
                    state = excluded.state, run_after = excluded.run_after, queued_at = excluded.queued_at,
                    started_at = excluded.started_at, ended_at = excluded.ended_at, note = excluded.note,
                    listing = excluded.listing
                """,  # noqa: S608 - the names of columns are constants
                rows,
            )

    def unreported(self, *, since: datetime | None, limit: int) -> list[tuple[str, str, str]]:
        """Return DAG id, run id and route of finished runs whose report has not been asked for."""
        query = f"SELECT dag_id, run_id, route FROM runs WHERE {_UNREPORTED} ORDER BY run_after LIMIT ?"  # noqa: S608
        return self._database.execute(query, (_time(since) or "", limit)).fetchall()

    def count_unreported(self, *, since: datetime | None) -> int:
        """Return how many reports have still to be asked for."""
        query = f"SELECT COUNT(*) FROM runs WHERE {_UNREPORTED}"  # noqa: S608
        return int(self._database.execute(query, (_time(since) or "",)).fetchone()[0])

    def put_reports(self, reports: Sequence[tuple[str, str, str, Mapping[str, Any] | None]]) -> None:
        """Take in the answers: DAG id, run id, route, and the report or None if the run left none."""
        rows = [
            (json.dumps(report) if report is not None else None, route, dag_id, run_id)
            for dag_id, run_id, route, report in reports
        ]
        with self._database:
            self._database.executemany(
                "UPDATE runs SET is_reported = 1, report = ?, route = ? WHERE dag_id = ? AND run_id = ?", rows
            )

    def put_announced(self, reports: Iterable[tuple[str, str, str, Mapping[str, Any]]]) -> None:
        """Take in reports that may be of an earlier turn of their runs: DAG id, run id, route, and the report.

        One counts only if the run ended well and began when the report says that it did; a run that was cleared and ran
        anew began at another time.
        """
        rows = [
            (json.dumps(report), route, dag_id, run_id, _started_at(report))
            for dag_id, run_id, route, report in reports
        ]
        with self._database:
            self._database.executemany(
                "UPDATE runs SET is_reported = 1, report = ?, route = ?"
                " WHERE dag_id = ? AND run_id = ? AND started_at = ? AND state = 'success' AND is_reported = 0",
                rows,
            )

    def first_unreported(self, *, since: datetime | None) -> datetime | None:
        """Return when the first of the finished runs was to begin whose report has not been asked for."""
        query = f"SELECT MIN(run_after) FROM runs WHERE {_UNREPORTED}"  # noqa: S608
        return _from_time(self._database.execute(query, (_time(since) or "",)).fetchone()[0])

    def count(self, *, since: datetime | None) -> int:
        """Return how many runs there are that were to begin then or later."""
        query = "SELECT COUNT(*) FROM runs WHERE run_after >= ?"
        return int(self._database.execute(query, (_time(since) or "",)).fetchone()[0])

    def forget_others(self, *, listing: int, since: datetime | None) -> None:
        """Forget the runs that a whole listing did not name: Airflow has them no more."""
        with self._database:
            self._database.execute(
                "DELETE FROM runs WHERE listing != ? AND run_after >= ?", (listing, _time(since) or "")
            )

    def runs(self, *, since: datetime | None) -> Iterator[TransferRun]:
        """Yield the runs that were to begin then or later, the oldest first."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, report FROM runs WHERE run_after >= ? ORDER BY run_after",  # noqa: S608
            (_time(since) or "",),
        )
        for row in rows:
            yield _run(row)


def _started_at(report: Mapping[str, Any]) -> str | None:
    try:
        return _time(datetime.fromisoformat(report["started_at"]))
    except (KeyError, TypeError, ValueError):
        return None


def _row(run: TransferRun) -> tuple[str | None, ...]:
    return (
        run.dag_id,
        run.run_id,
        run.route,
        run.state,
        run.run_type,
        _time(run.run_after),
        _time(run.queued_at),
        _time(run.started_at),
        _time(run.ended_at),
        run.note,
    )


def _run(row: Sequence[Any]) -> TransferRun:
    return TransferRun(
        dag_id=row[0],
        run_id=row[1],
        route=row[2],
        state=row[3],
        run_type=row[4],
        run_after=datetime.fromisoformat(row[5]),
        queued_at=_from_time(row[6]),
        started_at=_from_time(row[7]),
        ended_at=_from_time(row[8]),
        note=row[9],
        report=json.loads(row[10]) if row[10] else None,
    )


def _time(value: datetime | None) -> str | None:
    # One spelling of each instant, so that texts are in the order of time.
    return value.astimezone(UTC).isoformat(timespec="microseconds") if value is not None else None


def _from_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
