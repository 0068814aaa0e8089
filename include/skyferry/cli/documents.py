"""What commands write with `--json`: the documents, and the schema that describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast

from pydantic import JsonValue, TypeAdapter

from skyferry.audit import Audit
from skyferry.cli.storage_documents import (
    EntryDocument,
    ListingDocument,
    RemovedDocument,
    RenamedDocument,
    SentDocument,
    UsageDocument,
)
from skyferry.doctor.findings import Diagnosis
from skyferry.doctor.flow_report import FlowReport
from skyferry.history.run_progress import RunProgress
from skyferry.history.statistics import GroupStatistics, Statistics
from skyferry.history.transfer_run import TransferRun
from skyferry.provisioning.access_rights import ConnectionRights
from skyferry.provisioning.surroundings_plan import Surroundings
from skyferry.run_objects import RunObject
from skyferry.storage.presigning import Presigned
from skyferry.upload_cleanup import Cleanup


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressDocument:
    """Where a run is; see `skyferry.history.run_progress.RunProgress`."""

    phase: str
    objects_total: int | None
    bytes_total: int | None
    objects_done: int
    bytes_done: int
    is_exact: bool
    tasks: dict[str, dict[str, int]]
    elapsed_seconds: float
    bytes_per_second: float | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDocument:
    """One run: what `transfer run`, `status --run`, `cancel` and `retry` write.

    `outcome` is success, failed, report_missing, running or queued. `report` is null before the end, and where the run
    left none; `progress` is null where it was not asked for.
    """

    dag_id: str
    run_id: str
    route: str
    state: str
    outcome: str
    is_report_missing: bool
    run_type: str
    run_after: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    note: str
    page_url: str
    report: dict[str, Any] | None
    progress: ProgressDocument | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsDocument:
    """What `transfer status` writes: the newest runs, the newest first."""

    runs: tuple[RunDocument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsDocument:
    """What `transfer status --run RUN --objects` writes: what became of each object of the run.

    The objects are written as they are read: if Airflow goes away meanwhile, the text ends there and is no JSON.
    """

    dag_id: str
    run_id: str
    route: str
    outcome: str
    objects: tuple[RunObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDocument:
    """The numbers of one group of runs, and the share of finished runs that succeeded (0 to 1)."""

    success_rate: float | None
    numbers: GroupStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsDocument:
    """What `transfer statistic` writes."""

    since: datetime | None
    route: str
    group_by: str
    total: GroupDocument
    groups: tuple[GroupDocument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyDocument:
    """A new access key, and the Airflow connection that has it and its secret."""

    key_id: str
    conn_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionDocument(Surroundings):
    """What `transfer provision` writes; `access_key` only with `--access-key`."""

    access_key: AccessKeyDocument | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDocument:
    """The rights of a route's connections."""

    route: str
    connections: tuple[ConnectionRights, ...]


DOCUMENTS: Mapping[str, type] = {
    "transfer run": RunDocument,
    "transfer status": RunsDocument,
    "transfer status --run": RunDocument,
    "transfer status --run --objects": ObjectsDocument,
    "transfer cancel": RunDocument,
    "transfer retry": RunDocument,
    "transfer statistic": StatisticsDocument,
    "transfer audit": Audit,
    "transfer clean": Cleanup,
    "transfer provision": ProvisionDocument,
    "transfer deprovision": Surroundings,
    "transfer doctor": Diagnosis,
    "transfer doctor --send-probe": FlowReport,
    "transfer policy": PolicyDocument,
    "transfer ls": ListingDocument,
    "transfer find": ListingDocument,
    "transfer stat": EntryDocument,
    "transfer du": UsageDocument,
    "transfer put": SentDocument,
    "transfer get": SentDocument,
    "transfer rm": RemovedDocument,
    "transfer rename": RenamedDocument,
    "transfer presign": Presigned,
}
"""Command to the type of what it writes with `--json`."""


def run_document(run: TransferRun, *, page_url: str, progress: RunProgress | None = None) -> RunDocument:
    """Return the document of a run."""
    return RunDocument(
        **{name: getattr(run, name) for name in _RUN_FIELDS},
        outcome=run.outcome,
        is_report_missing=run.is_report_missing,
        duration_seconds=run.duration_seconds,
        page_url=page_url,
        report=dict(run.report) if run.report is not None else None,
        progress=_progress_document(progress) if progress else None,
    )


def objects_document(run: TransferRun) -> ObjectsDocument:
    """Return the document of a run's objects, without an object."""
    return ObjectsDocument(dag_id=run.dag_id, run_id=run.run_id, route=run.route, outcome=run.outcome, objects=())


def statistics_document(statistics: Statistics) -> StatisticsDocument:
    """Return the document of statistics."""
    return StatisticsDocument(
        since=statistics.since,
        route=statistics.route,
        group_by=statistics.group_by,
        total=_group(statistics.total),
        groups=tuple(_group(each) for each in statistics.groups),
    )


def as_json(document: object) -> JsonValue:
    """Return a document as JSON values."""
    return cast("JsonValue", _adapter(cast("Any", type(document))).dump_python(document, mode="json"))


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    """Return what writes documents of one type; making it takes longer than writing a thousand of them."""
    return TypeAdapter(kind)


def documents_schema() -> dict[str, Any]:
    """Return the JSON schema of all documents, each under the command that writes it."""
    definitions: dict[str, Any] = {}
    commands: dict[str, Any] = {}
    for command, kind in DOCUMENTS.items():
        schema = TypeAdapter(kind).json_schema(mode="serialization", ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs", {})
        definitions[kind.__name__] = schema
        commands[command] = {"$ref": f"#/$defs/{kind.__name__}"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the command transfer writes with --json",
        "properties": commands,
        "$defs": dict(sorted(definitions.items())),
    }


_RUN_FIELDS = (
    "dag_id",
    "run_id",
    "route",
    "state",
    "run_type",
    "run_after",
    "queued_at",
    "started_at",
    "ended_at",
    "note",
)


def _progress_document(progress: RunProgress) -> ProgressDocument:
    values = {name: getattr(progress, name) for name in ProgressDocument.__slots__}
    return ProgressDocument(**values)


def _group(numbers: GroupStatistics) -> GroupDocument:
    return GroupDocument(success_rate=numbers.success_rate, numbers=numbers)
