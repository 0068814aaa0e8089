"""The three stages of a transfer, each a function from a request and the records so far to the next records.

    plan_transfer -> copy_batch (any number, in parallel, on any machine) -> report_transfer

A stage may be run again at any time: a plan keeps what the run has copied already, a batch skips what has a receipt,
and the report counts each object once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from skyferry.attempts import Attempts
from skyferry.batch_copy import BatchCopier, CopyOptions
from skyferry.batch_tally import BatchResult, BatchTally
from skyferry.claim import Claimed, claim_files
from skyferry.earlier_receipts import EarlierReceipts
from skyferry.errors import BucketMissingError, PermanentError, RequestError
from skyferry.handover import NO_HANDOVER, Handover
from skyferry.manifest import Batch, ManifestWriter, OrderedOnDisk
from skyferry.notify.notifier import NotifierOpener
from skyferry.objects import ObjectInfo
from skyferry.paced_store import paced_stores
from skyferry.plan import Planner
from skyferry.receipts_index.indexing import Indexing
from skyferry.records import Action, Outcome, PlannedObject, Receipt
from skyferry.refusals import NOT_CLAIMED, OTHER
from skyferry.report import MAX_PROBLEMS, Report, Totals, seconds_between
from skyferry.request import TransferRequest
from skyferry.run_budget import BUDGET, BudgetReached, PlanBudget, deadline_of
from skyferry.state import RecordWriter, Run, StateFolder, StoreOpener, plan_folder
from skyferry.stores.base import Store
from skyferry.upload_records import UPLOADS_FOLDER, UploadRecords
from skyferry.urls import Location, is_inside

__all__ = ["Batch", "Plan", "Run", "StoreOpener", "copy_batch", "plan_transfer", "report_transfer"]

PREVIEW_OBJECTS = 200
"""How many decisions a plan carries along to be shown."""

_SKIPPED_PER_RECORD = 5_000

_LOST_ROUNDS = 3
"""How often all objects in flight must fail for a batch to take a store for lost; each round can take two minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is going to do.

    Attributes:
        totals: The numbers of `plan.json`.
        preview: The first decisions, for people.
        claimed: What came into the source just before, where the route claims files.
    """

    number: int
    batches: tuple[Batch, ...]
    totals: Mapping[str, Any]
    preview: tuple[PlannedObject, ...]
    claimed: Claimed = field(default_factory=Claimed)


async def plan_transfer(
    request: TransferRequest,
    *,
    run: Run,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    handover: Handover = NO_HANDOVER,
    open_notifier: NotifierOpener | None = None,
) -> Plan:
    """Decide on every selected object and write the manifest.

    Nothing is written at the source or the destination, except that a missing destination bucket is created when the
    request says so and is no dry run, and that settled files are claimed into the source where the route does that.

    Args:
        handover: What the route does beside the copy.
        open_notifier: For a handover that tells somebody; it is made sure that there is somebody.

    Raises:
        BucketMissingError, AccessDeniedError: Source, destination or state folder cannot be used.
        RequestError: `data` names an object that does not exist, there is no queue to tell, or the transfer would
            change the records of runs.
    """
    if request.dry_run and handover.watched:
        # Nothing is claimed, so what would be copied is still in the watched folder.
        request = request.model_copy(update={"source": handover.watched})
    _spare_records(request, handover, state, state_conn_id)
    claimed = await _claim(request, handover)
    open_store = paced_stores(open_store, request)
    async with (
        open_state(open_store, state, state_conn_id, run) as records,
        open_store(request.source_location, request.source_conn_id) as source,
        open_store(request.destination_location, request.destination_conn_id) as destination,
    ):
        await Attempts().call(source.check_bucket)
        exists = await prepare_destination(destination, request)
        if open_notifier is not None:
            async with open_notifier() as notifier:
                await notifier.prepare(is_rehearsal=request.dry_run)
        newest, newest_whole = await records.plan_numbers()
        # A plan that died half-way was never carried out, and has not taken over all receipts of the one before it.
        budget = PlanBudget(request)
        writer = _PlanWriter(records, newest + 1, request, budget=budget)
        planner = Planner(_once_claimed(request, handover), source, destination, destination_exists=exists)
        with closing(EarlierReceipts()) as earlier:
            if newest_whole:
                await earlier.load(records.rows(f"{plan_folder(newest_whole)}receipts/"))
                budget.spend(*earlier.total())
            async for decision in planner.decisions():
                await writer.add(decision, earlier.take(decision.source.key))
            for receipt in earlier.rest():
                await writer.carry(receipt)  # moved by this run already: its source is gone
        for decision in _unclaimed(claimed):
            await writer.add(decision, None)
        return replace(await writer.finish(), claimed=claimed)


async def _claim(request: TransferRequest, handover: Handover) -> Claimed:
    """Move settled files into the source, those that the request selects."""
    claiming = handover.claiming(request.source_location)
    if claiming is None or request.dry_run:
        return Claimed()
    selected, now = request.object_filter, datetime.now(UTC)

    def takes(info: ObjectInfo) -> bool:
        return selected.counts(info, info.key, now=now)

    return await asyncio.to_thread(claim_files, claiming, takes=takes)


def _once_claimed(request: TransferRequest, handover: Handover) -> TransferRequest:
    """Ask claimed files for no age: each was old enough when it was claimed, and being moved made it young again."""
    is_claimed = handover.claiming(request.source_location) is not None and not request.dry_run
    return request.model_copy(update={"min_age_seconds": 0}) if is_claimed else request


def _unclaimed(claimed: Claimed) -> Iterator[PlannedObject]:
    """Yield what is to be reported of files that stay in the watched folder for good."""
    for info in claimed.not_files:
        yield PlannedObject(action=Action.SKIP, source=info, destination_key="", reason=info.unreadable_because)
    for info, reason in claimed.refused:
        yield PlannedObject(action=Action.REFUSE, source=info, destination_key="", reason=reason, refusal=NOT_CLAIMED)


def _spare_records(request: TransferRequest, handover: Handover, state: Location, state_conn_id: str) -> None:
    """Refuse to write into the state folder, or to move records out of it: other runs are at work with them."""
    source, destination = request.source_location, request.destination_location
    if any(is_inside(state, folder, same_connection=True) for folder in handover.folders):
        raise RequestError(
            f"the records of runs in {state.url} lie in a folder that the route moves files out of, or into",
            hint="choose another folder, or another state_url; nothing was changed",
        )
    is_same = request.source_conn_id == state_conn_id
    moves_records = not request.keep_source and (
        is_inside(state, source, same_connection=is_same) or is_inside(source, state, same_connection=is_same)
    )
    if moves_records or is_inside(destination, state, same_connection=request.destination_conn_id == state_conn_id):
        what = f"moving {source.url} away" if moves_records else f"writing to {destination.url}"
        raise RequestError(
            f"{what} would change the records of runs in {state.url}",
            hint="choose another place, or another state_url; nothing was changed",
        )


def upload_records(records: StateFolder, run: Run, request: TransferRequest) -> UploadRecords:
    """Return where the uploads of a run are remembered; beside the runs, so that any later run goes on with them."""
    return UploadRecords(
        records.sibling(UPLOADS_FOLDER),
        dag_id=run.dag_id,
        run_id=run.run_id,
        destination_conn_id=request.destination_conn_id,
    )


@asynccontextmanager
async def open_state(
    open_store: StoreOpener, state: Location, state_conn_id: str, run: Run
) -> AsyncIterator[StateFolder]:
    """Yield the records of a run; a local folder is created if it is missing."""
    async with open_store(state, state_conn_id) as store:
        if store.kind == "file":
            await store.create_bucket()
        yield StateFolder(store, state.prefix + run.folder, root=state.prefix)


async def prepare_destination(destination: Store, request: TransferRequest) -> bool:
    """Return whether the destination bucket exists, after creating it if that was asked for."""
    attempts = Attempts()
    try:
        await attempts.call(destination.check_bucket)
    except BucketMissingError:
        if not request.create_destination:
            raise
        if request.dry_run:
            return False
        await attempts.call(destination.create_bucket)
    return True


class _PlanWriter:
    """Writes decisions as records, and those to be carried out as a manifest, in the order of the request."""

    def __init__(self, records: StateFolder, number: int, request: TransferRequest, *, budget: PlanBudget) -> None:
        self._records = records
        self._number = number
        self._request = request
        self._budget = budget
        self._ordered = None if request.order == "key" else OrderedOnDisk(request.order)
        folder = plan_folder(number)
        self._manifest = ManifestWriter(records, folder, request)
        self._skipped = RecordWriter(
            records, lambda record: f"{folder}skipped/{record:05d}.ndjson", rows_per_record=_SKIPPED_PER_RECORD
        )
        self._carried = RecordWriter(
            records, lambda record: f"{folder}receipts/carried/{record:05d}.ndjson", rows_per_record=_SKIPPED_PER_RECORD
        )
        self._preview: list[PlannedObject] = []
        self._counts: Counter[str] = Counter()
        self._skipped_by_reason: Counter[str] = Counter()
        self._refused_by_reason: Counter[str] = Counter()
        self._problems: list[str] = []

    async def add(self, decision: PlannedObject, earlier: Receipt | None) -> None:
        """Take in a decision, and the receipt this run already has for the object."""
        self._counts["objects_planned"] += 1
        if earlier is not None and _still_holds(earlier, decision):
            if self._request.keep_source or not earlier.awaits_deletion:
                self._show(decision)
                self._counts["objects_carried"] += 1
                await self._carried.add(earlier.to_json())
                return
            # Copied by this run, and not merely found identical; all that is left is to delete it at the source.
            decision = replace(decision, action=Action.DELETE_SOURCE, reason=earlier.reason)
            self._show(decision)
            await self._manifest.add(decision)
        elif decision.action in (Action.SKIP, Action.REFUSE):
            await self._note(decision)
        elif self._ordered is not None:
            self._ordered.add(decision)
        else:
            await self._add_work(decision)

    async def _add_work(self, decision: PlannedObject) -> None:
        """Put an object into the manifest, or leave it for the next run."""
        size_bytes = decision.source.size_bytes if decision.action is Action.COPY else 0
        if not self._budget.takes(size_bytes):
            await self._note(replace(decision, action=Action.SKIP, reason=BUDGET))
            return
        self._show(decision)
        if decision.action is Action.COPY:
            self._counts["objects_to_copy"] += 1
            self._counts["bytes_to_copy"] += size_bytes
        await self._manifest.add(decision)

    async def _note(self, decision: PlannedObject) -> None:
        self._show(decision)
        if decision.action is Action.SKIP:
            self._counts["objects_skipped"] += 1
            self._skipped_by_reason[decision.reason] += 1
        else:
            self._counts["objects_refused"] += 1
            self._refused_by_reason[decision.refusal or OTHER] += 1
            if len(self._problems) < MAX_PROBLEMS:
                self._problems.append(decision.reason)
        await self._skipped.add(decision.to_note())

    def _show(self, decision: PlannedObject) -> None:
        if len(self._preview) < PREVIEW_OBJECTS:
            self._preview.append(decision)

    async def carry(self, receipt: Receipt) -> None:
        """Take over the receipt of an object the source no longer has."""
        self._counts["objects_planned"] += 1
        self._counts["objects_carried"] += 1
        await self._carried.add(receipt.to_json())

    async def finish(self) -> Plan:
        """Write what is left and then the totals, which make the plan whole."""
        for decision in self._ordered.take_all() if self._ordered is not None else ():
            await self._add_work(decision)
        await self._manifest.flush()
        await self._skipped.flush()
        await self._carried.flush()
        batches = () if self._request.dry_run else self._manifest.batches(self._number)
        names = ("objects_planned", "objects_to_copy", "bytes_to_copy", "objects_skipped", "objects_refused")
        totals: dict[str, Any] = {name: self._counts[name] for name in (*names, "objects_carried")}
        totals |= {
            "objects_in_manifest": self._manifest.objects,
            "skipped_by_reason": dict(self._skipped_by_reason),
            "refused_by_reason": dict(self._refused_by_reason),
            "problems": self._problems,
            "budget_reached": self._budget.reached,
            "batches": [batch.to_json() for batch in batches],
            "dry_run": self._request.dry_run,
        }
        await self._records.write(f"{plan_folder(self._number)}plan.json", [totals])
        return Plan(number=self._number, batches=batches, totals=totals, preview=tuple(self._preview))


def _still_holds(receipt: Receipt, decision: PlannedObject) -> bool:
    """Tell whether what this run copied is still what the source has and the destination shows."""
    shown = decision.replaces.etag if decision.replaces else ""
    return receipt.source_etag == decision.source.etag and receipt.destination_etag == shown


async def copy_batch(
    batch: Batch,
    *,
    request: TransferRequest,
    run: Run,
    attempt: int,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    handover: Handover = NO_HANDOVER,
    open_notifier: NotifierOpener | None = None,
    tally: BatchTally | None = None,
) -> BatchResult:
    """Copy the objects of one batch that this run has not copied yet.

    Every object is tried, unless a store is lost meanwhile (docs/adr/0013-a-lost-store-ends-the-batch.md); look at
    `BatchResult.raise_if_failed`.

    Args:
        attempt: The task's attempt, from 1.
        handover: What the route does beside the copy.
        open_notifier: For a handover that tells somebody.
        tally: Kept up to date meanwhile, for a caller that wants to know what was done when the call is cancelled.

    Raises:
        TransferError: The batch as a whole could not be worked on (a bucket is gone, the records cannot be read).
    """
    open_store = paced_stores(open_store, request, share=1 / batch.batches)
    async with (
        open_state(open_store, state, state_conn_id, run) as records,
        open_store(request.source_location, request.source_conn_id) as source,
        open_store(request.destination_location, request.destination_conn_id) as destination,
        open_notifier() if open_notifier is not None else nullcontext() as notifier,
    ):
        copier = BatchCopier(
            source,
            destination,
            options=_copy_options(request),
            state=records,
            records=f"{batch.receipts}try-{attempt:02d}",
            attempt=attempt,
            notifier=notifier,
            release=handover.release(request.source_location),
            tally=tally,
            deadline=deadline_of(request, run.started_at),
            uploads=upload_records(records, run, request),
        )
        return await copier.copy_all(
            await _planned_objects(records, batch), done=await last_receipts(records, batch.receipts)
        )


async def _planned_objects(records: StateFolder, batch: Batch) -> list[PlannedObject]:
    """Return the batch's part of the manifest.

    Raises:
        PermanentError: Some of it is missing.
    """
    folder = f"{plan_folder(batch.plan_number)}manifest/"
    planned = [
        PlannedObject.from_json(row)
        for record in batch.records
        for row in await records.read(f"{folder}{record:05d}.ndjson")
    ]
    if len(planned) != batch.objects:
        raise PermanentError(
            f"{records.url(folder)} holds {len(planned):,} of the {batch.objects:,} objects of the batch",
            hint="somebody removed records, or this worker looks at another state folder than the plan's;"
            " see state_url",
        )
    return planned


def _copy_options(request: TransferRequest) -> CopyOptions:
    return CopyOptions(
        keep_source=request.keep_source,
        on_conflict=request.on_conflict,
        reads_back=request.verify == "readback",
        max_objects_in_flight=request.max_objects_in_flight,
        max_lost_in_a_row=_LOST_ROUNDS * request.max_objects_in_flight,
    )


async def last_receipts(records: StateFolder, folder: str) -> dict[str, Receipt]:
    """Return the receipt that counts for each object in a folder, with the retries of all attempts.

    It is the last one, except that what was done stays done: a worker that was cut off may report later than its
    successor, and find a source gone because the other one has moved it.
    """
    last: dict[str, Receipt] = {}
    async for row in records.rows(folder):
        receipt = Receipt.from_json(row)
        known = last.get(receipt.key)
        if known is not None and known.attempt != receipt.attempt:
            receipt = replace(receipt, retries=Counter(known.retries) + Counter(receipt.retries))
        if known is None or _weight(receipt) >= _weight(known):
            last[receipt.key] = receipt
    return last


def _weight(receipt: Receipt) -> int:
    if receipt.deleted_at_source:
        return 3
    if receipt.outcome is Outcome.FAILED:
        return 0
    return 1 if receipt.reason in ("source_gone", BUDGET) else 2


async def report_transfer(
    request: TransferRequest,
    *,
    run: Run,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    is_reconciliation: bool = False,
    indexing: Indexing | None = None,
) -> Report:
    """Add up the newest plan and its receipts, and keep the report beside them.

    Cost: every receipt is read once; memory holds those of one batch.

    Args:
        is_reconciliation: A queue tells of the source's objects, so what was copied is what no event had brought.
        indexing: What became of the receipts in the route's index, if it has one.
    """
    indexing = indexing or Indexing()
    async with open_state(paced_stores(open_store, request), state, state_conn_id, run) as records:
        number, _ = await records.plan_numbers()
        plan = await records.read(f"{plan_folder(number)}plan.json") if number else []
        totals = Totals(deletes_sources=not request.keep_source)
        if indexing.left:
            totals.add_problem(indexing.text)
        if plan:
            await _add_receipts(totals, records, number, plan[0])
        report = _make_report(request, run, totals, plan[0] if plan else None, records.url(plan_folder(number)))
        report = replace(report, receipts_not_indexed=indexing.left)
        if is_reconciliation:
            report = replace(report, missed_by_events=report.objects_copied)
        if plan:
            await _keep_report(records, number, report)
        return report


async def _add_receipts(totals: Totals, records: StateFolder, number: int, plan: Mapping[str, Any]) -> None:
    folder = f"{plan_folder(number)}receipts/"
    totals.skipped += plan["objects_skipped"]
    totals.refused += plan["objects_refused"]
    totals.skipped_by_reason.update(plan["skipped_by_reason"])
    totals.refused_by_reason.update(plan.get("refused_by_reason") or {OTHER: plan["objects_refused"]})
    for problem in plan["problems"]:
        totals.add_problem(problem)
    async for row in records.rows(f"{folder}carried/"):
        totals.add(Receipt.from_json(row))
    if plan["dry_run"]:
        return
    without_receipt = plan["objects_in_manifest"]
    for batch in plan["batches"]:
        receipts = await last_receipts(records, f"{folder}{batch['number']:05d}/")
        without_receipt -= len(receipts)
        for receipt in receipts.values():
            totals.add(receipt)
    if without_receipt:
        totals.failed += without_receipt
        totals.add_problem(f"{without_receipt:,} objects were planned and left no receipt: their batch did not finish")


def _make_report(
    request: TransferRequest, run: Run, totals: Totals, plan: Mapping[str, Any] | None, records: str
) -> Report:
    ended_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    duration_seconds = seconds_between(run.started_at, ended_at)
    numbers: Mapping[str, Any] = plan or {}
    if plan is None:
        totals.add_problem("the plan was not finished; see the log of the task `plan`")
    return Report(
        run_id=run.run_id,
        route=run.route,
        state="success" if plan is not None and not totals.refused and not totals.failed else "failed",
        source=request.source,
        destination=request.destination,
        dry_run=request.dry_run,
        objects_planned=numbers.get("objects_planned", 0),
        objects_to_copy=numbers.get("objects_to_copy", 0),
        objects_copied=totals.copied,
        objects_skipped=totals.skipped,
        objects_refused=totals.refused,
        objects_failed=totals.failed,
        objects_deleted_at_source=totals.deleted_at_source,
        bytes_to_copy=numbers.get("bytes_to_copy", 0),
        bytes_copied=totals.bytes_copied,
        retries=sum(totals.retries_by_cause.values()),
        retries_by_cause=dict(totals.retries_by_cause),
        verified_by=dict(totals.verified_by),
        skipped_by_reason=dict(totals.skipped_by_reason),
        refused_by_reason=dict(+totals.refused_by_reason),
        metadata_losses=totals.metadata_losses,
        started_at=run.started_at,
        ended_at=ended_at,
        duration_seconds=duration_seconds,
        throughput_bytes_per_second=round(totals.bytes_copied / duration_seconds, 1) if duration_seconds else 0.0,
        records=records,
        problems=tuple(totals.problems),
        budget_reached=_budget_reached(numbers, totals),
    )


def _budget_reached(plan: Mapping[str, Any], totals: Totals) -> BudgetReached:
    """Return which budget the run has reached: one the plan met, or its time, which only the copy can meet."""
    planned: BudgetReached = plan.get("budget_reached", "")
    return planned or ("seconds" if totals.skipped_by_reason[BUDGET] else "")


async def _keep_report(records: StateFolder, number: int, report: Report) -> None:
    folder = f"{plan_folder(number)}reports/"
    count = len(await records.names(folder))
    await records.write(f"{folder}{count:05d}.json", [report.to_json()])
