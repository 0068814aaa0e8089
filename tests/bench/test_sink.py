"""The sink speaks enough of each API for the engine to verify what it sent, and counts what it was asked."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.contenders import Place, Work
from bench.engine_case import DirectStores
from bench.event_stack import ACCOUNT, aws_client
from bench.grounds import Ground, ask_sink
from skyferry.checksums import ContentDigests, digest
from skyferry.objects import ObjectMetadata
from skyferry.stores.base import Store
from skyferry.urls import parse_location
from stack.environment import AZURITE_ACCOUNT
from tests.bench.servers import serving

KINDS = ("s3", "az", "gs")
BODY = bytes(range(256)) * 1024


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with serving("bench.sink") as port:
        url = f"http://127.0.0.1:{port}"
        place = Place(
            endpoints={"s3": url, "az": f"{url}/{AZURITE_ACCOUNT}", "gs": url, "s3-source": url},
            source_endpoint=url,
            folder=Path(),
            destination_prefix="x",
            local_sources=Path(),
        )
        yield Ground(place=place, sink_url=url)


def opened(ground: Ground, kind: str, bucket: str = "destination"):
    stores = DirectStores(ground.place.endpoints, max_objects_in_flight=4)
    return stores(parse_location(f"{kind}://{bucket}/"), "")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_small_object_is_verified_by_the_answer(ground, kind):
    async with opened(ground, kind) as store:
        digests = await digest(BODY, store.capabilities.digests)
        committed = await store.put_object(
            f"small/{kind}", BODY, metadata=ObjectMetadata(), digests=digests, replaces=None
        )
        assert committed.verified_by == ("crc32c" if kind == "gs" else "md5")
        found = await store.stat(f"small/{kind}")
        assert found is not None
        assert found.size_bytes == len(BODY)


@pytest.mark.parametrize("kind", KINDS)
async def test_other_bytes_than_were_announced_are_not_verified(ground, kind):
    async with opened(ground, kind) as store:
        digests = await digest(b"other", store.capabilities.digests)
        with pytest.raises(AssertionError):
            await _put_and_require_proof(store, f"wrong/{kind}", digests)


async def _put_and_require_proof(store: Store, key: str, digests: dict[str, str]) -> None:
    from skyferry.errors import ChecksumMismatchError

    try:
        committed = await store.put_object(key, BODY, metadata=ObjectMetadata(), digests=digests, replaces=None)
    except ChecksumMismatchError as error:
        raise AssertionError from error
    assert committed.verified_by is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_in_parts_is_verified_and_has_its_size(ground, kind):
    part_bytes = 5 * 2**20
    parts = [bytes([index]) * size for index, size in enumerate((part_bytes, part_bytes, 1_000))]
    async with opened(ground, kind) as store:
        upload = await store.start_upload(
            f"large/{kind}",
            size_bytes=2 * part_bytes + 1_000,
            part_bytes=part_bytes,
            metadata=ObjectMetadata(),
            replaces=None,
        )
        whole = ContentDigests(store.capabilities.digests)
        for index, part in enumerate(parts):
            whole.update(part)
            await upload.put_part(index, part, await digest(part, upload.part_digests))
        committed = await upload.commit(whole.hexdigests())
        assert committed.verified_by == ("crc32c" if kind == "gs" else "crc64nvme")
        found = await store.stat(f"large/{kind}")
        assert found is not None
        assert found.size_bytes == 2 * part_bytes + 1_000


@pytest.mark.parametrize("kind", ["s3", "az"])  # tests/resume goes on with the sink's sessions of GCS
async def test_parts_of_an_unfinished_upload_are_found_again_and_every_byte_of_them_is_counted(ground, kind):
    part_bytes = 5 * 2**20
    known, changed = b"a" * part_bytes, b"b" * part_bytes
    size = {"size_bytes": 2 * part_bytes, "part_bytes": part_bytes}
    ask_sink(ground, "empty", bucket="destination")
    async with opened(ground, kind) as store:
        kept = {"metadata": ObjectMetadata(), "replaces": None}
        upload = await store.start_upload(f"unfinished/{kind}", **size, **kept)
        digests = await digest(known, upload.part_digests)
        await upload.put_part(0, known, digests)
        again = await store.resume_upload(f"unfinished/{kind}", upload.token, **size, **kept)
        assert again is not None
        assert not again.has_part(0, part_bytes, await digest(changed, upload.part_digests))
        assert again.has_part(0, part_bytes, digests)
        assert not again.has_part(1, part_bytes, digests)
    assert ask_sink(ground, "stats")["upload_bytes"] == part_bytes


@pytest.mark.parametrize("kind", KINDS)
async def test_a_filled_bucket_is_listed_page_by_page_and_read(ground, kind):
    bucket = f"source-{kind}"
    ask_sink(ground, "fill", bucket=bucket, prefix="objects/", count=2_500, size_bytes=3_000)
    async with opened(ground, kind, bucket) as store:
        infos = [info async for info in store.list_objects("objects/")]
        assert [info.key for info in infos] == [f"objects/{number:06d}" for number in range(2_500)]
        some = [info.key async for info in store.list_objects("objects/0021")]
        assert some == [f"objects/{number:06d}" for number in range(2_100, 2_200)]
        info, body = await store.read_object(infos[7])
        algorithms = set(info.checksums) & {"md5", "crc32c"}
        assert algorithms
        assert {name: info.checksums[name] for name in algorithms} == await digest(body, algorithms)
        assert await store.read_range(infos[7], 1_000, 50) == body[1_000:1_050]


async def test_content_longer_than_the_block_it_is_made_of_is_read_whole(ground):
    size_bytes = 9 * 2**20
    ask_sink(ground, "fill", bucket="source-large", prefix="objects/", count=3, size_bytes=size_bytes)
    async with opened(ground, "s3", "source-large") as store:
        infos = [info async for info in store.list_objects("objects/")]
        info, body = await store.read_object(infos[2])
        assert len(body) == size_bytes
        assert await digest(body, {"md5"}) == {"md5": info.checksums["md5"]}


def test_requests_are_counted_until_the_destination_is_emptied(ground):
    ask_sink(ground, "empty", bucket="counted")
    for _ in range(3):
        request = urllib.request.Request(f"{ground.sink_url}/counted/key", b"body", method="PUT")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()
    stats = ask_sink(ground, "stats", bucket="counted")
    assert (stats["requests"], stats["objects"]) == ({"PUT": 3}, 1)
    stats = ask_sink(ground, "empty", bucket="counted")
    assert (stats["requests"], stats["objects"]) == ({}, 0)


def test_work_names_its_source():
    work = Work(source="s3", destination="az", count=5, size_bytes=7)
    assert (work.bucket, work.pair) == ("source-5x7", "S3 -> Azure")


def test_a_session_of_google_s_go_client_is_told_to_go_on_with_200(ground):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    start = f"{ground.sink_url}/upload/storage/v1/b/counted/o?uploadType=resumable&name=key"
    with opener.open(urllib.request.Request(start, b"{}", method="POST"), timeout=30) as answer:
        session = answer.headers["Location"]
    first = {"Content-Range": "bytes 0-3/*", "X-GUploader-No-308": "yes"}
    with opener.open(urllib.request.Request(session, b"abcd", first, method="POST"), timeout=30) as answer:
        assert answer.headers["X-Http-Status-Code-Override"] == "308"
        assert answer.headers["Range"] == "bytes=0-3"
    last = {"Content-Range": "bytes 4-5/6", "X-GUploader-No-308": "yes"}
    with opener.open(urllib.request.Request(session, b"ef", last, method="POST"), timeout=30) as answer:
        stored = json.load(answer)
    assert (stored["name"], stored["size"]) == ("key", "6")


@pytest.fixture
def sqs(ground) -> Iterator[Any]:
    client = aws_client("sqs", ground.sink_url)
    yield client
    client.close()


def receive(sqs: Any, url: str, *, visibility_seconds: int = 60) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=visibility_seconds
    )
    found: list[dict[str, Any]] = answer.get("Messages", [])
    return found


def test_a_message_stays_hidden_while_it_is_held_and_comes_again_after_that(ground, sqs):
    url = f"{ground.sink_url}/{ACCOUNT}/held"
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(one), "MessageBody": f"body {one}"} for one in range(3)])
    first = receive(sqs, url)
    assert [message["Body"] for message in first] == ["body 0", "body 1", "body 2"]
    assert receive(sqs, url) == []
    entry = {"Id": "0", "ReceiptHandle": first[1]["ReceiptHandle"], "VisibilityTimeout": 0}
    assert sqs.change_message_visibility_batch(QueueUrl=url, Entries=[entry])["Successful"] == [{"Id": "0"}]
    (again,) = receive(sqs, url)
    assert (again["Body"], again["ReceiptHandle"]) != (first[1]["Body"], first[1]["ReceiptHandle"])


def test_only_the_last_holding_of_a_message_deletes_it(ground, sqs):
    url = f"{ground.sink_url}/{ACCOUNT}/deleted"
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "0", "MessageBody": "body"}])
    (first,) = receive(sqs, url, visibility_seconds=0)
    (again,) = receive(sqs, url)
    entries = [{"Id": id_, "ReceiptHandle": one["ReceiptHandle"]} for id_, one in (("old", first), ("new", again))]
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    assert ([one["Id"] for one in answer["Failed"]], [one["Id"] for one in answer["Successful"]]) == (["old"], ["new"])
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
