"""Consuming a queue of S3 events: what they tell of is copied, and a message is deleted only when that is on record.

    receive -> read -> each route it concerns: look, then copy or delete, receipts on record -> delete the message

A message that is handed out twice, late or to two consumers changes nothing; see `skyferry.detect.route_worker`.
Whoever dies at any point leaves its messages in the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.detect.consumption import ConsumeOptions, Consumption, ConsumptionTotals, EndedBecause
from skyferry.detect.held_messages import HeldMessages, in_groups
from skyferry.detect.message_work import Fate, MessageWork, ObjectTrouble, decide_fate, hidden_seconds, read_message
from skyferry.detect.route_worker import RouteWorker
from skyferry.detect.sqs_queue import MAX_BATCH, QueueMessage, QueueState, SqsQueue, can_hold
from skyferry.errors import TransferError
from skyferry.state import StateFolder

QUARANTINE_FOLDER = "queue/quarantine/"
"""Where messages go that nothing can be done with, when the queue has no dead-letter queue."""

_BODIES_BYTES = 2 * 2**20
"""Bodies that are taken apart at the same time; the worst ones take 80 times their size (see `parse_message`)."""

_LARGE_BODY_BYTES = 64 * 1024
_DELETE_ROUNDS = 3
_END_SECONDS = 5.0
_MAX_BACK_OFF_SECONDS = 900


class QueueConsumer:
    """One consumer of a queue; any number may work on one queue, on any machines.

    It owns the messages; what they ask for is done by a worker for each route. Memory is bounded by the workers'
    content budget, `max_messages_in_flight`, and what each worker remembers of the last 10,000 keys; never by the
    length of the queue.

    Args:
        workers: One for each route; a message is deleted only when all it concerns are done.
        state: The run's records.
        max_messages_in_flight: How many messages are held at the same time, at most.
    """

    def __init__(
        self,
        queue: SqsQueue,
        *,
        workers: Sequence[RouteWorker],
        options: ConsumeOptions,
        state: StateFolder,
        max_messages_in_flight: int,
    ) -> None:
        self._queue = queue
        self._workers = sorted(workers, key=lambda worker: worker.route.moves)
        self._routes = [worker.route for worker in self._workers]
        self._options = options
        self._state = state
        self._max_held = max_messages_in_flight
        self._bodies = ByteBudget(_BODIES_BYTES)
        self._held = HeldMessages(queue, visibility_seconds=options.visibility_seconds)
        self._totals = ConsumptionTotals()
        self._dead_letters: SqsQueue | None = None
        self._max_receives = options.max_receives
        self._groups: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()

    async def consume(self) -> Consumption:
        """Work until the queue is empty or a budget is spent; then finish what was received.

        Stopped (cancelled), it gives back what it holds, after at most `wait_seconds` and ten more; receipts of what
        was copied are on record.

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
                if receiving is None and spent is None and len(self._held) < self._max_held:
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
                await self._end_receiving(receiving)

    async def _end_receiving(self, receiving: asyncio.Task[list[QueueMessage]]) -> None:
        """Let a request to receive come to its end: what the queue handed to nobody would stay hidden for long."""
        with contextlib.suppress(TransferError, TimeoutError):
            async with asyncio.timeout(self._options.wait_seconds + _END_SECONDS):
                await receiving

    def _spent_budget(self) -> EndedBecause | None:
        if self._totals.messages["received"] >= self._options.max_messages:
            return "messages"
        if self._totals.bytes_copied >= self._options.max_bytes:
            return "bytes"
        return "seconds" if time.monotonic() - self._started >= self._options.max_seconds else None

    async def _receive(self) -> list[QueueMessage]:
        room = self._max_held - len(self._held)
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
            for work in works:
                self._totals.records.update(work.counts)
            await self._end(works, await self._act(works))

    async def _read(self, message: QueueMessage) -> MessageWork:
        if len(message.body) > _LARGE_BODY_BYTES:
            return await asyncio.to_thread(read_message, message, self._routes, keys=self._options.keys)
        return read_message(message, self._routes, keys=self._options.keys)

    async def _act(self, works: Sequence[MessageWork]) -> dict[tuple[str, str], ObjectTrouble]:
        """Let each route do its part; returns by route and key what could not be done.

        Routes that move come last, and only for objects the others are done with: what has left the source cannot be
        copied from there.
        """
        troubles: dict[tuple[str, str], ObjectTrouble] = {}
        unfinished: set[tuple[str, str]] = set()
        for worker in self._workers:
            route = worker.route
            mine = [one for work in works for one in work.records if one.route == route.id]
            if route.moves:
                mine = [one for one in mine if (one.record.bucket, one.record.key) not in unfinished]
            if mine:
                acted = await worker.act(mine)
                self._totals.add(route, acted)
                troubles |= {(route.id, key): trouble for key, trouble in acted.troubles.items()}
                unfinished |= {(route.request.source_location.bucket, key) for key in acted.troubles}
        return troubles

    async def _end(self, works: Sequence[MessageWork], troubles: Mapping[tuple[str, str], ObjectTrouble]) -> None:
        """Let every message go the way its work says."""
        done: list[QueueMessage] = []
        for work in works:
            fate, reason = decide_fate(
                work, troubles, unmatched=self._options.unmatched, max_receives=self._max_receives
            )
            if fate is Fate.DELETE or (fate is Fate.DEAD_LETTER and await self._set_aside(work.message, reason)):
                done.append(work.message)
            elif fate is Fate.LEAVE:
                await self._return(work.message, "left")
            else:
                await self._return(work.message, "returned", least_seconds=hidden_seconds(work, troubles))
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

    async def _return(self, message: QueueMessage, count: str, *, least_seconds: int = 0) -> None:
        """Hide the message for a while that doubles with every reception, so that it is not tried in a circle."""
        self._totals.messages[count] += 1
        seconds = min(self._options.back_off_seconds * 2 ** min(message.received_count - 1, 10), _MAX_BACK_OFF_SECONDS)
        await self._held.give_back(message, hidden_seconds=max(seconds, least_seconds))

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


def _max_receives(options: ConsumeOptions, state: QueueState) -> int:
    """Return the reception from which on a message is set aside: SQS would move it after that one, without a reason."""
    return min(options.max_receives, state.max_receives or options.max_receives)
