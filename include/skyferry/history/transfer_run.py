"""One run of a transfer as Airflow remembers it: its state, its times, and its report if there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

ON_DEMAND_DAG_ID = "transfer"
ROUTE_DAG_PREFIX = "transfer__"
QUEUE_DAG_PREFIX = "consume__"
TAG = "skyferry"
"""The tag of all DAGs whose runs are transfers."""

REPORTED_ASSET = "transfer.reported"
"""The asset whose events are the reports of runs that announced no arrival, and of those that consumed a queue."""

PLAN_TASK_ID = "plan"
COPY_TASK_IDS = ("copy", "consume")
REPORT_TASK_ID = "report"
RESULT_KEY = "return_value"

FINISHED_STATES = frozenset({"success", "failed"})

Outcome = Literal["success", "failed", "report_missing", "running", "queued"]
OUTCOMES: tuple[Outcome, ...] = ("success", "failed", "report_missing", "running", "queued")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What a run, or the share of one route in it, did; the names are those of the report.

    Attributes:
        source: URL, as the report has it; empty where it has none.
    """

    source: str = ""
    destination: str = ""
    objects_planned: int = 0
    objects_to_copy: int = 0
    objects_copied: int = 0
    objects_skipped: int = 0
    objects_refused: int = 0
    objects_failed: int = 0
    objects_deleted_at_source: int = 0
    objects_deleted_at_destination: int = 0
    bytes_to_copy: int = 0
    bytes_copied: int = 0
    retries: int = 0
    metadata_losses: int = 0
    missed_by_events: int = 0
    retries_by_cause: Mapping[str, int] = field(default_factory=dict)
    verified_by: Mapping[str, int] = field(default_factory=dict)
    skipped_by_reason: Mapping[str, int] = field(default_factory=dict)
    refused_by_reason: Mapping[str, int] = field(default_factory=dict)

    @property
    def pair(self) -> str:
        """The kinds of store, as `s3 to az`; empty where the report does not say."""
        kinds = [url.partition("://")[0] for url in (self.source, self.destination) if "://" in url]
        return " to ".join(kinds) if len(kinds) == 2 else ""

    @staticmethod
    def from_report(report: Mapping[str, Any]) -> Numbers:
        """Return the numbers of a report; what an older or newer version lacks is 0."""
        values: dict[str, Any] = {}
        for name in Numbers.__slots__:
            value = report.get(name)
            if name in _TEXTS:
                values[name] = value if isinstance(value, str) else ""
            elif name in _COUNTS:
                counts = value if isinstance(value, Mapping) else {}
                values[name] = {str(key): _count(each) for key, each in counts.items()}
            else:
                values[name] = _count(value)
        return Numbers(**values)

    @staticmethod
    def total(shares: Iterable[Numbers]) -> Numbers:
        """Return the sum of several; source and destination are those of the first."""
        values: dict[str, Any] = {}
        for share in shares:
            for name in Numbers.__slots__:
                value = getattr(share, name)
                if name in _TEXTS:
                    values.setdefault(name, value)
                elif name in _COUNTS:
                    values[name] = values.get(name, Counter()) + Counter(value)
                else:
                    values[name] = values.get(name, 0) + value
        return Numbers(**values)


_TEXTS = frozenset({"source", "destination"})
_COUNTS = frozenset({"retries_by_cause", "verified_by", "skipped_by_reason", "refused_by_reason"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRun:
    """One DAG run that is a transfer.

    Attributes:
        route: Id of the route; for an on-demand transfer its name; the DAG's id for a run that consumes a queue.
        state: Airflow's: queued, running, success, failed.
        run_after: When it was to begin; every run has this.
        note: What somebody wrote beside the run.
        report: The report as its task `report` left it; None while it is not finished, and if it left none.
    """

    dag_id: str
    run_id: str
    route: str
    state: str
    run_type: str
    run_after: datetime
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    note: str = ""
    report: Mapping[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED_STATES

    @property
    def is_report_missing(self) -> bool:
        """Whether the run ended without saying what it did."""
        return self.is_finished and self.report is None

    @property
    def outcome(self) -> Outcome:
        """The one word that status and statistics count.

        `success` only if Airflow and the report both say so; `report_missing` if Airflow says success and there is no
        report; `failed` if either says so.
        """
        if not self.is_finished:
            return "running" if self.state == "running" else "queued"
        if self.state == "failed" or (self.report is not None and self.report.get("state") != "success"):
            return "failed"
        return "report_missing" if self.report is None else "success"

    @property
    def is_dry_run(self) -> bool:
        return bool(self.report and self.report.get("dry_run"))

    @property
    def duration_seconds(self) -> float | None:
        """The report's, from which its throughput is made; where it has none, from start to end as Airflow saw them."""
        if not self.is_finished:
            return None
        reported = (self.report or {}).get("duration_seconds")
        if isinstance(reported, int | float) and not isinstance(reported, bool) and reported >= 0:
            return float(reported)
        if self.started_at is None or self.ended_at is None:
            return None
        return max(round((self.ended_at - self.started_at).total_seconds(), 3), 0.0)

    @property
    def numbers(self) -> Numbers:
        """What the run did, all of its routes together; zeros without a report."""
        return Numbers.from_report(self.report or {})

    def shares(self) -> Iterator[tuple[str, Numbers]]:
        """Yield each route the run worked for, and what it did for it.

        A run that consumes a queue may serve several; every other run serves one.
        """
        by_route = (self.report or {}).get("by_route")
        if not isinstance(by_route, Mapping) or not by_route:
            yield self.route, self.numbers
            return
        for route, numbers in by_route.items():
            yield str(route), Numbers.from_report(numbers if isinstance(numbers, Mapping) else {})


def is_transfer_dag(dag_id: str) -> bool:
    """Tell by its id whether a DAG is one of ours."""
    return dag_id == ON_DEMAND_DAG_ID or dag_id.startswith((ROUTE_DAG_PREFIX, QUEUE_DAG_PREFIX))


def route_of(dag_id: str, conf: Mapping[str, Any] | None, report: Mapping[str, Any] | None) -> str:
    """Return the name under which a run is counted."""
    if dag_id.startswith(ROUTE_DAG_PREFIX):
        return dag_id.removeprefix(ROUTE_DAG_PREFIX)
    if dag_id != ON_DEMAND_DAG_ID:
        return dag_id
    named = (report or {}).get("route") or (conf or {}).get("id")
    return named if isinstance(named, str) and named else "on-demand"


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
