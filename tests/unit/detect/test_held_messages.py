"""Renewals that hang or fail, and what they must not do to the other messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from skyferry.detect.held_messages import HeldMessages
from skyferry.detect.sqs_queue import QueueMessage
from skyferry.errors import AccessDeniedError


class DecidedQueue:
    """Answers requests about visibility as a test decides; notes those that were answered."""

    def __init__(self, answer: Callable[[Sequence[QueueMessage], int], Awaitable[None]]) -> None:
        self._answer = answer
        self.answered: list[tuple[str, int]] = []

    async def set_visibility(self, messages: Sequence[QueueMessage], seconds: int) -> list[QueueMessage]:
        await self._answer(messages, seconds)
        self.answered.append((messages[0].message_id, seconds))
        return []


def held(queue: Any, *, count: int, visibility_seconds: int = 1) -> tuple[HeldMessages, list[QueueMessage]]:
    messages = [QueueMessage(message_id=str(number), receipt_handle=str(number), body="") for number in range(count)]
    holding = HeldMessages(queue, visibility_seconds=visibility_seconds)
    holding.add(messages)
    return holding, messages


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_renewal_that_hangs_costs_the_others_nothing() -> None:
    renewed = asyncio.Event()

    async def answer(messages: Sequence[QueueMessage], seconds: int) -> None:
        if messages[0].message_id == "0":
            await asyncio.Event().wait()
        if len(queue.answered) >= 2:
            renewed.set()

    queue = DecidedQueue(answer)
    holding, _ = held(queue, count=15)
    renewing = asyncio.create_task(holding.renew_for_ever())
    async with asyncio.timeout(60):
        await renewed.wait()
    await stop(renewing)
    assert set(queue.answered) == {("10", 1)}


async def test_a_message_is_given_back_after_the_renewal_under_way() -> None:
    renewing_began, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(messages: Sequence[QueueMessage], seconds: int) -> None:
        if seconds == 1:
            renewing_began.set()
            await may_answer.wait()

    queue = DecidedQueue(answer)
    holding, (message,) = held(queue, count=1)
    renewing = asyncio.create_task(holding.renew_for_ever())
    async with asyncio.timeout(60):
        await renewing_began.wait()
        giving_back = asyncio.create_task(holding.give_back(message, hidden_seconds=900))
        for _ in range(20):
            await asyncio.sleep(0)
        assert queue.answered == [], "its time would be overwritten"
        may_answer.set()
        await giving_back
    await stop(renewing)
    assert queue.answered == [("0", 1), ("0", 900)]
    assert len(holding) == 0


async def test_what_cannot_be_given_back_keeps_nothing_else() -> None:
    async def answer(messages: Sequence[QueueMessage], seconds: int) -> None:
        if messages[0].message_id == "0":
            raise AccessDeniedError("access denied holding messages")

    queue = DecidedQueue(answer)
    holding, _ = held(queue, count=25)
    await holding.give_all_back()
    assert (queue.answered, len(holding)) == ([("10", 0), ("20", 0)], 0)
