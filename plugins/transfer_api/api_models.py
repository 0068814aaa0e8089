"""What the API takes and gives, as JSON: fields with their units and meanings, as the OpenAPI document shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from skyferry.history.airflow_api import TaskState, TransferDagInfo
from skyferry.history.run_progress import RunProgress
from skyferry.history.statistics import GroupStatistics, Statistics
from skyferry.history.transfer_run import Outcome, TransferRun
from skyferry.request import ID_PATTERN
from skyferry.routes import Route

MAX_PAGE = 100
MAX_ROUTE_CHARACTERS = 65_536

RouteId = Annotated[str, Field(pattern=ID_PATTERN, examples=["orders_to_lake"])]
DagId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,250}$", examples=["transfer__orders_to_lake"])]
RunId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_.~:+-]{1,250}$", examples=["manual__2026-11-21T05:00:00+00:00_a1b2c3d4"])
]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Health(_Model):
    """That this API is there."""

    status: Literal["healthy"] = "healthy"
    version: str = Field(description="Of Skyferry.")


class RouteSummary(_Model):
    """A route, and what Airflow has made of it."""

    id: str
    description: str
    source: str = Field(description="URL.")
    destination: str = Field(description="URL.")
    schedule: str | None = Field(description="As the route has it; null if it only runs when it is started.")
    dag_id: str
    is_known_to_airflow: bool = Field(description="Airflow has parsed the file; until then the route cannot start.")
    is_paused: bool | None
    next_run_after: datetime | None

    @staticmethod
    def of(route: Route, dag: TransferDagInfo | None, *, dag_id: str) -> RouteSummary:
        """Return a route beside its DAG; None if Airflow has none, or shows the caller none."""
        return RouteSummary(
            id=route.id,
            description=route.description,
            source=route.source.url,
            destination=route.destination.url,
            schedule=route.schedule,
            dag_id=dag_id,
            is_known_to_airflow=dag is not None,
            is_paused=dag.is_paused if dag else None,
            next_run_after=dag.next_run_after if dag else None,
        )


class RouteDetail(RouteSummary):
    """A route with all its values, the defaults filled in."""

    definition: dict[str, Any] = Field(description="The fields of the route file.")
    parameters: dict[str, Any] = Field(description="What a run of it starts with.")


class FileProblem(_Model):
    """One thing that is wrong with a route file."""

    file: str
    line: int = Field(description="From 1; 0 for the file as a whole.", ge=0)
    message: str


class RouteList(_Model):
    """Some of the routes."""

    routes: list[RouteSummary]
    total: int = Field(description="How many there are that the caller may see.", ge=0)
    problems: list[FileProblem] = Field(
        description="Files that are no routes; shown to those who may write routes, otherwise empty."
    )


class RouteText(_Model):
    """A route file."""

    text: str = Field(
        description="The YAML text.",
        max_length=MAX_ROUTE_CHARACTERS,
        examples=['id: orders\nsource: {url: "s3://shop/orders/"}\ndestination: {url: "gs://archive/orders/"}\n'],
    )


class RouteToCheck(RouteText):
    """A route file that is only to be checked."""

    id: RouteId = Field(description="The name of the file without `.yaml`.")


class RouteVerdict(_Model):
    """What is wrong with a route file, if anything is."""

    valid: bool
    problems: list[FileProblem]


class TransferToStart(_Model):
    """A run to start."""

    parameters: dict[str, Any] = Field(
        description="The conf of the run: `id` names a route, which has values for everything else; or `source` and"
        " `destination`, and what else differs from the defaults. See the parameters of a transfer.",
        examples=[{"id": "orders_to_lake", "data": "2026/"}],
        max_length=100,
    )
    unpause: bool = Field(
        default=False,
        description="Switch the DAG on if it is paused. Without this, the start of a paused DAG that has a schedule is"
        " refused, because it would then also run by itself.",
    )


class Numbers(_Model):
    """What a run did; the names are those of the report."""

    objects_planned: int = 0
    objects_copied: int = 0
    objects_skipped: int = 0
    objects_refused: int = 0
    objects_failed: int = 0
    objects_deleted_at_source: int = 0
    bytes_copied: int = 0
    retries: int = 0
    metadata_losses: int = 0
    retries_by_cause: dict[str, int] = {}
    verified_by: dict[str, int] = {}
    skipped_by_reason: dict[str, int] = {}
    refused_by_reason: dict[str, int] = {}


class RunSummary(_Model):
    """One run."""

    dag_id: str
    run_id: str
    route: str = Field(description="Route id; for an on-demand transfer its name.")
    state: str = Field(description="Airflow's.")
    outcome: Outcome = Field(description="`success` only if Airflow and the report both say so.")
    is_report_missing: bool = Field(description="The run is over and left no report, so nobody knows what it did.")
    run_type: str
    run_after: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    is_dry_run: bool
    note: str
    source: str = Field(description="URL; empty until there is a report.")
    destination: str = Field(description="URL; empty until there is a report.")
    numbers: Numbers = Field(description="Zeros until there is a report.")
    airflow_path: str = Field(description="The run in Airflow's web UI, below the address of Airflow.")

    @staticmethod
    def of(run: TransferRun) -> RunSummary:
        """Return a run of the history."""
        return RunSummary(**_run_values(run))


class TaskDetail(_Model):
    """One task instance."""

    task_id: str
    name: str
    state: str
    try_number: int = Field(ge=0)
    airflow_path: str = Field(description="Its log in Airflow's web UI, below the address of Airflow.")


class Progress(_Model):
    """Where a run is."""

    phase: str
    objects_total: int | None = Field(description="Null before the plan is made, and for a queue.")
    bytes_total: int | None
    objects_done: int = Field(description="At least so many, by now.", ge=0)
    bytes_done: int = Field(ge=0)
    is_exact: bool = Field(description="Counted by receipts; otherwise batches count when they are through.")
    elapsed_seconds: float = Field(ge=0)
    bytes_per_second: float | None
    seconds_left: float | None

    @staticmethod
    def of(progress: RunProgress) -> Progress:
        """Return the progress of a run."""
        names = set(Progress.model_fields) - {"phase"}
        return Progress(phase=progress.phase, **{name: getattr(progress, name) for name in names})


class RunDetail(RunSummary):
    """One run with its parameters, its report, its tasks and its progress."""

    parameters: dict[str, Any] = Field(description="What it was started with.")
    report: dict[str, Any] | None = Field(description="Null until it is finished, and if it left none.")
    progress: Progress
    tasks: list[TaskDetail]

    @staticmethod
    def assembled(
        run: TransferRun, *, parameters: Mapping[str, Any], progress: RunProgress, tasks: list[TaskState]
    ) -> RunDetail:
        """Return a run and what there is to say about it."""
        return RunDetail(
            **_run_values(run),
            parameters=dict(parameters),
            report=dict(run.report) if run.report is not None else None,
            progress=Progress.of(progress),
            tasks=[_task(run, each) for each in tasks],
        )


class RunList(_Model):
    """The newest runs."""

    runs: list[RunSummary]


class RunToRetry(_Model):
    """How a run is to run again."""

    only_failed: bool = Field(
        default=True, description="Only the tasks that failed and what comes after them; otherwise it plans anew."
    )


class ObjectDetail(_Model):
    """What became of one object in a run."""

    key: str
    destination_key: str
    outcome: str = Field(
        description="`copied`, `skipped`, `refused`, `failed`, `deleted` (the copy of an object that is gone), or"
        " `pending` while it is under way."
    )
    reason: str
    refusal: str = Field(description="For what it was refused, as a code such as `name`; empty if it was not.")
    size_bytes: int
    verified_by: str = Field(description="What proved the copy.")
    source_verified_by: str
    evidence: str = Field(description="What proved that the content was there already.")
    checksums: dict[str, str]
    lost: list[str] = Field(description="What the destination could not hold.")
    deleted_at_source: bool
    attempt: int
    finished_at: str
    seconds: float


class ObjectList(_Model):
    """Some of the objects of a run."""

    objects: list[ObjectDetail]
    next_cursor: str | None = Field(description="Give this as `cursor` for the rest; null at the end.")


class PercentileValues(_Model):
    """Of the runs that had work; null where there were none."""

    p50: float | None
    p95: float | None
    max: float | None


class StatisticsGroup(_Model):
    """The numbers of some runs."""

    name: str
    runs_total: int
    runs: dict[str, int] = Field(description="Runs by outcome.")
    success_rate: float | None = Field(description="Of the finished runs, from 0 to 1.")
    runs_without_work: int
    dry_runs: int
    objects_planned: int
    objects_copied: int
    objects_skipped: int
    objects_refused: int
    objects_failed: int
    objects_deleted_at_source: int
    objects_deleted_at_destination: int
    bytes_copied: int
    retries: int
    missed_by_events: int
    metadata_losses: int
    retries_by_cause: dict[str, int]
    skipped_by_reason: dict[str, int]
    refused_by_reason: dict[str, int]
    verified_by: dict[str, int]
    duration_seconds: PercentileValues
    throughput_bytes_per_second: PercentileValues
    first_run_after: datetime | None
    last_run_after: datetime | None

    @staticmethod
    def of(group: GroupStatistics) -> StatisticsGroup:
        """Return a group of the statistics."""
        values = {each.name: getattr(group, each.name) for each in dataclasses.fields(group)}
        for name in ("duration_seconds", "throughput_bytes_per_second"):
            values[name] = PercentileValues(**dataclasses.asdict(values[name]))
        return StatisticsGroup(**values, success_rate=group.success_rate)


class StatisticsAnswer(_Model):
    """The numbers of many runs; the same ones as `transfer statistic` shows."""

    since: datetime | None
    route: str
    group_by: str
    total: StatisticsGroup
    groups: list[StatisticsGroup]

    @staticmethod
    def of(statistics: Statistics) -> StatisticsAnswer:
        """Return statistics."""
        return StatisticsAnswer(
            since=statistics.since,
            route=statistics.route,
            group_by=statistics.group_by,
            total=StatisticsGroup.of(statistics.total),
            groups=[StatisticsGroup.of(each) for each in statistics.groups],
        )


class Ring(_Model):
    """What an event led to, for one route."""

    route: str
    dag_id: str = Field(description="The DAG that was rung: the route's, or that of the queue which feeds it.")
    rung: Literal["started", "already_waiting", "refused"] = Field(
        description="`already_waiting`: a run of the route has not begun yet, and will see the object."
    )
    run_id: str = Field(description="Of the run that will look; empty if it was refused.")
    detail: str = Field(description="Why it was refused; else empty.")


class EventAnswer(_Model):
    """What an event led to."""

    objects: int = Field(description="Objects the event tells of that are there to be copied.", ge=0)
    rings: list[Ring]
    reason: str = Field(description="Why nothing was rung, if nothing was.")


def _run_values(run: TransferRun) -> dict[str, Any]:
    numbers = run.numbers
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "route": run.route,
        "state": run.state,
        "outcome": run.outcome,
        "is_report_missing": run.is_report_missing,
        "run_type": run.run_type,
        "run_after": run.run_after,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "duration_seconds": run.duration_seconds,
        "is_dry_run": run.is_dry_run,
        "note": run.note,
        "source": numbers.source,
        "destination": numbers.destination,
        "numbers": Numbers(**{name: getattr(numbers, name) for name in Numbers.model_fields}),
        "airflow_path": _airflow_path(run),
    }


def _airflow_path(run: TransferRun) -> str:
    return f"dags/{quote(run.dag_id, safe='')}/runs/{quote(run.run_id, safe='')}"


def _task(run: TransferRun, task: TaskState) -> TaskDetail:
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return TaskDetail(
        task_id=task.task_id,
        name=task.name or (f"{task.task_id} {task.map_index + 1}" if mapped else task.task_id),
        state=task.state,
        try_number=task.try_number,
        airflow_path=f"{_airflow_path(run)}/tasks/{quote(task.task_id, safe='')}{mapped}",
    )
