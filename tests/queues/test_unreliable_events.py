"""Events that are shuffled, doubled and lost on their way: what was lost is exactly what a listing finds."""

from __future__ import annotations

import random

from skyferry.queue_stages import QueueRoute
from skyferry.records import Action
from skyferry.stages import plan_transfer
from skyferry.urls import parse_location
from tests.queues.yard import RUN, Yard


async def relay(yard: Yard, *, seed: int) -> None:
    """Take what the bucket sent out of the queue; put it back shuffled, some of it twice, a third of it not at all."""
    bodies = [message["Body"] for message in await yard.drain()]
    chance = random.Random(seed)
    kept = [body for body in bodies if "TestEvent" not in body]
    chance.shuffle(kept)
    kept = kept[len(kept) // 3 :]
    await yard.send(*kept, *chance.sample(kept, len(kept) // 2))


async def keys_to_copy(yard: Yard, route: QueueRoute) -> list[str]:
    """Return what a listing transfer of the route would copy."""
    plan = await plan_transfer(
        route.request,
        run=RUN,
        open_store=yard.open_store,
        state=parse_location(f"file://{yard.state}"),
        state_conn_id="",
    )
    return [one.source.key for one in plan.preview if one.action is Action.COPY]


async def test_what_events_missed_is_exactly_what_a_listing_copies(yard: Yard) -> None:
    await yard.build()
    bodies = {f"{number:02d}": f"content {number}".encode() for number in range(30)}
    await yard.put_many(bodies)
    await relay(yard, seed=5)

    (await yard.consume()).raise_if_failed()

    arrived = yard.arrived()
    assert len(arrived) == 20
    assert arrived.items() <= bodies.items()
    assert await keys_to_copy(yard, yard.route()) == sorted(bodies.keys() - arrived.keys())
    report = await yard.report()
    assert (report.state, report.objects_copied, report.objects_planned) == ("success", 20, 20), "each object once"


async def test_a_consumer_that_left_no_record_makes_the_run_fail(yard: Yard) -> None:
    await yard.build()
    await yard.put("k", b"content")
    await yard.consume(slot=0)
    assert (await yard.report(consumers=1)).state == "success"
    report = await yard.report(consumers=2)
    assert (report.state, report.objects_copied) == ("failed", 1)
    assert report.problems[0].startswith("consumer 1 did not come to its end")


async def test_a_missing_queue_is_created_only_when_that_is_asked_for(yard: Yard) -> None:
    await yard.build(notifies=False)
    yard.queue_url += "-new"
    result = await yard.consume(create_queue=True)
    assert (result.ended_because, await yard.left()) == ("empty", 0)
    result = await yard.consume(create_queue=True, attempt=2)
    assert result.ended_because == "empty", "one that is there is used as it is"
