"""What became of each object of a run, page by page, from the run's records alone.

    what was to be copied     batch by batch, each object with the receipt that counts, or none yet
    what was taken over       receipts that an earlier plan of the run left
    what was not copied       skipped and refused objects, with the reason
    what a queue told of      the receipts of a run that consumed one, which has no plan

A page costs the records it shows, and some that its filter leaves out; memory holds one batch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skyferry.queue_report import RECEIPTS_FOLDER
from skyferry.records import Action, Outcome, PlannedObject, Receipt
from skyferry.refusals import OTHER
from skyferry.stages import last_receipts, open_state
from skyferry.state import Run, StateFolder, StoreOpener, plan_folder
from skyferry.urls import Location

PENDING = "pending"
BEGINNING = "0.0"
_MAX_GROUPS_READ = 16
"""Of records, for one page: a filter that matches little must not read a whole run."""

_NOT_BEGUN = "the batch has not come to it"
_LOST = "it was planned and left no receipt: its batch did not finish"
_OUTCOME_OF_ACTION = {Action.SKIP.value: "skipped", Action.REFUSE.value: "refused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunObject:
    """One object of a run.

    Attributes:
        outcome: `copied`, `skipped`, `refused`, `failed`, `deleted` (the copy of an object that is gone), or `pending`
            while the run is under way.
        refusal: For what it was refused, a code of `skyferry.refusals`; empty if it was not.
        evidence: What proved that the destination had the content already.
    """

    key: str
    outcome: str
    reason: str
    size_bytes: int
    refusal: str = ""
    destination_key: str = ""
    verified_by: str = ""
    source_verified_by: str = ""
    evidence: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    deleted_at_source: bool = False
    attempt: int = 0
    finished_at: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPage:
    """Some objects of a run, and where the next ones begin; None at the end."""

    objects: tuple[RunObject, ...]
    next_cursor: str | None


async def read_objects(
    run: Run,
    *,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    is_finished: bool,
    outcome: str | None = None,
    limit: int = 50,
    cursor: str = BEGINNING,
) -> ObjectPage:
    """Return a page of the newest plan of a run; an empty one if there is none.

    A run that consumed a queue has none: its receipts are shown as they were written, so an object that two messages
    told of, or that was tried again, is there twice.

    Args:
        is_finished: The run is over: an object without a receipt has failed, and is not pending.
        outcome: Only objects that ended so.
        limit: A page may hold fewer, even none, and still not be the last one.
        cursor: `ObjectPage.next_cursor` of the page before.

    Raises:
        TransferError: The records cannot be read.
    """
    group, row = (int(part) for part in cursor.split("."))
    found: list[RunObject] = []
    async with open_state(open_store, state, state_conn_id, run) as records:
        groups = await _groups(records, is_finished=is_finished)
        for groups_read, number in enumerate(range(group, len(groups))):
            if groups_read == _MAX_GROUPS_READ:
                return ObjectPage(objects=tuple(found), next_cursor=f"{number}.0")
            objects = await groups[number].read()
            for place in range(row if number == group else 0, len(objects)):
                if len(found) == limit:
                    return ObjectPage(objects=tuple(found), next_cursor=f"{number}.{place}")
                if outcome in {None, objects[place].outcome}:
                    found.append(objects[place])
    return ObjectPage(objects=tuple(found), next_cursor=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Records that are read together: one batch, or one record of receipts or notes."""

    records: StateFolder
    folder: str
    is_finished: bool
    batch: Mapping[str, Any] | None = None
    record: str = ""

    async def read(self) -> list[RunObject]:
        if self.batch is not None:
            return await self._read_batch(self.batch)
        rows = await self.records.read(self.record)
        return [_from_note(row) if "action" in row else _from_receipt(Receipt.from_json(row)) for row in rows]

    async def _read_batch(self, batch: Mapping[str, Any]) -> list[RunObject]:
        receipts = await last_receipts(self.records, f"{self.folder}receipts/{batch['number']:05d}/")
        return [self._merged(planned, receipts) async for planned in self._planned(batch)]

    async def _planned(self, batch: Mapping[str, Any]) -> AsyncIterator[PlannedObject]:
        for record in range(batch["first_record"], batch["last_record"] + 1):
            for row in await self.records.read(f"{self.folder}manifest/{record:05d}.ndjson"):
                yield PlannedObject.from_json(row)

    def _merged(self, planned: PlannedObject, receipts: Mapping[str, Receipt]) -> RunObject:
        receipt = receipts.get(planned.source.key)
        if receipt is not None:
            return _from_receipt(receipt, evidence=planned.evidence)
        return RunObject(
            key=planned.source.key,
            destination_key=planned.destination_key,
            outcome="failed" if self.is_finished else PENDING,
            reason=_LOST if self.is_finished else _NOT_BEGUN,
            size_bytes=planned.source.size_bytes,
        )


async def _groups(records: StateFolder, *, is_finished: bool) -> list[_Group]:
    """Return the groups of the newest plan, in the order in which they are shown; none is read yet."""
    _, number = await records.plan_numbers()
    if not number:
        names = await records.names(RECEIPTS_FOLDER)
        return [_Group(records=records, folder="", is_finished=is_finished, record=name) for name in names]
    folder = plan_folder(number)
    plan = (await records.read(f"{folder}plan.json"))[0]
    batches = [
        _Group(records=records, folder=folder, is_finished=is_finished, batch=batch)
        for batch in ([] if plan["dry_run"] else plan["batches"])
    ]
    names = [*await records.names(f"{folder}receipts/carried/"), *await records.names(f"{folder}skipped/")]
    notes = [_Group(records=records, folder=folder, is_finished=is_finished, record=name) for name in names]
    return batches + notes


def _from_receipt(receipt: Receipt, *, evidence: str = "") -> RunObject:
    return RunObject(
        key=receipt.key,
        destination_key=receipt.destination_key,
        outcome=receipt.outcome.value,
        reason=receipt.not_deleted_because or receipt.kept_because or receipt.reason,
        size_bytes=receipt.size_bytes,
        refusal=(receipt.refusal or OTHER) if receipt.outcome is Outcome.REFUSED else "",
        verified_by=receipt.verified_by,
        source_verified_by=receipt.source_verified_by,
        evidence=evidence,
        checksums=receipt.checksums,
        lost=receipt.lost,
        deleted_at_source=receipt.deleted_at_source,
        attempt=receipt.attempt,
        finished_at=receipt.finished_at,
        seconds=receipt.seconds,
    )


def _from_note(row: Mapping[str, Any]) -> RunObject:
    return RunObject(
        key=row["key"],
        outcome=_OUTCOME_OF_ACTION.get(row["action"], row["action"]),
        reason=row["reason"],
        size_bytes=row["size_bytes"],
        refusal=(row.get("refusal") or OTHER) if row["action"] == Action.REFUSE.value else "",
        evidence=row["evidence"],
    )
