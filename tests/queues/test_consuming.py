"""A queue of S3 events, consumed: what arrives, what becomes of each message, and what is never touched."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from skyferry.errors import AccessDeniedError, PermanentError, RequestError
from tests.engine.meddling import MeddledStore
from tests.faults.proxy import Request, Response, fault_proxy
from tests.queues.yard import Yard, event


async def test_real_notifications_are_copied_verified_and_deleted(yard: Yard) -> None:
    await yard.build()
    bodies = {f"in/{number:03d} red+flower é.txt": f"content {number}".encode() for number in range(25)}
    await yard.put_many(bodies)

    result = await yard.consume()

    assert yard.arrived() == bodies
    assert result.counts == {"copied": 25, "skipped": 0, "refused": 0, "failed": 0, "deleted": 0}
    assert result.bytes_copied == sum(map(len, bodies.values()))
    # moto sends s3:TestEvent when the notification is set up; it is deleted and asks for nothing.
    assert dict(result.messages) == {"received": 26, "deleted": 26}
    assert result.records["matched"] == 25
    assert result.ended_because == "empty"
    assert await yard.left() == 0
    rows = await yard.rows("queue/receipts/test/00000/")
    assert all(row["verified_by"] for row in rows)
    assert sorted(row["key"] for row in rows) == sorted(bodies)


async def test_duplicates_and_any_order_change_nothing(yard: Yard) -> None:
    await yard.build(notifies=False)
    bodies = {f"{number}": f"content {number}".encode() for number in range(20)}
    await yard.put_many(bodies)
    messages = [
        event(yard.name, {"key": key, "sequencer": f"00{number:014X}", "time": f"2026-05-04T03:02:{number:02d}Z"})
        for key in bodies
        for number in (1, 2, 2)
    ]
    random.Random(7).shuffle(messages)
    await yard.send(*messages)

    result = await yard.consume()

    assert yard.arrived() == bodies
    assert await yard.copied_keys() == sorted(bodies), "each object is copied once"
    assert result.counts["copied"] == 20
    assert result.messages["deleted"] == 60
    assert result.counts["failed"] == 0


async def test_two_consumers_at_once_copy_each_object_whole(yard: Yard) -> None:
    await yard.build()
    bodies = {f"{number}": f"content {number}".encode() for number in range(60)}
    await yard.put_many(bodies)
    first, second = await asyncio.gather(yard.consume(slot=0), yard.consume(slot=1))
    assert yard.arrived() == bodies
    assert first.messages["deleted"] + second.messages["deleted"] == 61
    assert first.counts["copied"] + second.counts["copied"] == 60


async def test_an_object_that_is_gone_or_was_overwritten_is_superseded(yard: Yard) -> None:
    await yard.build()
    await yard.put("gone", b"x")
    await yard.put("changed", b"old")
    await yard.put("changed", b"new")
    await yard.delete("gone")

    result = await yard.consume()
    result.raise_if_failed()

    assert yard.arrived() == {"changed": b"new"}
    assert result.records["superseded"] == 2, "the event of `gone`, and the first one of `changed`"
    assert result.counts == {"copied": 1, "skipped": 1, "refused": 0, "failed": 0, "deleted": 0}
    assert await yard.left() == 0


async def test_an_older_event_does_not_bring_back_older_content(yard: Yard) -> None:
    await yard.build(notifies=False)
    old = await yard.put("k", b"old")
    new = await yard.put("k", b"new")
    await yard.send(event(yard.name, {"key": "k", "eTag": new, "sequencer": "0000000000000002"}))
    await yard.consume()
    await yard.send(event(yard.name, {"key": "k", "eTag": old, "sequencer": "0000000000000001"}))
    result = await yard.consume(attempt=2)
    assert yard.arrived() == {"k": b"new"}
    assert result.records["superseded"] == 1


async def test_a_bad_record_costs_the_good_ones_nothing_and_is_set_aside(yard: Yard) -> None:
    await yard.build(notifies=False)
    await yard.put("good", b"good")
    body = event(yard.name, {"key": "good"}, {"key": "bad%zz"}, {})
    await yard.send(body)

    result = await yard.consume()

    assert yard.arrived() == {"good": b"good"}
    (dead,) = await yard.drain(yard.dead_letter_url)
    assert dead["Body"] == body
    reason = dead["MessageAttributes"]["skyferry_reason"]["StringValue"]
    assert reason.startswith("record 1: the key is not form-encoded")
    assert "record 2: the key is missing" in reason
    assert dead["MessageAttributes"]["skyferry_message_id"]["StringValue"]
    assert result.messages["dead_lettered"] == 1
    assert await yard.left() == 0


POISON = [
    "not json",
    "[" * 100_000,
    json.dumps({"Records": [{"eventVersion": "9.0", "eventName": "ObjectCreated:Put"}]}),
    json.dumps({"hello": "world"}),
]


async def test_poison_goes_to_the_dead_letter_queue_with_a_reason_and_the_rest_goes_on(yard: Yard) -> None:
    await yard.build()
    await yard.send(*POISON)
    await yard.put("k", b"content")

    result = await yard.consume()
    result.raise_if_failed()

    assert yard.arrived() == {"k": b"content"}
    dead = await yard.drain(yard.dead_letter_url)
    assert sorted(one["Body"] for one in dead) == sorted(POISON)
    assert all(one["MessageAttributes"]["skyferry_reason"]["StringValue"] for one in dead)
    assert result.messages["dead_lettered"] == len(POISON)
    assert len(result.problems) == len(POISON)
    assert not any("hello" in problem for problem in result.problems), "bodies are not echoed"


async def test_without_a_dead_letter_queue_poison_goes_to_quarantine(yard: Yard) -> None:
    await yard.build(has_dead_letters=False, notifies=False)
    await yard.send("not json é")
    result = await yard.consume()
    (row,) = await yard.rows("queue/quarantine/")
    assert (row["body"], row["queue"]) == ("not json é", yard.queue_url)
    assert "is not JSON" in row["reason"]
    assert result.messages["quarantined"] == 1
    assert await yard.left() == 0


async def test_poison_too_large_for_its_reason_goes_to_quarantine(yard: Yard) -> None:
    await yard.build(notifies=False)
    body = "x" * (2**20 - 50)
    await yard.send(body)
    result = await yard.consume()
    assert result.messages["quarantined"] == 1
    assert [row["body"] for row in await yard.rows("queue/quarantine/")] == [body]


SUBSCRIPTION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "1",
    "Token": "t",
    "TopicArn": "arn:aws:sns:us-east-1:123456789012:t",
    "Message": "confirm",
    "Timestamp": "2026-01-01T00:00:00.000Z",
}


async def test_the_url_of_a_subscription_is_never_fetched(yard: Yard) -> None:
    await yard.build(notifies=False)
    async with fault_proxy(yard.endpoint) as trap:
        await yard.send(json.dumps({**SUBSCRIPTION, "SubscribeURL": f"{trap.url}/?Action=ConfirmSubscription"}))
        result = await yard.consume()
        assert trap.requests == []
    assert result.messages["dead_lettered"] == 1


def foreign_messages(yard: Yard) -> list[str]:
    return [
        event(yard.name, {"key": "secret", "bucket": "other-bucket"}),
        event(yard.name, {"key": "elsewhere/k"}),
        event(yard.name, {"key": "in/k.txt"}),
    ]


@pytest.mark.parametrize("unmatched", ["leave", "dead_letter"])
async def test_only_what_the_route_names_is_ever_looked_at(yard: Yard, unmatched: str) -> None:
    await yard.build(notifies=False)
    await yard.put("in/k.csv", b"mine")
    await yard.send(*foreign_messages(yard), event(yard.name, {"key": "in/k.csv"}))
    looked_at: list[str] = []

    async def look(method: Any, key: str) -> Any:
        looked_at.append(key)
        return await method(key)

    yard.wrap_source = lambda store: MeddledStore(store, stat=look)
    conf = {"source": f"s3://{yard.name}/in/", "data": "*.csv"}
    result = await yard.consume(conf=conf, unmatched=unmatched, back_off_seconds=600)

    assert set(looked_at) == {"in/k.csv"}
    assert yard.arrived() == {"k.csv": b"mine"}
    assert result.records["unmatched"] == 3
    dead = await yard.drain(yard.dead_letter_url)
    if unmatched == "leave":
        assert (result.messages["left"], await yard.left(), dead) == (3, 3, [])
    else:
        assert (result.messages["dead_lettered"], await yard.left(), len(dead)) == (3, 0, 3)


async def test_a_route_s_selection_holds_for_events_too(yard: Yard) -> None:
    await yard.build()
    await yard.put_many({"a.csv": b"12", "a.part": b"12", "tmp/a.csv": b"12", "small.csv": b"1", "large.csv": b"123"})

    conf = {"include": ["**/*.csv"], "exclude": ["tmp/"], "min_size_bytes": 2, "max_size_bytes": 2}
    result = await yard.consume(conf=conf, back_off_seconds=600)

    assert yard.arrived() == {"a.csv": b"12"}
    assert result.counts == {"copied": 1, "skipped": 2, "refused": 0, "failed": 0, "deleted": 0}
    assert (result.records["matched"], result.records["unmatched"]) == (3, 2)
    rows = await yard.rows("queue/receipts/test/00000/")
    assert {row["key"]: row["reason"] for row in rows if row["outcome"] == "skipped"} == {
        "small.csv": "too_small",
        "large.csv": "too_large",
    }
    assert await yard.left() == 2


async def test_an_object_that_cannot_be_copied_keeps_its_message_until_it_was_tried_often_enough(yard: Yard) -> None:
    await yard.build(max_receives=3)
    await yard.put_many({"good": b"good", "bad": b"bad"})

    async def refuse(method: Any, key: str) -> Any:
        if key == "bad":
            raise AccessDeniedError("access denied looking at bad")
        return await method(key)

    yard.wrap_source = lambda store: MeddledStore(store, stat=refuse)
    # Without a back-off the message comes again at once: all its receptions are in one call.
    result = await yard.consume()

    assert yard.arrived() == {"good": b"good"}
    assert result.messages["returned"] == 2
    assert result.messages["dead_lettered"] == 1
    (dead,) = await yard.drain(yard.dead_letter_url)
    assert "access denied" in dead["MessageAttributes"]["skyferry_reason"]["StringValue"]
    assert await yard.left() == 0
    with pytest.raises(AccessDeniedError, match="objects were not copied: access denied looking at bad"):
        result.raise_if_failed()


async def test_a_fault_of_the_program_costs_the_other_messages_nothing(yard: Yard) -> None:
    await yard.build(max_receives=2)
    await yard.put_many({"good": b"good", "bad": b"bad"})

    async def break_down(method: Any, key: str) -> Any:
        if key == "bad":
            raise ValueError("nobody foresaw this")
        return await method(key)

    yard.wrap_source = lambda store: MeddledStore(store, stat=break_down)
    result = await yard.consume()

    assert (yard.arrived(), await yard.left()) == ({"good": b"good"}, 0)
    assert (result.messages["returned"], result.messages["dead_lettered"]) == (1, 1)
    with pytest.raises(PermanentError, match="looking at s3://.*/bad failed: ValueError in test_consuming.py, line"):
        result.raise_if_failed()


async def test_a_failed_message_is_hidden_for_a_while(yard: Yard) -> None:
    await yard.build()
    await yard.put("bad", b"bad")

    async def refuse(method: Any, key: str) -> Any:
        raise AccessDeniedError("access denied looking at bad")

    yard.wrap_source = lambda store: MeddledStore(store, stat=refuse)
    result = await yard.consume(back_off_seconds=60)
    assert result.messages["returned"] == 1, "it did not come back within the call"
    assert await yard.left() == 1


async def test_a_name_the_destination_cannot_hold_is_set_aside_at_once(yard: Yard) -> None:
    await yard.build(notifies=False)
    await yard.send(event(yard.name, {"key": "a/../../b"}))
    async with yard.client("s3") as s3:
        await s3.put_object(Bucket=yard.name, Key="a/../../b", Body=b"x")
    result = await yard.consume()
    assert yard.arrived() == {}
    assert result.counts["refused"] == 1
    assert result.messages["dead_lettered"] == 1
    with pytest.raises(PermanentError):
        result.raise_if_failed()


async def test_messages_that_were_not_deleted_are_deleted_in_the_next_round(yard: Yard) -> None:
    await yard.build()
    await yard.put_many({f"{number}": b"x" for number in range(5)})

    async def half_fails(request: Request, forward: Any) -> Response:
        entries = json.loads(request.body)["Entries"]
        cut = {**json.loads(request.body), "Entries": entries[:1]}
        answer = await forward(Request(request.method, request.target, request.headers, json.dumps(cut).encode()))
        failed = [{"Id": one["Id"], "SenderFault": False, "Code": "InternalError"} for one in entries[1:]]
        body = json.loads(answer.body) | {"Failed": failed}
        return Response(answer.status, answer.headers, json.dumps(body).encode())

    async with fault_proxy(yard.endpoint) as proxy:
        deletes = lambda request: request.header("x-amz-target").endswith("DeleteMessageBatch")  # noqa: E731
        proxy.inject(half_fails, matches=deletes, times=1)
        yard.queue_endpoint = proxy.url
        result = await yard.consume()
        assert sum(map(deletes, proxy.requests)) >= 2
    assert await yard.left() == 0
    assert result.messages["deleted"] == 6
    assert "delete_failed" not in result.messages


async def test_messages_that_cannot_be_deleted_are_counted_and_cost_no_second_copy(yard: Yard) -> None:
    await yard.build()
    await yard.put_many({f"{number}": b"x" for number in range(5)})

    async def fails(request: Request, forward: Any) -> Response:
        entries = json.loads(request.body)["Entries"]
        failed = [{"Id": one["Id"], "SenderFault": True, "Code": "ReceiptHandleIsInvalid"} for one in entries]
        return Response(200, (("Content-Type", "application/x-amz-json-1.0"),), json.dumps({"Failed": failed}).encode())

    async with fault_proxy(yard.endpoint) as proxy:
        deletes = lambda request: request.header("x-amz-target").endswith("DeleteMessageBatch")  # noqa: E731
        proxy.inject(fails, matches=deletes)
        yard.queue_endpoint = proxy.url
        first = await yard.consume(visibility_seconds=1, wait_seconds=1, max_messages=6)
    assert first.messages["delete_failed"] == 6
    assert await yard.left() == 6
    await asyncio.sleep(1.1)
    yard.queue_endpoint = yard.endpoint
    again = await yard.consume(attempt=2)
    assert again.messages["deleted"] == 6
    assert again.counts["copied"] == 0
    assert await yard.copied_keys() == [str(number) for number in range(5)]


async def test_a_copy_longer_than_the_visibility_is_made_once(yard: Yard) -> None:
    await yard.build(notifies=False)
    await yard.put("slow", b"slow")
    await yard.send(event(yard.name, {"key": "slow"}))
    writes = 0

    async def slowly(method: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal writes
        writes += 1
        await asyncio.sleep(4)
        return await method(*args, **kwargs)

    yard.wrap_destination = lambda store: MeddledStore(store, put_object=slowly)
    # Two consumers, so that the second one would get the message as soon as it is visible again.
    both = [yard.consume(slot=slot, visibility_seconds=2, max_seconds=3) for slot in (0, 1)]
    first, second = await asyncio.gather(*both)
    assert writes == 1
    assert first.messages.get("received", 0) + second.messages.get("received", 0) == 1
    assert yard.arrived() == {"slow": b"slow"}
    assert await yard.left() == 0


async def test_budgets_end_a_consumer_and_leave_the_rest_to_others(yard: Yard) -> None:
    await yard.build(notifies=False)
    await yard.put_many({f"{number}": b"12345678" for number in range(30)})
    await yard.send(*(event(yard.name, {"key": f"{number}"}) for number in range(30)))
    first = await yard.consume(max_messages=7)
    assert (first.ended_because, first.messages["deleted"]) == ("messages", 7)
    second = await yard.consume(attempt=2, max_bytes=8, conf={"max_objects_in_flight": 1})
    assert (second.ended_because, second.messages["deleted"]) == ("bytes", 1)
    third = await yard.consume(attempt=3)
    assert (third.ended_because, third.messages["deleted"]) == ("empty", 22)


async def test_a_consumer_that_is_stopped_gives_back_what_it_holds(yard: Yard) -> None:
    await yard.build(notifies=False)
    await yard.put("k", b"content")
    await yard.send(event(yard.name, {"key": "k"}))
    begun = asyncio.Event()

    async def stuck(method: Any, *args: Any, **kwargs: Any) -> Any:
        begun.set()
        await asyncio.sleep(60)

    yard.wrap_destination = lambda store: MeddledStore(store, put_object=stuck)
    task = asyncio.create_task(yard.consume(visibility_seconds=600))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    yard.wrap_destination = lambda store: store
    result = await yard.consume(attempt=2)
    assert result.counts["copied"] == 1, "it was visible at once, long before its ten minutes were over"
    assert yard.arrived() == {"k": b"content"}


async def test_a_moved_object_leaves_after_its_receipt(yard: Yard) -> None:
    await yard.build()
    await yard.put("k", b"content")
    result = await yard.consume(conf={"copy": False})
    assert result.counts["copied"] == 1
    assert yard.arrived() == {"k": b"content"}
    async with yard.client("s3") as s3:
        assert "Contents" not in await s3.list_objects_v2(Bucket=yard.name)


async def test_a_queue_that_is_not_there_is_one_error(yard: Yard) -> None:
    await yard.build()
    yard.queue_url += "-typo"
    with pytest.raises(RequestError, match="there is no queue http.*-typo; check queue_url"):
        await yard.consume()


async def test_what_a_queue_cannot_do_is_refused(yard: Yard) -> None:
    await yard.build()
    with pytest.raises(RequestError, match="dry_run"):
        await yard.consume(conf={"dry_run": True})
    with pytest.raises(RequestError, match="has min_age_seconds 30, but a queue tells of an object only once"):
        await yard.consume(conf={"min_age_seconds": 30})
    with pytest.raises(RequestError, match="expected an s3:// URL"):
        await yard.consume(conf={"source": "az://container/"})
    yard.queue_url += ".fifo"
    with pytest.raises(RequestError, match="FIFO"):
        await yard.consume()
