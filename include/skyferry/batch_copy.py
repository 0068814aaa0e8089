"""Copying one batch: every object is tried, every outcome is recorded, and one that fails costs the others nothing.

A move lets go of a source object only after its receipt is on record, so that a run that dies between the two still
knows what it had copied. Who is to be told of copies is told in between, for the same reason.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skyferry.attempts import Attempts
from skyferry.batch_tally import BatchResult, BatchTally
from skyferry.byte_budget import ByteBudget
from skyferry.errors import (
    ChecksumMismatchError,
    DestinationChangedError,
    DestinationConflictError,
    PermanentError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
)
from skyferry.evidence import Comparer
from skyferry.notify.messages import Arrival
from skyferry.notify.notifier import Notifier
from skyferry.object_transfer import SMALL_OBJECT_BYTES, ObjectTransfer, Transferred
from skyferry.objects import ObjectInfo
from skyferry.records import Action, Outcome, PlannedObject, Receipt
from skyferry.request import OnConflict
from skyferry.run_budget import BUDGET, is_over
from skyferry.state import RecordWriter, StateFolder
from skyferry.stores.base import Store
from skyferry.upload_records import UploadRecords

MEMORY_BUDGET_BYTES = 96 * 2**20
"""Content held in memory by one task; connections hold buffers beside it."""

MAX_LARGE_OBJECTS = 8
"""Objects under way at once that travel in parts. More would not be faster, because the memory budget holds 12 parts;
but a store that sends parts one after the other holds up to three of each object beside it (24 MiB)."""

MAX_LOOKS = 4
"""How often an object that keeps changing under us is looked at again before it counts as failed."""

_RECEIPTS_PER_RECORD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How objects are copied; see the parameters of the same names."""

    keep_source: bool
    on_conflict: OnConflict
    reads_back: bool
    max_objects_in_flight: int
    max_lost_in_a_row: int | None = None
    """After so many objects in a row that failed and may succeed later, no other one is begun; None: all are tried."""


class BatchCopier:
    """Copies planned objects between two open stores.

    Args:
        state: Where the receipts go.
        records: Folder and first part of the records' names, e.g. `plan-0001/receipts/00003/try-01`.
        attempt: The task's attempt, from 1. From the second on, every object is first looked at, because the attempt
            before may have copied it without leaving a receipt.
        budget: Shared by copiers that work at the same time; one of its own by default.
        notifier: Told of every copy of a move before its source is let go; None when nobody is.
        release: Takes a source version away once its copy is on record; by default it is deleted.
        tally: Kept up to date while the copier works; one of its own by default.
        deadline: No object is begun after it: those that are left are skipped, for the next run to copy.
        uploads: Where large objects on their way are remembered; by default they are not.
    """

    def __init__(
        self,
        source: Store,
        destination: Store,
        *,
        options: CopyOptions,
        state: StateFolder,
        records: str,
        attempt: int,
        budget: ByteBudget | None = None,
        notifier: Notifier | None = None,
        release: Callable[[ObjectInfo], Awaitable[bool]] | None = None,
        tally: BatchTally | None = None,
        deadline: datetime | None = None,
        uploads: UploadRecords | None = None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._options = options
        self._notifier = notifier
        self._release = release or source.delete_object
        self._attempt = attempt
        self._uploads = uploads
        self._budget = budget or ByteBudget(MEMORY_BUDGET_BYTES)
        self._large_objects = asyncio.Semaphore(MAX_LARGE_OBJECTS)
        # Two workers may write for one attempt (one of them cut off); the token keeps their records apart.
        token = secrets.token_hex(4)
        self._receipts = RecordWriter(
            state, lambda number: f"{records}-{token}-{number:05d}.ndjson", rows_per_record=_RECEIPTS_PER_RECORD
        )
        self._tally = tally if tally is not None else BatchTally()
        self._deadline = deadline

    async def copy_all(
        self, planned: Sequence[PlannedObject], *, done: dict[str, Receipt], settled: Sequence[Receipt] = ()
    ) -> BatchResult:
        """Copy everything that has no receipt yet.

        Memory is bounded by `MEMORY_BUDGET_BYTES` and the rows of the batch.

        Args:
            planned: The batch.
            done: Receipts of earlier attempts by source key.
            settled: Receipts of objects there is nothing to do for; recorded and counted with the others.

        Returns:
            Counts over this call; a failure is counted, not raised.
        """
        undone = [item for item in planned if not self._is_done(done.get(item.source.key))]
        try:
            for receipt in settled:
                await self._record(self._finished(receipt))
            await self._copy_and_delete(undone, done)
        finally:
            # Stopped or not: what was copied is on record.
            await asyncio.shield(self._receipts.flush())
        return self._tally.result()

    async def _copy_and_delete(self, undone: Sequence[PlannedObject], done: dict[str, Receipt]) -> None:
        pending_deletes: list[Receipt] = []
        async for receipt in self._copy_concurrently(undone, done):
            await self._record(receipt)
            if self._is_to_delete(receipt):
                pending_deletes.append(receipt)
            if len(pending_deletes) >= _RECEIPTS_PER_RECORD:
                await self._delete_sources(pending_deletes)
        await self._delete_sources(pending_deletes)

    def _is_done(self, receipt: Receipt | None) -> bool:
        if receipt is None or receipt.outcome in (Outcome.FAILED, Outcome.REFUSED) or receipt.reason == BUDGET:
            return False
        return not self._is_to_delete(receipt)

    def _is_to_delete(self, receipt: Receipt) -> bool:
        return receipt.awaits_deletion and not self._options.keep_source

    async def _record(self, receipt: Receipt) -> None:
        self._tally.add(receipt)
        await self._receipts.add(receipt.to_json())

    async def _copy_concurrently(
        self, planned: Sequence[PlannedObject], done: dict[str, Receipt]
    ) -> AsyncIterator[Receipt]:
        """Yield receipts as they come; the next object starts as soon as one ends."""
        waiting = iter(planned)
        tasks: set[asyncio.Task[Receipt]] = set()
        # `asyncio.wait` would touch every task under way for each one that ends.
        finished: asyncio.Queue[asyncio.Task[Receipt]] = asyncio.Queue()
        try:
            while True:
                if self._has_lost_a_store():
                    waiting = iter(())
                while len(tasks) < self._options.max_objects_in_flight and (item := next(waiting, None)) is not None:
                    task = asyncio.create_task(self._copy_one(item, done.get(item.source.key)))
                    task.add_done_callback(finished.put_nowait)
                    tasks.add(task)
                if not tasks:
                    return
                task = await finished.get()
                tasks.discard(task)
                yield task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _has_lost_a_store(self) -> bool:
        limit = self._options.max_lost_in_a_row
        return limit is not None and self._tally.lost_in_a_row >= limit

    async def _copy_one(self, planned: PlannedObject, earlier: Receipt | None) -> Receipt:
        started = time.monotonic()
        attempts = Attempts()
        copier = _ObjectCopier(self, attempts, wrong_etag=earlier.wrong_etag if earlier else "")
        try:
            if earlier is not None and self._is_to_delete(earlier):
                receipt = earlier  # nothing else is left to do
            elif is_over(self._deadline):
                receipt = receipt_of(planned, Outcome.SKIPPED, BUDGET)
            else:
                receipt = await copier.copy(planned)
        except Exception as error:  # noqa: BLE001 - not even a fault of our own may cost the other objects
            known = as_transfer_error(error, f"copying {self._source.url(planned.source.key)}")
            receipt = replace(receipt_of(planned, Outcome.FAILED, str(known)), wrong_etag=copier.wrong_etag)
            self._tally.add_failure(receipt, known)
        return self._finished(
            receipt, retries=attempts.retries or receipt.retries, seconds=round(time.monotonic() - started, 3)
        )

    def _finished(self, receipt: Receipt, **measured: Any) -> Receipt:
        finished_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return replace(receipt, attempt=self._attempt, finished_at=finished_at, **measured)

    async def _delete_sources(self, receipts: list[Receipt]) -> None:
        """Tell of the copies that are on record, and take their sources away."""
        await self._receipts.flush()
        gate = asyncio.Semaphore(self._options.max_objects_in_flight)

        async def delete(receipt: Receipt, untold_because: TransferError | None) -> Receipt:
            if untold_because is not None:
                return self._tally.not_deleted(receipt, untold_because)
            async with gate:
                return await self._delete_source(receipt)

        told = await self._tell(receipts)
        for receipt in await asyncio.gather(*(delete(receipt, error) for receipt, error in told)):
            await self._receipts.add(receipt.to_json())
        receipts.clear()

    async def _tell(self, receipts: Sequence[Receipt]) -> list[tuple[Receipt, TransferError | None]]:
        """Return each receipt with the reason why nobody could be told of it; those that were told of say so."""
        if self._notifier is None:
            return [(receipt, None) for receipt in receipts]
        new = [receipt for receipt in receipts if not receipt.told]
        outcomes = await self._notifier.tell([self._arrival(receipt) for receipt in new])
        errors = {receipt.key: error for receipt, error in zip(new, outcomes, strict=True) if error is not None}
        return [(replace(receipt, told=receipt.key not in errors), errors.get(receipt.key)) for receipt in receipts]

    def _arrival(self, receipt: Receipt) -> Arrival:
        return Arrival(
            store=self._destination.kind,
            bucket=self._destination.bucket,
            key=receipt.destination_key,
            url=self._destination.url(receipt.destination_key),
            size_bytes=receipt.size_bytes,
            etag=receipt.destination_etag,
            version_id=receipt.destination_version_id,
            time=receipt.finished_at,
        )

    async def _delete_source(self, receipt: Receipt) -> Receipt:
        attempts = Attempts()
        info = ObjectInfo(
            key=receipt.key,
            size_bytes=receipt.size_bytes,
            etag=receipt.source_etag,
            version_id=receipt.source_version_id,
        )
        try:
            await self._require_destination(receipt, attempts)
            await attempts.call(lambda: self._release(info))
        except (SourceChangedError, DestinationChangedError) as error:
            return replace(receipt, kept_because=str(error))
        except Exception as error:  # noqa: BLE001 - as in `_copy_one`
            return self._tally.not_deleted(
                receipt, as_transfer_error(error, f"deleting {self._source.url(receipt.key)}")
            )
        return replace(receipt, deleted_at_source=True, not_deleted_because="")

    async def _require_destination(self, receipt: Receipt, attempts: Attempts) -> None:
        """Raise unless the destination still shows what was verified; without it the source is the only copy."""
        found = await attempts.call(lambda: self._destination.stat(receipt.destination_key))
        if found is None or found.etag != receipt.destination_etag:
            raise DestinationChangedError(
                f"{self._destination.url(receipt.destination_key)} is no longer what was copied",
                hint=f"{self._source.url(receipt.key)} was kept",
            )
        if await self._is_the_source_itself(receipt, found, attempts):
            raise DestinationChangedError(
                f"{self._destination.url(receipt.destination_key)} is the very object {self._source.url(receipt.key)}",
                hint="it was kept; two connections (or a link) lead to one place, so there is nothing to move",
            )

    async def _is_the_source_itself(self, receipt: Receipt, found: ObjectInfo, attempts: Attempts) -> bool:
        """Tell whether source and destination are one object, reached on two ways.

        Buckets of one name behind two endpoints are two buckets, so names do not decide. Two objects that agree in
        etag, version and time of writing as well are taken for one: then nothing is deleted.
        """
        if self._source.kind != self._destination.kind or found.etag != receipt.source_etag:
            return False
        if self._source.kind == "file":
            return True  # such etags name the file itself
        if (self._source.bucket, receipt.key) != (self._destination.bucket, receipt.destination_key):
            return False
        source = await attempts.call(lambda: self._source.stat(receipt.key))
        return source is not None and (source.version_id, source.modified_at) == (found.version_id, found.modified_at)


class _ObjectCopier:
    """Copies one object, looking again when source or destination are not what the plan saw.

    Args:
        wrong_etag: The version of wrong content an earlier attempt left at the destination; it is nobody's, so it is
            replaced whatever `on_conflict` says.
    """

    def __init__(self, batch: BatchCopier, attempts: Attempts, *, wrong_etag: str) -> None:
        self.wrong_etag = wrong_etag
        self._source = batch._source
        self._destination = batch._destination
        self._options = batch._options
        self._is_first_attempt = batch._attempt == 1
        self._attempts = attempts
        self._large_objects = batch._large_objects
        self._transfer = ObjectTransfer(
            self._source,
            self._destination,
            reads_back=self._options.reads_back,
            budget=batch._budget,
            attempts=attempts,
            uploads=batch._uploads,
        )
        self._comparer = Comparer(
            self._source,
            self._destination,
            budget=batch._budget,
            attempts=attempts,
            trusts_notes=self._options.keep_source,
        )

    async def copy(self, planned: PlannedObject) -> Receipt:
        """Return the receipt of a copy, or of a good reason not to make one.

        Raises:
            TransferError: The object was not copied.
        """
        current: PlannedObject | Receipt = planned
        if planned.action is Action.DELETE_SOURCE or not self._is_first_attempt:
            current = await self._look_again(planned)
        last_error: TransferError | None = None
        mismatches = 0
        for _ in range(MAX_LOOKS):
            if isinstance(current, Receipt):
                return current
            try:
                async with self._large_objects if current.source.size_bytes > SMALL_OBJECT_BYTES else nullcontext():
                    return _copied(current, await self._transfer.transfer(current))
            except (SourceChangedError, SourceMissingError, DestinationChangedError, ChecksumMismatchError) as error:
                last_error = error
                if isinstance(error, ChecksumMismatchError):
                    mismatches += 1
                    self.wrong_etag = error.wrong_etag or self.wrong_etag
                if mismatches > 1:
                    break  # each has cost several whole reads; the task's own retries begin anew
                self._attempts.count(error)
                current = await self._look_again(current)
        if isinstance(current, Receipt):
            return current
        raise last_error or PermanentError(f"{self._source.url(planned.source.key)} was never tried")

    async def _look_again(self, planned: PlannedObject) -> PlannedObject | Receipt:
        """Return the object with the versions there are now, or the receipt that settles it."""
        key = planned.source.key
        # The destination first: whoever writes a newer source version there after this look makes our commit fail. The
        # other way round, an older version that can still be read by its id would be written over the newer one.
        found = await self._attempts.call(lambda: self._destination.stat(planned.destination_key))
        source = await self._attempts.call(lambda: self._source.stat(key))
        if source is None:
            return receipt_of(planned, Outcome.SKIPPED, "source_gone")
        fresh = replace(planned, source=source, replaces=found)
        was_planned = planned.replaces.etag if planned.replaces else None
        is_ours = found is not None and found.etag == self.wrong_etag
        if found is None or is_ours or (found.etag == was_planned and planned.action is Action.COPY):
            return replace(fresh, action=Action.COPY)
        return await self._resolve_conflict(fresh, found)

    async def _resolve_conflict(self, planned: PlannedObject, found: ObjectInfo) -> PlannedObject | Receipt:
        """Decide about a destination that is not what the plan saw; by content, whoever wrote it."""
        finding = await self._comparer.same_content(planned.source, found)
        if finding.is_same:
            planned = replace(planned, replaces=found)
            if planned.reason == "identical":
                return receipt_of(planned, Outcome.SKIPPED, "identical", verified_by=finding.evidence)
            return replace(
                receipt_of(planned, Outcome.COPIED, planned.reason, verified_by=finding.evidence),
                source_verified_by=finding.evidence,
                was_there=True,
            )
        match self._options.on_conflict:
            case "skip":
                return receipt_of(planned, Outcome.SKIPPED, "exists")
            case "fail":
                raise DestinationConflictError(
                    f"{self._destination.url(planned.destination_key)} exists with other content than "
                    f"{self._source.url(planned.source.key)}, and on_conflict is fail",
                    hint="it was left alone",
                )
            case _:
                return replace(planned, action=Action.COPY)


def as_transfer_error(error: Exception, what: str) -> TransferError:
    """Return the error; for one that nobody foresaw, one that says where it was raised but not its text."""
    if isinstance(error, TransferError):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1]
    return PermanentError(
        f"{what} failed: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}",
        hint="this is a fault of the program, not of the object",
    )


def receipt_of(planned: PlannedObject, outcome: Outcome, reason: str, *, verified_by: str = "") -> Receipt:
    """Return the receipt of an object that was not copied, or was found to be there."""
    found = planned.replaces
    return Receipt(
        key=planned.source.key,
        destination_key=planned.destination_key,
        outcome=outcome,
        reason=reason,
        refusal=planned.refusal,
        size_bytes=planned.source.size_bytes,
        source_etag=planned.source.etag,
        source_version_id=planned.source.version_id,
        destination_etag=found.etag if found else "",
        destination_version_id=found.version_id if found else None,
        verified_by=verified_by,
    )


def _copied(planned: PlannedObject, transferred: Transferred) -> Receipt:
    return Receipt(
        key=planned.source.key,
        destination_key=planned.destination_key,
        outcome=Outcome.COPIED,
        reason=planned.reason,
        size_bytes=planned.source.size_bytes,
        source_etag=planned.source.etag,
        source_version_id=planned.source.version_id,
        destination_etag=transferred.committed.etag,
        destination_version_id=transferred.committed.version_id,
        checksums=dict(transferred.digests),
        verified_by=transferred.verified_by,
        source_verified_by=transferred.source_verified_by,
        lost=transferred.lost,
        was_there=transferred.was_there,
        resumed_bytes=transferred.resumed_bytes,
    )
