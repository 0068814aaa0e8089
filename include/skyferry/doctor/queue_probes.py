"""Tries what a route does with its queue of events, and takes no message away.

Messages are not sent: what is in a queue cannot be taken back by those who may only send. One message at most is
received, with no time of its own, so that it can be received again at once; SQS counts that as one reception. Where a
message is moved away after two, or nobody may ask after how many, none is received while some wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from skyferry.attempts import Attempts
from skyferry.detect.sqs_queue import QueueMessage, QueueMissingError, QueueState, SqsQueue
from skyferry.doctor.findings import Outcome, State
from skyferry.errors import TransferError
from skyferry.provisioning.abilities import Ability

_Result = TypeVar("_Result")

_NO_MESSAGE = QueueMessage(message_id="", receipt_handle="skyferry-doctor-holds-no-message", body="")
_FEW_RECEIVES = 2
_MADE_LATER = Outcome(state=State.NOT_CHECKED, why="it is not there yet; the first run creates it")
NOT_SENT = Outcome(state=State.NOT_CHECKED, why="a message that is sent cannot be taken back")
"""What is known of a right to send."""


async def probe_queue(queue: SqsQueue, *, is_created: bool) -> tuple[Mapping[Ability, Outcome], str]:
    """Return what came of each ability, and the ARN of the queue's dead-letter queue, empty if it has none.

    Args:
        is_created: The first transfer creates the queue if it is missing.
    """
    probes = _QueueProbes(queue, is_created=is_created)
    return await probes.run(), probes.dead_letter_arn


class _QueueProbes:
    def __init__(self, queue: SqsQueue, *, is_created: bool) -> None:
        self._queue = queue
        self._is_created = is_created
        self._attempts = Attempts()
        self._outcomes: dict[Ability, Outcome] = {}
        self.dead_letter_arn = ""

    async def run(self) -> Mapping[Ability, Outcome]:
        state = await self._try(Ability.LOOK, self._queue.state)
        if self._outcomes[Ability.LOOK].state in (State.FAILED, State.NOT_CHECKED):
            unknown = Outcome(state=State.NOT_CHECKED, why="the queue itself is out of reach")
            return self._outcomes | dict.fromkeys((Ability.RECEIVE, Ability.HOLD, Ability.REMOVE), unknown)
        await self._receive(state)
        await self._try(Ability.HOLD, lambda: self._queue.set_visibility([_NO_MESSAGE], 0))
        await self._try(Ability.REMOVE, lambda: self._queue.delete([_NO_MESSAGE]))
        if state is not None and state.dead_letter_arn:
            self.dead_letter_arn = state.dead_letter_arn
            await self._try(Ability.FIND_DEAD_LETTERS, lambda: self._queue.dead_letter_queue(state))
            self._outcomes[Ability.SEND_DEAD_LETTERS] = NOT_SENT
        return self._outcomes

    async def _receive(self, state: QueueState | None) -> None:
        if state is None:
            why = "after how many receptions a message becomes a dead letter is not known"
            self._outcomes[Ability.RECEIVE] = Outcome(state=State.NOT_CHECKED, why=why)
            return
        if state.waiting and 0 < state.max_receives <= _FEW_RECEIVES:
            why = f"messages wait, and each becomes a dead letter after {state.max_receives} receptions"
            self._outcomes[Ability.RECEIVE] = Outcome(state=State.NOT_CHECKED, why=why)
            return
        await self._try(
            Ability.RECEIVE, lambda: self._queue.receive(max_messages=1, wait_seconds=0, visibility_seconds=0)
        )

    async def _try(self, ability: Ability, call: Callable[[], Awaitable[_Result]]) -> _Result | None:
        try:
            result = await self._attempts.call(call)
        except TransferError as error:
            is_made_later = isinstance(error, QueueMissingError) and self._is_created
            self._outcomes[ability] = _MADE_LATER if is_made_later else Outcome.of(error)
        else:
            self._outcomes[ability] = Outcome(state=State.OK)
            return result
        return None
