"""Consuming a queue of S3 events: what they tell of is copied, and a message is deleted only when that is on record.

    receive -> read -> look at source and destination -> copy and verify -> receipts on record -> delete

An event only says where to look; what is copied is what the source shows then. A message that is handed out twice, late
or to two consumers therefore changes nothing. Whoever dies at any point leaves its messages in the queue.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from skyferry.attempts import Attempts
from skyferry.batch_copy import MEMORY_BUDGET_BYTES, BatchCopier, CopyOptions, receipt_of
from skyferry.byte_budget import ByteBudget
from skyferry.detect.consumption import ConsumeOptions, Consumption, ConsumptionTotals, EndedBecause
from skyferry.detect.held_messages import HeldMessages, in_groups
from skyferry.detect.message_work import (
    Fate,
    MessageWork,
    ObjectTrouble,
    RouteScope,
    decide_fate,
    read_message,
)
from skyferry.detect.object_records import ObjectRecord
from skyferry.detect.settled_events import SettledEvents
from skyferry.detect.sqs_queue import MAX_BATCH, QueueMessage, QueueState, SqsQueue, can_hold
from skyferry.errors import PermanentError, TransferError
from skyferry.plan import Planner
from skyferry.records import Action, Outcome, PlannedObject, Receipt
from skyferry.request import TransferRequest
from skyferry.state import StateFolder
from skyferry.stores.base import Store

QUARANTINE_FOLDER = "queue/quarantine/"
"""Where messages go that nothing can be done with, when the queue has no dead-letter queue."""

_BODIES_BYTES = 2 * 2**20
"""Bodies that are taken apart at the same time; the worst ones take 80 times their size (see `parse_message`)."""

_LARGE_BODY_BYTES = 64 * 1024
_DELETE_ROUNDS = 3
_MAX_BACK_OFF_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What became of the keys of some messages before the copy: decided, settled, or in trouble."""

    planned: tuple[PlannedObject, ...]
    settled: tuple[Receipt, ...]
    shown: Mapping[str, str]
    """Key to the etag the source shows; without those it shows nothing of."""
    troubles: Mapping[str, ObjectTrouble]


class QueueConsumer:
    """One consumer of a queue between two open stores; any number may work on one queue, on any machines.

    Memory is bounded by `MEMORY_BUDGET_BYTES` of content, `max_objects_in_flight` messages, and what is remembered of
    the last 10,000 keys; never by the length of the queue.

    Args:
        request: The route's; its source must be S3.
        records: Folder and first part of the receipts' names, e.g. `queue/receipts/00003/try-01`.
        attempt: The task's attempt, from 1.
    """

    def __init__(
        self,
        queue: SqsQueue,
        *,
        request: TransferRequest,
        options: ConsumeOptions,
        source: Store,
        destination: Store,
        state: StateFolder,
        records: str,
        attempt: int,
    ) -> None:
        self._queue = queue
        self._request = request
        self._options = options
        self._source = source
        self._destination = destination
        self._state = state
        self._records = records
        self._attempt = attempt
        self._scope = RouteScope(source=request.source_location, selection=request.selection)
        self._planner = Planner(request, source, destination)
        self._content = ByteBudget(MEMORY_BUDGET_BYTES)
        self._bodies = ByteBudget(_BODIES_BYTES)
        self._looks = asyncio.Semaphore(request.max_objects_in_flight)
        self._keys = _KeyClaims()
        self._settled = SettledEvents()
        self._held = HeldMessages(queue, visibility_seconds=options.visibility_seconds)
        self._totals = ConsumptionTotals()
        self._dead_letters: SqsQueue | None = None
        self._max_receives = options.max_receives
        self._groups: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()

    async def consume(self) -> Consumption:
        """Work until the queue is empty or a budget is spent; then finish what was received.

        Stopped (cancelled), it gives back what it holds; receipts of what was copied are on record.

        Raises:
            TransferError: The queue or the state folder cannot be used. What happens to single objects and messages
                is in the result.
        """
        state = await Attempts().call(self._queue.state)
        self._dead_letters = await Attempts().call(lambda: self._queue.dead_letter_queue(state))
        self._max_receives = _max_receives(self._options, state)
        self._started = time.monotonic()
        renewing = asyncio.create_task(self._held.renew_for_ever())
        try:
            return self._totals.result(await self._receive_and_work(renewing))
        finally:
            renewing.cancel()
            for group in self._groups:
                group.cancel()
            await asyncio.gather(renewing, *self._groups, return_exceptions=True)
            await asyncio.shield(self._held.give_all_back())

    async def _receive_and_work(self, renewing: asyncio.Task[None]) -> EndedBecause:
        receiving: asyncio.Task[list[QueueMessage]] | None = None
        try:
            while True:
                spent = self._spent_budget()
                if receiving is None and spent is None and len(self._held) < self._request.max_objects_in_flight:
                    receiving = asyncio.create_task(self._receive())
                waiting = {*self._groups, *({receiving} if receiving else ())}
                if not waiting:
                    return spent or "empty"
                done, _ = await asyncio.wait({*waiting, renewing}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & {*self._groups, renewing}:
                    self._groups.discard(task)
                    task.result()
                if receiving is not None and receiving.done():
                    messages, receiving = receiving.result(), None
                    if not messages and not self._groups:
                        return "empty"
                    self._start(messages)
        finally:
            if receiving is not None:
                receiving.cancel()

    def _spent_budget(self) -> EndedBecause | None:
        if self._totals.messages["received"] >= self._options.max_messages:
            return "messages"
        if self._totals.bytes_copied >= self._options.max_bytes:
            return "bytes"
        return "seconds" if time.monotonic() - self._started >= self._options.max_seconds else None

    async def _receive(self) -> list[QueueMessage]:
        room = self._request.max_objects_in_flight - len(self._held)
        left = self._options.max_messages - self._totals.messages["received"]
        messages = await Attempts().call(
            lambda: self._queue.receive(
                max_messages=min(MAX_BATCH, room, left),
                wait_seconds=self._options.wait_seconds,
                visibility_seconds=self._options.visibility_seconds,
            )
        )
        self._held.add(messages)
        self._totals.messages["received"] += len(messages)
        return messages

    def _start(self, messages: Sequence[QueueMessage]) -> None:
        if messages:
            self._groups.add(asyncio.create_task(self._work(messages)))

    async def _work(self, messages: Sequence[QueueMessage]) -> None:
        """Bring the messages of one answer to their ends, together: one record of receipts, one request to delete."""
        async with self._bodies.hold(sum(len(message.body) for message in messages)):
            works = [await self._read(message) for message in messages]
            async with self._keys.claim({key for work in works for key in work.keys}):
                unknown = [record for work in works for record in work.records if not self._settled.covers(record)]
                looked = await self._look({record.key for record in unknown})
                troubles = await self._copy(looked)
                self._note(works, unknown, looked.shown, troubles)
            await self._end(works, troubles)

    async def _read(self, message: QueueMessage) -> MessageWork:
        if len(message.body) > _LARGE_BODY_BYTES:
            return await asyncio.to_thread(read_message, message, self._scope, keys=self._options.keys)
        return read_message(message, self._scope, keys=self._options.keys)

    async def _look(self, keys: AbstractSet[str]) -> _Looked:
        decisions = await asyncio.gather(*(self._decide(key) for key in sorted(keys)))
        planned = [one for one in decisions if isinstance(one, PlannedObject)]
        to_do = [one for one in planned if one.action in (Action.COPY, Action.DELETE_SOURCE)]
        settled = [_settled_receipt(one) for one in planned if one not in to_do]
        return _Looked(
            planned=tuple(to_do),
            settled=(*settled, *(one for one in decisions if isinstance(one, Receipt))),
            shown={one.source.key: one.source.etag for one in planned},
            troubles={
                one.source.key: ObjectTrouble(error=PermanentError(one.reason), is_final=True)
                for one in planned
                if one.action is Action.REFUSE
            }
            | {key: ObjectTrouble(error=error, is_final=False) for key, error in _errors(decisions)},
        )

    async def _decide(self, key: str) -> PlannedObject | Receipt | tuple[str, TransferError]:
        async with self._looks:
            try:
                return await self._planner.decide_now(key) or _gone(key)
            except TransferError as error:
                return key, error

    async def _copy(self, looked: _Looked) -> dict[str, ObjectTrouble]:
        """Copy what is to be copied; when this returns, every receipt is on record."""
        failed = {key: trouble for key, trouble in looked.troubles.items() if not trouble.is_final}
        receipts = [replace(_gone(key), outcome=Outcome.FAILED, reason=str(one.error)) for key, one in failed.items()]
        copier = BatchCopier(
            self._source,
            self._destination,
            options=CopyOptions(
                keep_source=self._request.keep_source,
                on_conflict=self._request.on_conflict,
                reads_back=self._request.verify == "readback",
                max_objects_in_flight=self._request.max_objects_in_flight,
            ),
            state=self._state,
            records=self._records,
            attempt=self._attempt,
            budget=self._content,
        )
        result = await copier.copy_all(looked.planned, done={}, settled=(*looked.settled, *receipts))
        self._totals.counts.update(result.counts)
        self._totals.bytes_copied += result.bytes_copied
        new = {receipt.key: ObjectTrouble(error=error, is_final=False) for receipt, error in result.failures}
        troubles = {**looked.troubles, **new}
        for trouble in troubles.values():
            self._totals.add_failure(trouble.error)
        return troubles

    def _note(
        self,
        works: Sequence[MessageWork],
        unknown: Sequence[ObjectRecord],
        shown: Mapping[str, str],
        troubles: Mapping[str, ObjectTrouble],
    ) -> None:
        """Count the records and remember those that were dealt with."""
        for work in works:
            self._totals.records.update(work.counts)
        self._totals.records["repeated"] += sum(len(work.records) for work in works) - len(unknown)
        for record in unknown:
            if record.key in troubles:
                continue
            if record.key not in shown or record.etag not in (None, shown[record.key]):
                self._totals.records["superseded"] += 1
            self._settled.add(record)

    async def _end(self, works: Sequence[MessageWork], troubles: Mapping[str, ObjectTrouble]) -> None:
        """Let every message go the way its work says."""
        done: list[QueueMessage] = []
        for work in works:
            fate, reason = decide_fate(
                work, troubles, unmatched=self._options.unmatched, max_receives=self._max_receives
            )
            if fate is Fate.DELETE or (fate is Fate.DEAD_LETTER and await self._set_aside(work.message, reason)):
                done.append(work.message)
            else:
                await self._return(work.message, "left" if fate is Fate.LEAVE else "returned")
        await self._delete(done)

    async def _set_aside(self, message: QueueMessage, reason: str) -> bool:
        """Return whether the message's copy is safe elsewhere; only then may the message be deleted."""
        dead_letters = self._dead_letters
        try:
            if dead_letters is not None and can_hold(message, reason):
                await Attempts().call(lambda: dead_letters.send_copy(message, reason))
                place = dead_letters.url
                self._totals.messages["dead_lettered"] += 1
            else:
                place = await self._quarantine(message, reason)
                self._totals.messages["quarantined"] += 1
        except TransferError as error:
            self._totals.add_failure(error)
            return False
        self._totals.add_problem(f"message {message.message_id} was moved to {place}: {reason}")
        return True

    async def _quarantine(self, message: QueueMessage, reason: str) -> str:
        name = f"{QUARANTINE_FOLDER}{secrets.token_hex(8)}.ndjson"
        row = {
            "message_id": message.message_id,
            "queue": self._queue.url,
            "reason": reason,
            "received_count": message.received_count,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "body": message.body,
        }
        await self._state.write(name, [row])
        return self._state.url(name)

    async def _return(self, message: QueueMessage, count: str) -> None:
        """Hide the message for a while that doubles with every reception, so that it is not tried in a circle."""
        self._held.let_go([message])
        self._totals.messages[count] += 1
        seconds = min(self._options.back_off_seconds * 2 ** min(message.received_count - 1, 10), _MAX_BACK_OFF_SECONDS)
        await Attempts().call(lambda: self._queue.set_visibility([message], seconds))

    async def _delete(self, messages: Sequence[QueueMessage]) -> None:
        for group in in_groups(messages):
            left = list(group)
            for _ in range(_DELETE_ROUNDS):
                if left:
                    self._held.let_go(left)
                    left = await self._deleted(left)
            self._totals.messages["deleted"] += len(group) - len(left)
            if left:
                self._totals.messages["delete_failed"] += len(left)

    async def _deleted(self, messages: Sequence[QueueMessage]) -> list[QueueMessage]:
        return await Attempts().call(lambda: self._queue.delete(messages))


class _KeyClaims:
    """Lets one group of messages at a time work on a key; a group gets all its keys at once, so none waits in a ring.

    Without it nothing would be wrong, but two events about one object would copy it twice.
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


def _max_receives(options: ConsumeOptions, state: QueueState) -> int:
    """Return the reception from which on a message is set aside: SQS would move it after that one, without a reason."""
    return min(options.max_receives, state.max_receives or options.max_receives)


def _settled_receipt(decision: PlannedObject) -> Receipt:
    outcome = Outcome.REFUSED if decision.action is Action.REFUSE else Outcome.SKIPPED
    return receipt_of(decision, outcome, decision.reason, verified_by=decision.evidence)


def _gone(key: str) -> Receipt:
    return Receipt(
        key=key, destination_key="", outcome=Outcome.SKIPPED, reason="superseded", size_bytes=0, source_etag=""
    )


def _errors(decisions: Iterable[object]) -> list[tuple[str, TransferError]]:
    return [one for one in decisions if isinstance(one, tuple)]
