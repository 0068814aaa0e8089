"""kill -9 at every kind of step of a consumer with two routes: no message is lost, and the retry completes both."""

from __future__ import annotations

import pytest

from skyferry.object_transfer import SMALL_OBJECT_BYTES
from tests.killing import NEVER, killed_at
from tests.queues.yard import Yard, two_folders

LARGE = bytes(range(251)) * (3 * SMALL_OBJECT_BYTES // 251)

STEPS = [
    ("after receive", 1),  # messages received, nothing done
    ("before put", 1),
    ("before read", 2),  # part of the large object sent
    ("after put", 7),  # committed, no receipt
    ("after put", 24),  # some messages done for both routes, some for one
    ("before delete", 1),  # receipts on record, messages still there
    ("after delete", 1),  # some messages deleted, others not begun
]


def consume_until(yard: Yard, attempt: int, *, step: str, times: int = 1) -> bool:
    """Run a consumer in its own process and kill it at the given step; return whether it was killed."""
    arguments = (yard.endpoint, str(yard.root), yard.name, str(attempt))
    return killed_at("tests.queues.killable", *arguments, step=step, times=times)


@pytest.mark.parametrize(("step", "times"), STEPS)
async def test_killed_and_tried_again(yard: Yard, step: str, times: int) -> None:
    some = {f"folder/{number:03d}": f"content {number}".encode() for number in range(20)}
    expected = {"test": some | {"large": LARGE}, "other": some}
    routes, folders = two_folders(yard), {"test": yard.destination, "other": yard.root / "other"}
    await yard.build()
    await yard.put_many(expected["test"])

    assert consume_until(yard, 1, step=step, times=times), "it was to be killed before it was done"
    arrived, left = {route: yard.arrived(folder) for route, folder in folders.items()}, await yard.left()
    for route, bodies in arrived.items():
        assert bodies.items() <= expected[route].items(), "half an object was visible"
        assert left + len(bodies) >= len(expected[route]), "an object was neither there nor in the queue"

    for attempt in (2, 3, 4):
        # moto may still hand messages to the dead consumer, whose last request it goes on with; they come back later.
        assert not consume_until(yard, attempt, step=NEVER)
        if not await yard.left():
            break
    assert {route: yard.arrived(folder) for route, folder in folders.items()} == expected
    assert await yard.left() == 0
    assert await yard.drain(yard.dead_letter_url) == []
    report = await yard.report(*routes)
    numbers = {route: one["objects_copied"] + one["objects_skipped"] for route, one in report.by_route.items()}
    assert (report.state, numbers) == ("success", {"test": 21, "other": 20}), "every object counts once"
