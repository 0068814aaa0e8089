"""A watch folder's transfer: claimed, copied, told of, set aside; and everything that may stand in its way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from skyferry.detect.s3_events import parse_message
from skyferry.errors import BucketMissingError, PermanentError, RequestError, RetryableError
from skyferry.notify.outgoing_queue import OutgoingQueue, Refusal
from skyferry.object_transfer import SMALL_OBJECT_BYTES
from tests.engine.meddling import MeddledStore
from tests.watch_folder.dock import Dock, new_name, tree

HOSTILE = [
    "a b.csv",
    "a+b.csv",
    "100%.csv",
    "ä/ß.csv",
    "{{ x }}.csv",
    "q?#&=.csv",
    "emoji 🚢.csv",
    "%2F.csv",
    "x'\"$(y)",
]


async def test_files_pass_through_the_folders_and_the_queue_is_told(dock: Dock) -> None:
    files = {f"may/{name}": name.encode() for name in HOSTILE} | {"large.bin": b"x" * (SMALL_OBJECT_BYTES + 1)}
    for key, body in files.items():
        dock.drop(key, body)
    plan = await dock.plan("first look")
    assert (plan.claimed.files, plan.totals["objects_planned"]) == (len(files), len(files))

    report = await dock.run()
    assert (report.state, report.objects_copied, report.objects_deleted_at_source) == (
        "success",
        len(files),
        len(files),
    )
    assert (tree(dock.watched), tree(dock.claimed), tree(dock.done)) == ({}, {}, files)
    assert await dock.stored() == {f"in/{key}": body for key, body in files.items()}

    records = [record for body in await dock.messages() for record in parse_message(body).records]
    assert {record.key: record.size_bytes for record in records} == {f"in/{k}": len(b) for k, b in files.items()}
    assert {(record.kind, record.bucket, record.producer) for record in records} == {("created", dock.name, "aws")}
    async with dock.yard.client("s3") as s3:
        for record in records:
            head = await s3.head_object(Bucket=dock.name, Key=record.key)
            assert head["ETag"].strip('"') == record.etag


async def test_nothing_to_do_is_a_success(dock: Dock) -> None:
    report = await dock.run()
    assert (report.state, report.objects_planned) == ("success", 0)


async def test_files_an_earlier_run_left_behind_are_taken_up(dock: Dock) -> None:
    dock.claimed.mkdir()
    (dock.claimed / "left.csv").write_bytes(b"left")
    dock.drop("new.csv", b"new")
    report = await dock.run()
    assert report.objects_copied == 2
    assert tree(dock.done) == {"left.csv": b"left", "new.csv": b"new"}


async def test_a_file_that_is_not_settled_waits(dock: Dock) -> None:
    dock.handover["settle_seconds"] = 300
    dock.drop("fresh.csv", b"fresh")
    plan = await dock.plan()
    assert (plan.claimed.waiting, plan.totals["objects_planned"]) == (1, 0)
    assert tree(dock.watched) == {"fresh.csv": b"fresh"}


async def test_only_what_is_selected_is_claimed(dock: Dock) -> None:
    dock.drop("a.csv", b"a")
    dock.drop("b.txt", b"b")
    report = await dock.run(data="*.csv")
    assert report.objects_copied == 1
    assert (tree(dock.watched), tree(dock.done)) == ({"b.txt": b"b"}, {"a.csv": b"a"})


async def test_a_file_that_is_old_enough_does_not_become_young_by_being_claimed(dock: Dock) -> None:
    dock.drop("a.csv", b"a")
    young = await dock.run("too early", min_age_seconds=3600)
    assert (young.objects_planned, tree(dock.watched)) == (0, {"a.csv": b"a"})
    await asyncio.sleep(3.1)
    report = await dock.run("old enough", min_age_seconds=3)
    assert (report.objects_copied, tree(dock.done)) == (1, {"a.csv": b"a"})


async def test_a_dry_run_moves_nothing_and_creates_nothing(dock: Dock) -> None:
    dock.drop("a.csv", b"a")
    dock.notify = {"queue_url": f"{dock.yard.queue_url}-new", "create_queue": True}
    report = await dock.run(dry_run=True)
    assert (report.objects_to_copy, report.headline) == (1, "dry run: 1 objects (1 bytes) would be copied")
    assert tree(dock.watched) == {"a.csv": b"a"}
    assert not dock.claimed.exists()
    async with dock.yard.client("sqs") as sqs:
        assert not (await sqs.list_queues(QueueNamePrefix=f"{dock.name}-new")).get("QueueUrls")


async def test_links_and_folders_stay_and_are_reported(dock: Dock, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"mine")
    (dock.watched / "link").symlink_to(tmp_path / "secret")
    dock.drop("sub/a.csv", b"a")
    report = await dock.run()
    assert report.skipped_by_reason == {"symbolic links are not followed": 1}
    assert (report.state, report.objects_planned, report.objects_copied) == ("success", 2, 1)
    assert (dock.watched / "sub").is_dir()


async def test_a_file_that_is_replaced_while_it_is_uploaded_comes_next(dock: Dock) -> None:
    dock.drop("a.csv", b"older")

    async def replace_after(method, *args, **kwargs):
        answer = await method(*args, **kwargs)
        (dock.claimed / "a.csv").write_bytes(b"a newer one")
        return answer

    dock.wrap_destination = lambda store: MeddledStore(store, put_object=replace_after)
    report = await dock.run()
    assert report.objects_deleted_at_source == 0
    assert "a.csv is no longer the file that was copied" in report.problems[0]
    assert (tree(dock.claimed), tree(dock.done)) == ({"a.csv": b"a newer one"}, {})

    dock.wrap_destination = lambda store: store
    await dock.run("next")
    assert (await dock.stored(), tree(dock.done)) == ({"in/a.csv": b"a newer one"}, {"a.csv": b"a newer one"})


async def test_two_runs_at_once_lose_nothing(dock: Dock) -> None:
    files = {f"{number}.csv": str(number).encode() for number in range(60)}
    for key, body in files.items():
        dock.drop(key, body)
    await asyncio.gather(*(dock.run(f"run {number}", raises=False) for number in range(3)))
    await dock.run("afterwards")
    assert (tree(dock.claimed), tree(dock.done)) == ({}, files)
    assert await dock.stored() == {f"in/{key}": body for key, body in files.items()}


# The queue


async def test_raw_messages(dock: Dock) -> None:
    dock.notify = {"queue_url": dock.yard.queue_url, "shape": "raw"}
    dock.drop("a b.csv", b"text")
    await dock.run()
    (body,) = await dock.messages()
    message = json.loads(body)
    assert message.pop("time").startswith("20")
    assert message.pop("etag")
    assert message == {
        "store": "s3",
        "bucket": dock.name,
        "key": "in/a b.csv",
        "url": f"s3://{dock.name}/in/a b.csv",
        "size_bytes": 4,
        "version_id": None,
    }


async def test_files_of_a_move_without_folders_are_told_of_and_deleted(dock: Dock) -> None:
    dock.handover = {}
    dock.claimed.mkdir()
    (dock.claimed / "a.csv").write_bytes(b"a")
    report = await dock.run()
    assert report.objects_deleted_at_source == 1
    assert (tree(dock.claimed), len(await dock.messages())) == ({}, 1)


async def test_a_missing_queue_is_one_error_before_anything_is_copied(dock: Dock) -> None:
    dock.notify = {"queue_url": f"{dock.yard.queue_url}-missing"}
    dock.drop("a.csv", b"a")
    with pytest.raises(RequestError, match="there is no queue .*-missing, which destination.notify names; create it"):
        await dock.run()
    assert await dock.stored() == {}
    assert {**tree(dock.watched), **tree(dock.claimed)} == {"a.csv": b"a"}


async def test_a_missing_queue_is_created_when_the_route_says_so(dock: Dock) -> None:
    dock.notify = {"queue_url": f"{dock.yard.queue_url}-new", "create_queue": True}
    dock.drop("a.csv", b"a")
    await dock.run()
    assert len(await dock.yard.drain(dock.notify["queue_url"])) == 1


async def test_a_queue_of_another_account_is_not_mistaken_for_the_one_that_was_created(dock: Dock) -> None:
    url = dock.yard.queue_url.replace("123456789012", "999999999999") + "-new"
    dock.notify = {"queue_url": url, "create_queue": True}
    with pytest.raises(RequestError, match="its connection belongs to another account"):
        await dock.run()


async def test_a_missing_bucket_is_one_error(dock: Dock) -> None:
    dock.conf["destination"] = f"s3://{new_name()}-missing/"
    dock.drop("a.csv", b"a")
    with pytest.raises(BucketMissingError):
        await dock.run()


class Picky(OutgoingQueue):
    """Takes only some of the messages of each request, as SQS may."""

    refuses: Callable[[str, int], Refusal | None]
    requests: list[int]

    async def send(self, bodies: Sequence[str]) -> Mapping[int, Refusal]:
        self.requests.append(len(bodies))
        refused = {
            place: refusal
            for place, body in enumerate(bodies)
            if (refusal := self.refuses(body, len(self.requests))) is not None
        }
        taken = [body for place, body in enumerate(bodies) if place not in refused]
        assert not taken or not await super().send(taken)
        return refused


def refuse(dock: Dock, refuses: Callable[[str, int], Refusal | None]) -> list[int]:
    """Have the queue refuse messages; return a list of how many each request holds."""
    requests: list[int] = []

    def wrap(queue: OutgoingQueue) -> OutgoingQueue:
        picky = Picky(queue._client, queue.url)
        picky.refuses, picky.requests = refuses, requests
        return picky

    dock.wrap_queue = wrap
    return requests


BUSY = Refusal("ServiceUnavailable", is_final=False)


async def test_messages_that_are_refused_for_a_moment_are_sent_again_alone(dock: Dock) -> None:
    for number in range(12):
        dock.drop(f"{number:02d}.csv", b"x")
    requests = refuse(dock, lambda body, request: BUSY if request == 1 and "7.csv" in body else None)
    report = await dock.run(max_objects_in_flight=1)
    assert (report.state, requests) == ("success", [10, 1, 2])
    assert len(await dock.messages()) == 12


async def test_what_nobody_could_be_told_of_fails_and_is_told_of_by_the_retry(dock: Dock) -> None:
    dock.drop("a.csv", b"a")
    refuse(dock, lambda body, request: BUSY)
    with pytest.raises(RetryableError, match=r"1 of 1 objects were not copied: sending a message to .* \(ServiceUn"):
        await dock.run()
    report = await dock.report()
    assert (report.state, report.objects_failed) == ("failed", 1)
    assert (tree(dock.claimed), tree(dock.done)) == ({"a.csv": b"a"}, {})
    assert await dock.stored() == {"in/a.csv": b"a"}

    dock.wrap_queue = lambda queue: queue
    report = await dock.run("next")
    assert (report.state, report.skipped_by_reason) == ("success", {"identical": 1})
    assert (tree(dock.done), len(await dock.messages())) == ({"a.csv": b"a"}, 1)


async def test_one_message_that_is_refused_for_good_costs_no_other(dock: Dock) -> None:
    for name in ("a", "b", "c"):
        dock.drop(f"{name}.csv", b"x")
    refuse(dock, lambda body, request: Refusal("InvalidMessageContents", is_final=True) if "b.csv" in body else None)
    with pytest.raises(PermanentError, match=r"1 of 3 .*refused it \(InvalidMessageContents\); see the queue's policy"):
        await dock.run()
    assert (set(tree(dock.claimed)), set(tree(dock.done))) == ({"b.csv"}, {"a.csv", "c.csv"})
    assert len(await dock.messages()) == 2


async def test_nothing_is_told_twice_when_only_setting_aside_failed(dock: Dock) -> None:
    dock.drop("a/b.csv", b"x")
    await dock.plan()
    dock.done.mkdir(exist_ok=True)
    (dock.done / "a").write_bytes(b"in the way")
    with pytest.raises(PermanentError, match="a file and a folder cannot share a name"):
        await dock.run()
    (dock.done / "a").unlink()
    plan = await dock.plan("run")
    assert plan.totals["objects_in_manifest"] == 1
    await dock.run("run", attempt=2)
    assert (tree(dock.claimed), tree(dock.done)) == ({}, {"a/b.csv": b"x"})
