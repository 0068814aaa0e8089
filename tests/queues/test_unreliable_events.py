"""Events that are shuffled, doubled, delayed and lost: what did not arrive is exactly what a listing copies."""

from __future__ import annotations

import random

from skyferry.queue_stages import QueueRoute
from skyferry.report import Report
from skyferry.stages import copy_batch, plan_transfer, report_transfer
from skyferry.state import Run
from skyferry.urls import parse_location
from tests.queues.yard import Yard

LISTING = Run(dag_id="transfer__test", run_id="listing", route="test", started_at="2026-01-01T00:00:00+00:00")


async def relay(yard: Yard, *, seed: int) -> tuple[list[str], list[str]]:
    """Take the 30 events of the bucket out of the queue; put 15 back, shuffled, and eight of them twice.

    Returns:
        Five others, to be sent late; and, to be sent very late, three more and two of the first ones. Seven are lost.
    """
    bodies = [message["Body"] for message in await yard.drain()]
    events = [body for body in bodies if "TestEvent" not in body]
    chance = random.Random(seed)
    chance.shuffle(events)
    sent = events[:15]
    await yard.send(*chance.sample(sent + sent[:8], 23))
    return events[15:20], [*events[20:23], *sent[:2]]


async def list_and_copy(yard: Yard, route: QueueRoute) -> Report:
    """Run the transfer that lists the route's source, as its DAG does for `reconcile`."""
    places = {
        "open_store": yard.open_store,
        "state": parse_location(f"file://{yard.state}"),
        "state_conn_id": "",
    }
    plan = await plan_transfer(route.request, run=LISTING, **places)
    for batch in plan.batches:
        (await copy_batch(batch, request=route.request, run=LISTING, attempt=1, **places)).raise_if_failed()
    return await report_transfer(route.request, run=LISTING, is_reconciliation=True, **places)


async def test_what_events_missed_is_exactly_what_a_listing_copies(yard: Yard) -> None:
    await yard.build()
    bodies = {f"{number:02d}": f"content {number}".encode() for number in range(30)}
    await yard.put_many(bodies)
    late, later = await relay(yard, seed=5)

    (await yard.consume(attempt=1)).raise_if_failed()
    assert len(yard.arrived()) == 15
    await yard.send(*late)
    (await yard.consume(attempt=2)).raise_if_failed()
    before = yard.arrived()
    assert len(before) == 20
    assert before.items() <= bodies.items()
    report = await yard.report()
    assert (report.state, report.objects_copied, report.objects_planned) == ("success", 20, 20), "each object once"

    listing = await list_and_copy(yard, yard.route())
    assert (listing.state, listing.objects_copied, listing.missed_by_events) == ("success", 10, 10)
    assert listing.skipped_by_reason == {"identical": 20}
    assert yard.arrived() == bodies

    await yard.send(*later)
    result = await yard.consume(attempt=3)
    result.raise_if_failed()
    assert (result.counts["copied"], result.counts["skipped"]) == (0, 5), "what comes after all changes nothing"
    assert (yard.arrived(), await yard.left()) == (bodies, 0)


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
