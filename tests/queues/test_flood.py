"""Hundreds of messages: all are worked off, and memory does not grow with their number."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from skyferry.detect.held_messages import HeldMessages
from skyferry.detect.sqs_queue import QueueMessage
from tests.engine.meddling import MeddledStore
from tests.queues.yard import Yard, event

MESSAGES = 600
OBJECTS = 100
BURST = 300
MAX_HELD = 16


@pytest.mark.slow
async def test_a_flood_is_worked_off_in_bounded_memory(yard: Yard) -> None:
    await yard.build(notifies=False)
    bodies = {f"{number:04d}": f"content {number}".encode() * 50 for number in range(OBJECTS)}
    await yard.put_many(bodies)
    await _send_all(yard, MESSAGES)
    await yard.consume(max_messages=200)  # what is imported and pooled once does not count

    tracemalloc.start()
    try:
        result = await yard.consume(attempt=2)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert yard.arrived() == bodies
    assert result.messages["deleted"] == MESSAGES - 200
    assert result.counts["failed"] == 0
    assert await yard.left() == 0
    # Far above what 64 messages and objects in flight need, far below what holding everything would take.
    assert peak_bytes < 40e6


@pytest.mark.slow
async def test_a_burst_while_a_consumer_is_at_work(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    await yard.build()
    held: list[int] = []
    add = HeldMessages.add

    def add_and_note(self: HeldMessages, messages: Sequence[QueueMessage]) -> None:
        add(self, messages)
        held.append(len(self))

    monkeypatch.setattr(HeldMessages, "add", add_and_note)
    first_put, burst_sent = asyncio.Event(), asyncio.Event()
    puts: Counter[str] = Counter()

    async def put(method: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        puts[key] += 1
        first_put.set()
        if key == "first":
            await burst_sent.wait()
        return await method(key, *args, **kwargs)

    yard.wrap_destination = lambda store: MeddledStore(store, put_object=put)
    bodies = {f"{number:04d}": f"content {number}".encode() for number in range(BURST)}
    await yard.put("first", b"content")

    async def burst() -> None:
        await first_put.wait()
        await yard.put_many(bodies)
        burst_sent.set()

    result, _ = await asyncio.gather(yard.consume(conf={"max_objects_in_flight": MAX_HELD}), burst())

    result.raise_if_failed()
    assert yard.arrived() == bodies | {"first": b"content"}
    assert puts == dict.fromkeys([*bodies, "first"], 1)
    assert result.messages["deleted"] == result.messages["received"]
    assert await yard.left() == 0
    assert 1 < max(held) <= MAX_HELD
    report = await yard.report()
    assert (report.state, report.objects_copied) == ("success", BURST + 1)


async def _send_all(yard: Yard, count: int) -> None:
    """Send one event about each object again and again, each at another time."""
    async with yard.client("sqs") as sqs:
        for start in range(0, count, 10):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": event(
                        yard.name, {"key": f"{number % OBJECTS:04d}", "sequencer": f"00{number:014X}", "size": 1}
                    ),
                }
                for number in range(start, start + 10)
            ]
            await sqs.send_message_batch(QueueUrl=yard.queue_url, Entries=entries)
