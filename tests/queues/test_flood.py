"""Hundreds of messages: all are worked off, and memory does not grow with their number."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.queues.yard import Yard, event

MESSAGES = 600
OBJECTS = 100


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
