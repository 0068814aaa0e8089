"""Routes with `mirror_deletes`: what is gone at the source goes at the destination, in whatever order events come."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from skyferry.errors import DeletionBrakeError, RequestError
from tests.engine.meddling import MeddledStore
from tests.queues.yard import Yard, event

REMOVED = "ObjectRemoved:Delete"
CREATED = "ObjectCreated:Put"


def removal(yard: Yard, *keys: str) -> list[str]:
    return [event(yard.name, {"key": key, "name": REMOVED}) for key in keys]


async def test_a_removed_object_is_deleted_and_on_record(yard: Yard) -> None:
    await yard.build()
    route = yard.route(mirror_deletes=True)
    await yard.put_many({"keep": b"k", "gone": b"g"})
    await yard.consume(route)
    await yard.delete("gone")

    result = await yard.consume(route, attempt=2)
    result.raise_if_failed()

    assert yard.arrived() == {"keep": b"k"}
    assert (result.counts["deleted"], await yard.left()) == (1, 0)
    report = await yard.report(route)
    assert (report.state, report.objects_copied, report.objects_deleted_at_destination) == ("success", 2, 1)
    assert report.objects_planned == 3


async def test_without_it_removals_are_ignored(yard: Yard) -> None:
    await yard.build()
    await yard.put("k", b"k")
    await yard.consume()
    await yard.delete("k")
    result = await yard.consume(attempt=2)
    assert yard.arrived() == {"k": b"k"}
    assert (result.records["ignored"], await yard.left()) == (1, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_removals_and_writes_in_any_order_leave_what_the_source_shows(yard: Yard, seed: int) -> None:
    await yard.build(notifies=False)
    route = yard.route(mirror_deletes=True)
    yard.destination.mkdir()
    for key in ("back", "gone"):
        (yard.destination / key).write_bytes(b"an older version")
    await yard.put("back", b"new")  # created, removed, and created again: the source shows it
    messages = [
        event(yard.name, {"key": key, "name": name, "sequencer": f"00{number:014X}"})
        for key, names in {"back": (CREATED, REMOVED, CREATED), "gone": (CREATED, REMOVED)}.items()
        for number, name in enumerate(names)
    ] * 2
    random.Random(seed).shuffle(messages)
    await yard.send(*messages)

    (await yard.consume(route)).raise_if_failed()

    assert yard.arrived() == {"back": b"new"}
    assert await yard.left() == 0


async def test_a_late_removal_of_an_object_that_is_there_copies_it(yard: Yard) -> None:
    await yard.build(notifies=False)
    await yard.put("k", b"there")
    await yard.send(*removal(yard, "k"))
    result = await yard.consume(yard.route(mirror_deletes=True))
    assert yard.arrived() == {"k": b"there"}
    assert result.records["superseded"] == 1


async def test_a_delete_marker_and_an_expiry_count_as_removals(yard: Yard) -> None:
    await yard.build(notifies=False)
    yard.destination.mkdir()
    names = {"a": "ObjectRemoved:DeleteMarkerCreated", "b": "s3:LifecycleExpiration:Delete"}
    for key in names:
        (yard.destination / key).write_bytes(b"x")
    await yard.send(*(event(yard.name, {"key": key, "name": name}) for key, name in names.items()))
    result = await yard.consume(yard.route(mirror_deletes=True))
    assert (yard.arrived(), result.counts["deleted"]) == ({}, 2)


async def test_the_brake_keeps_the_rest_and_says_so_once(yard: Yard) -> None:
    await yard.build(notifies=False)
    route = yard.route(mirror_deletes=True, max_deletes=3)
    yard.destination.mkdir()
    keys = [f"{number}" for number in range(8)]
    for key in keys:
        (yard.destination / key).write_bytes(b"x")
    await yard.put("new", b"new")
    await yard.send(*removal(yard, *keys), event(yard.name, {"key": "new"}))

    # Two consumers share the allowance.
    results = await asyncio.gather(*(yard.consume(route, slot=slot) for slot in (0, 1)))

    arrived = yard.arrived()
    assert arrived.pop("new") == b"new", "copies go on"
    assert len(arrived) == 5
    assert await yard.left() == 5
    braked = next(result for result in results if result.kept)
    with pytest.raises(
        DeletionBrakeError, match=r"more objects are gone from s3://.* than the 3 that one run may delete"
    ):
        braked.raise_if_failed()
    report = await yard.report(route, consumers=2)
    assert (report.state, report.objects_deleted_at_destination) == ("failed", 3)
    assert [problem for problem in report.problems if "5 more objects are gone" in problem] == list(report.problems)

    (await yard.consume(route, attempt=2)).raise_if_failed()
    assert len(yard.arrived()) == 6, "what was kept is hidden for a while"


async def test_what_each_attempt_keeps_counts_once(yard: Yard) -> None:
    await yard.build(notifies=False)
    route = yard.route(mirror_deletes=True, max_deletes=0)
    yard.destination.mkdir()
    for key in ("a", "b"):
        (yard.destination / key).write_bytes(b"x")
    for attempt in (1, 2):
        await yard.send(*removal(yard, "a", "b"))
        assert (await yard.consume(route, attempt=attempt)).kept == {"test": 2}
    report = await yard.report(route)
    assert report.by_route["test"]["objects_kept_by_max_deletes"] == 2
    assert "2 more objects are gone" in report.problems[0]


async def test_a_new_version_at_the_destination_is_never_deleted(yard: Yard) -> None:
    await yard.build(notifies=False)
    yard.destination.mkdir()
    (yard.destination / "k").write_bytes(b"old")
    await yard.send(*removal(yard, "k"))

    async def overtaken(method: Any, info: Any) -> Any:
        await yard.put("k", b"new")
        (yard.destination / "k").unlink()
        (yard.destination / "k").write_bytes(b"new!")
        return await method(info)

    yard.wrap_destination = lambda store: MeddledStore(store, delete_object=overtaken)
    result = await yard.consume(yard.route(mirror_deletes=True))
    assert yard.arrived() == {"k": b"new"}
    assert result.counts["deleted"] == 0


async def test_an_object_that_comes_back_during_its_deletion_is_copied_again(yard: Yard) -> None:
    await yard.build(notifies=False)
    yard.destination.mkdir()
    (yard.destination / "k").write_bytes(b"same")
    await yard.send(*removal(yard, "k"))

    async def back_again(method: Any, info: Any) -> Any:
        await yard.put("k", b"same")  # whoever looked now would find an identical copy, and leave it at that
        return await method(info)

    yard.wrap_destination = lambda store: MeddledStore(store, delete_object=back_again)
    await yard.consume(yard.route(mirror_deletes=True))
    assert yard.arrived() == {"k": b"same"}


async def test_a_route_that_moves_cannot_mirror_deletions(yard: Yard) -> None:
    with pytest.raises(RequestError, match="it would delete what it has moved"):
        yard.route({"copy": False}, mirror_deletes=True)
