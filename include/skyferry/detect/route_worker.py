"""What the consumers of a queue do for one route: look at the objects its messages tell of, then copy or delete them.

An event only says where to look. What counts is what source and destination show then; so doubled, late and reordered
events change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from skyferry.batch_copy import MAX_LOOKS, BatchCopier, CopyOptions, as_transfer_error, receipt_of
from skyferry.batch_tally import BatchResult
from skyferry.byte_budget import ByteBudget
from skyferry.detect.deletion_brake import DeletionBrake
from skyferry.detect.message_work import ObjectTrouble, RouteRecord
from skyferry.detect.mirrored_deletes import MirroredDeletes
from skyferry.detect.object_records import ObjectRecord
from skyferry.detect.queue_route import QueueRoute
from skyferry.detect.settled_events import SettledEvents
from skyferry.errors import DeletionBrakeError, PermanentError, RetryableError, TransferError
from skyferry.plan import Planner
from skyferry.records import Action, Outcome, PlannedObject, Receipt
from skyferry.refusals import SEVERAL_MOVES
from skyferry.state import StateFolder
from skyferry.stores.base import Store
from skyferry.upload_records import UploadRecords

SUPERSEDED = "superseded"
"""Why there was nothing to copy: the source no longer shows the object an event told of."""

BRAKED_SECONDS = 900
"""How long the message of a deletion that was held back stays hidden: the time somebody has to look."""

MAX_HIDDEN_SECONDS = 11 * 3600
"""Below the twelve hours SQS hides a message at most, counted from when it was received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What became of some records.

    Attributes:
        counts: Objects by outcome.
        repeated: Records that were known already.
        superseded: Records that the source has overtaken.
        troubles: Key to what could not be done.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    bytes_copied: int = 0
    repeated: int = 0
    superseded: int = 0
    troubles: Mapping[str, ObjectTrouble] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What became of the keys of some records before the copy: decided, settled, or in trouble."""

    planned: tuple[PlannedObject, ...]
    settled: tuple[Receipt, ...]
    shown: Mapping[str, str]
    """Key to the etag the source shows; without those it shows nothing of."""
    troubles: Mapping[str, ObjectTrouble]


class RouteWorker:
    """Works for one route between its two open stores, on any number of groups of records at a time.

    Args:
        records: Folder and first part of the receipts' names, e.g. `queue/receipts/orders/00003/try-01`.
        attempt: The task's attempt, from 1.
        content: Bounds the content in memory; shared by the workers of a consumer.
        brake: Bounds the deletions of the run.
        uploads: Where large objects on their way are remembered.
    """

    def __init__(
        self,
        route: QueueRoute,
        *,
        source: Store,
        destination: Store,
        state: StateFolder,
        records: str,
        attempt: int,
        content: ByteBudget,
        brake: DeletionBrake,
        uploads: UploadRecords,
    ) -> None:
        self.route = route
        self._source = source
        self._destination = destination
        self._state = state
        self._records = records
        self._attempt = attempt
        self._content = content
        self._uploads = uploads
        self._planner = Planner(route.request, source, destination)
        self._deletes = MirroredDeletes(route.request, source, destination, brake=brake)
        self._looks = asyncio.Semaphore(route.request.max_objects_in_flight)
        self._keys = _KeyClaims()
        self._settled = SettledEvents()

    async def act(self, records: Sequence[RouteRecord]) -> Acted:
        """Do what the records ask for; when this returns, the receipts of what was done are on record.

        Raises:
            TransferError: The state folder cannot be used. What happens to single objects is in the result.
        """
        refusals = {one.record.key: one.refused_because for one in records if one.refused_because}
        mine = [one.record for one in records]
        async with self._keys.claim({record.key for record in mine}):
            unknown = [record for record in mine if not self._settled.covers(record)]
            looked = await self._look(unknown, refusals)
            result, troubles = await self._copy(looked)
            superseded = self._settle(unknown, looked.shown, troubles)
        return Acted(
            counts=result.counts,
            bytes_copied=result.bytes_copied,
            repeated=len(mine) - len(unknown),
            superseded=superseded,
            troubles=troubles,
        )

    async def _look(self, records: Sequence[ObjectRecord], refusals: Mapping[str, str]) -> _Looked:
        keys = sorted({record.key for record in records} - refusals.keys())
        removed = {record.key for record in records if record.kind == "removed"}
        decisions = await asyncio.gather(*(self._decide(key, is_removed=key in removed) for key in keys))
        planned = [one for one in decisions if isinstance(one, PlannedObject)]
        to_do = [one for one in planned if one.action in (Action.COPY, Action.DELETE_SOURCE)]
        settled = [_settled_receipt(one) for one in planned if one not in to_do]
        settled += [
            replace(_gone(key), outcome=Outcome.REFUSED, reason=why, refusal=SEVERAL_MOVES)
            for key, why in refusals.items()
        ]
        reasons = {one.source.key: one.reason for one in planned if one.action is Action.REFUSE} | dict(refusals)
        return _Looked(
            planned=tuple(to_do),
            settled=(*settled, *(one for one in decisions if isinstance(one, Receipt))),
            shown={one.source.key: one.source.etag for one in planned},
            troubles={
                **{key: ObjectTrouble(error=PermanentError(why), is_final=True) for key, why in reasons.items()},
                **{key: _trouble(error) for key, error in _errors(decisions)},
            },
        )

    async def _decide(self, key: str, *, is_removed: bool) -> PlannedObject | Receipt | tuple[str, TransferError]:
        """Return what is to be done about a key, or what was done: deletions are made here."""
        async with self._looks:
            try:
                for _ in range(MAX_LOOKS):
                    decision = await self._planner.decide_now(key) or (None if is_removed else _gone(key))
                    decision = decision or await self._deletes.delete(key)
                    if decision is not None:
                        return decision
            except Exception as error:  # noqa: BLE001 - not even a fault of our own may cost the other messages
                return key, as_transfer_error(error, f"looking at {self._source.url(key)}")
        return key, RetryableError(f"{self._source.url(key)} came and went while it was looked at")

    async def _copy(self, looked: _Looked) -> tuple[BatchResult, dict[str, ObjectTrouble]]:
        """Copy what is to be copied; when this returns, every receipt is on record."""
        # A deletion that was held back is no outcome: its message stays, and the consumer says how many there were.
        failed = {
            key: trouble.error
            for key, trouble in looked.troubles.items()
            if not trouble.is_final and not isinstance(trouble.error, DeletionBrakeError)
        }
        receipts = [replace(_gone(key), outcome=Outcome.FAILED, reason=str(error)) for key, error in failed.items()]
        copier = BatchCopier(
            self._source,
            self._destination,
            options=CopyOptions(
                keep_source=self.route.request.keep_source,
                on_conflict=self.route.request.on_conflict,
                reads_back=self.route.request.verify == "readback",
                max_objects_in_flight=self.route.request.max_objects_in_flight,
            ),
            state=self._state,
            records=self._records,
            attempt=self._attempt,
            budget=self._content,
            uploads=self._uploads,
        )
        result = await copier.copy_all(looked.planned, done={}, settled=(*looked.settled, *receipts))
        new = {receipt.key: ObjectTrouble(error=error, is_final=False) for receipt, error in result.failures}
        return result, {**looked.troubles, **new}

    def _settle(
        self, records: Sequence[ObjectRecord], shown: Mapping[str, str], troubles: Mapping[str, ObjectTrouble]
    ) -> int:
        """Remember the records that were dealt with; return how many of them the source has overtaken."""
        dealt_with = [record for record in records if record.key not in troubles]
        for record in dealt_with:
            self._settled.add(record)
        return sum(_is_overtaken(record, shown) for record in dealt_with)


class _KeyClaims:
    """Lets one group of records at a time work on a key; a group gets all its keys at once, so none waits in a ring.

    Two events about one object would otherwise copy it twice, or copy and delete it at the same time.
    """

    def __init__(self) -> None:
        self._claimed: set[str] = set()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def claim(self, keys: AbstractSet[str]) -> AsyncIterator[None]:
        """Hold the keys while the block runs."""
        while not self._claimed.isdisjoint(keys):
            await self._released.wait()
        self._claimed |= keys
        try:
            yield
        finally:
            self._claimed -= keys
            # Everybody who waits now looks again; who comes later waits for the next release.
            self._released.set()
            self._released = asyncio.Event()


def _is_overtaken(record: ObjectRecord, shown: Mapping[str, str]) -> bool:
    if record.kind == "removed":
        return record.key in shown
    return record.key not in shown or record.etag not in (None, shown[record.key])


def _settled_receipt(decision: PlannedObject) -> Receipt:
    outcome = Outcome.REFUSED if decision.action is Action.REFUSE else Outcome.SKIPPED
    return receipt_of(decision, outcome, decision.reason, verified_by=decision.evidence)


def _gone(key: str) -> Receipt:
    return Receipt(
        key=key, destination_key="", outcome=Outcome.SKIPPED, reason=SUPERSEDED, size_bytes=0, source_etag=""
    )


def _trouble(error: TransferError) -> ObjectTrouble:
    is_braked = isinstance(error, DeletionBrakeError)
    return ObjectTrouble(error=error, is_final=False, hidden_seconds=BRAKED_SECONDS if is_braked else 0)


def _errors(decisions: Iterable[object]) -> list[tuple[str, TransferError]]:
    return [one for one in decisions if isinstance(one, tuple)]
