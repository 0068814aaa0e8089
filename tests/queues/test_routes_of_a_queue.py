"""Several routes on one queue: each does its part, and a message goes only when all of them are done."""

from __future__ import annotations

from typing import Any

from skyferry.detect.queue_route import QueueRoute
from skyferry.errors import AccessDeniedError
from tests.engine.meddling import MeddledStore
from tests.queues.yard import Yard, event


def two_routes(yard: Yard, **second: Any) -> tuple[QueueRoute, QueueRoute]:
    """Return the route `csv` into `out`, and the route `all` into `other`."""
    other = {"id": "all", "destination": f"file://{yard.root}/other", **second}
    return yard.route({"id": "csv", "data": "**/*.csv"}), yard.route(other)


async def test_each_message_is_acted_on_by_every_route_it_concerns(yard: Yard) -> None:
    await yard.build()
    bodies = {"a.csv": b"a", "b.csv": b"b", "c.txt": b"c"}
    await yard.put_many(bodies)
    routes = two_routes(yard)

    result = await yard.consume(*routes)
    report = await yard.report(*routes)

    assert yard.arrived() == {"a.csv": b"a", "b.csv": b"b"}
    assert yard.arrived(yard.root / "other") == bodies
    assert await yard.left() == 0
    assert (result.counts["copied"], result.records["matched"], result.messages["deleted"]) == (5, 3, 4)
    assert (report.state, report.objects_copied, report.messages["received"]) == ("success", 5, 4)
    assert {route: one["objects_copied"] for route, one in report.by_route.items()} == {"csv": 2, "all": 3}


async def test_a_message_stays_until_the_last_route_is_done_and_the_first_copies_once(yard: Yard) -> None:
    await yard.build()
    await yard.put("a.csv", b"a")
    routes = two_routes(yard)

    async def refuse(method: Any, *args: Any, **kwargs: Any) -> Any:
        raise AccessDeniedError("access denied writing a.csv")

    yard.wrap_destination = lambda store: MeddledStore(store, put_object=refuse)
    first = await yard.consume(*routes, back_off_seconds=600)
    assert first.messages["returned"] == 1
    assert yard.arrived(yard.root / "other") == {"a.csv": b"a"}, "the other route did its part"
    report = await yard.report(*routes)
    assert (report.state, report.objects_copied, report.objects_failed) == ("failed", 1, 1)
    assert {route: one["state"] for route, one in report.by_route.items()} == {"csv": "failed", "all": "success"}

    yard.wrap_destination = lambda store: store
    await yard.show_all()
    second = await yard.consume(*routes, attempt=2)
    second.raise_if_failed()
    assert (second.counts["copied"], second.counts["skipped"]) == (1, 1)
    assert yard.arrived() == {"a.csv": b"a"}
    report = await yard.report(*routes)
    assert (report.state, report.objects_copied, report.objects_planned) == ("success", 2, 2), "each once"


async def test_a_route_that_moves_waits_for_those_that_copy(yard: Yard) -> None:
    await yard.build()
    await yard.put("a.csv", b"a")
    routes = two_routes(yard, copy=False)

    async def refuse(method: Any, *args: Any, **kwargs: Any) -> Any:
        raise AccessDeniedError("access denied writing a.csv")

    yard.wrap_destination = lambda store: MeddledStore(store, put_object=refuse)
    await yard.consume(*reversed(routes), back_off_seconds=600)
    assert yard.arrived(yard.root / "other") == {}, "moved away, the other route would have nothing to copy"

    yard.wrap_destination = lambda store: store
    await yard.show_all()
    (await yard.consume(*reversed(routes), attempt=2)).raise_if_failed()
    assert yard.arrived() == yard.arrived(yard.root / "other") == {"a.csv": b"a"}
    assert await yard.source_keys() == []


async def test_what_two_routes_would_move_is_moved_by_neither(yard: Yard) -> None:
    await yard.build()
    await yard.put("a.csv", b"a")
    routes = (yard.route({"id": "one", "copy": False}), two_routes(yard, copy=False)[1])
    await yard.consume(*routes)
    report = await yard.report(*routes)
    assert await yard.source_keys() == ["a.csv"]
    assert (report.state, report.objects_refused) == ("failed", 1)
    assert report.by_route["one"]["refused_by_reason"] == report.refused_by_reason == {"several_moves": 1}
    assert "the routes one, all all move this object" in report.problems[0]
    assert len(await yard.drain(yard.dead_letter_url)) == 1


async def test_what_no_route_names_is_counted_once(yard: Yard) -> None:
    await yard.build(notifies=False)
    await yard.send(event("other-bucket", {"key": "a.csv"}))
    routes = two_routes(yard)
    result = await yard.consume(*routes, unmatched="dead_letter")
    assert result.records["unmatched"] == 1
    report = await yard.report(*routes)
    assert (report.state, report.messages["dead_lettered"]) == ("success", 1), "safe, counted, and named"
    assert "no route names" in report.problems[0]
    assert "1 set aside" in report.headline
