"""What `skyferry.stores.base` promises, sentence by sentence, kept by every store."""

from __future__ import annotations

import asyncio
import gzip
import random
from dataclasses import replace

import pytest

from skyferry import sharded_listing
from skyferry.attempts import Attempts
from skyferry.checksums import digest
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    BucketNotEmptyError,
    ChecksumMismatchError,
    DestinationChangedError,
    KeyRefusedError,
    SizeMismatchError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
)
from skyferry.objects import Committed, ObjectMetadata, Prefix
from skyferry.stores.local import LocalStore
from skyferry.stores.local_files import remove_empty_folders
from tests.conftest import AZURITE_ACCOUNT
from tests.contract.conftest import Subject, open_azure, s3_client

# Keys that are legal in every store, folders included; each has gone wrong in some tool.
HOSTILE_KEYS = (
    "a b.txt",
    "a+b.txt",
    "a%2Fb.txt",
    "100%.txt",
    "a#fragment?query=1&x=[y].txt",
    "quote'\"<xml>&amp;.txt",
    "{{ conn.aws_default.password }}.txt",
    "caf\u00e9.txt",  # one code point
    "cafe\u0301.txt",  # two
    "日本語/キー.txt",
    "emoji-\U0001f600.txt",
    "~tilde!$()*,;:@=.txt",
    "-rf",
    " leading and trailing ",
    "folder/with/many/levels/file.txt",
)
REMOTE_HOSTILE_KEYS = ("/leading", "double//slash", "trailing/", "tab\tstop")


def _bytes(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


# Buckets


async def test_creating_a_bucket_that_exists_is_fine(subject: Subject) -> None:
    await subject.put("kept", b"kept")
    await subject.store.create_bucket()
    await subject.store.check_bucket()
    assert await subject.content("kept") == b"kept"


async def test_missing_bucket_is_named(subject: Subject) -> None:
    missing = subject.open("contract-nowhere")
    with pytest.raises(BucketMissingError, match="contract-nowhere"):
        await missing.check_bucket()
    with pytest.raises(BucketMissingError, match="contract-nowhere"):
        _ = [info async for info in missing.list_objects()]


async def test_writing_to_a_missing_bucket_is_refused_and_does_not_create_it(remote: Subject) -> None:
    missing = replace(remote, store=remote.open("contract-nowhere"))
    with pytest.raises(BucketMissingError, match="contract-nowhere"):
        await missing.put("key", b"body")
    with pytest.raises(BucketMissingError):
        await missing.store.check_bucket()


async def test_url_names_bucket_and_key_without_credentials(subject: Subject) -> None:
    url = subject.store.url("folder/a b?.txt")
    assert url.startswith(f"{subject.store.kind}://")
    assert url.endswith("/folder/a b?.txt")
    assert subject.store.bucket.rsplit("/", 1)[-1] in url


async def test_a_bucket_with_something_in_it_is_not_deleted(subject: Subject) -> None:
    committed = await subject.put("folder/kept", b"kept")
    with pytest.raises(BucketNotEmptyError, match="is not empty"):
        await subject.store.delete_bucket()
    assert await subject.content("folder/kept") == b"kept"
    await subject.store.delete_object(committed.info)
    if isinstance(subject.store, LocalStore):
        remove_empty_folders(subject.store.root)
    await subject.store.delete_bucket()
    with pytest.raises(BucketMissingError):
        await subject.store.check_bucket()
    await subject.store.delete_bucket()


async def test_many_are_deleted_at_once_each_only_as_the_version_it_was(subject: Subject) -> None:
    keys = [key for key in HOSTILE_KEYS if "/" not in key]
    infos = [(await subject.put(key, b"old")).info for key in keys]
    newer = (await subject.put(keys[3], b"newer", replaces=infos[3])).info
    outcomes = await subject.store.delete_objects(infos)
    assert isinstance(outcomes[3], SourceChangedError)
    assert subject.store.url(keys[3]) in str(outcomes[3])
    assert [outcome for number, outcome in enumerate(outcomes) if number != 3] == [True] * (len(keys) - 1)
    assert await subject.keys() == [keys[3]]
    again = await subject.store.delete_objects([infos[0], newer])
    assert again[0] in (True, False)  # S3 does not tell whether there was something
    assert await subject.keys() == []


# Reading and describing


@pytest.mark.parametrize("size_bytes", [0, 1, 1000, 300_000])
async def test_put_stat_list_and_read_agree(subject: Subject, size_bytes: int) -> None:
    body = _bytes(size_bytes)
    committed = await subject.put("folder/object", body)
    found = await subject.store.stat("folder/object")
    assert found is not None
    listed = [info async for info in subject.store.list_objects()]
    read, content = await subject.store.read_object(listed[0])
    assert content == body
    assert [info.key for info in listed] == ["folder/object"]
    for info in (committed.info, listed[0], read):
        assert (info.key, info.etag, info.size_bytes) == (found.key, found.etag, size_bytes)
    assert found.metadata is not None
    assert read.metadata == found.metadata
    for algorithm, value in found.checksums.items():
        assert (await digest(body, {algorithm}))[algorithm] == value


async def test_stat_of_an_absent_key_is_none(subject: Subject) -> None:
    assert await subject.store.stat("absent") is None
    assert await subject.store.stat("absent/below") is None


async def test_read_range_returns_exactly_these_bytes(subject: Subject) -> None:
    body = _bytes(10_000)
    info = (await subject.put("object", body)).info
    assert await subject.store.read_range(info, 0, 1) == body[:1]
    assert await subject.store.read_range(info, 4_321, 1_234) == body[4_321 : 4_321 + 1_234]
    assert await subject.store.read_range(info, 9_999, 1) == body[-1:]


async def test_read_of_an_overwritten_key_is_refused(subject: Subject) -> None:
    old = (await subject.put("object", b"old content")).info
    await subject.put("object", b"new content", replaces=old)
    with pytest.raises(SourceChangedError, match="object"):
        await subject.store.read_object(old)
    with pytest.raises(SourceChangedError, match="object"):
        await subject.store.read_range(old, 0, 3)


async def test_read_of_a_removed_key_says_that_it_is_gone(subject: Subject) -> None:
    info = (await subject.put("object", b"content")).info
    assert await subject.store.delete_object(info)
    with pytest.raises(SourceMissingError, match="object"):
        await subject.store.read_object(info)
    with pytest.raises(SourceMissingError, match="object"):
        await subject.store.read_range(info, 0, 3)


async def test_read_of_fewer_bytes_than_announced_is_an_error(subject: Subject) -> None:
    info = (await subject.put("object", b"12345")).info
    with pytest.raises(TransferError):
        await subject.store.read_object(replace(info, size_bytes=9))


async def test_gzip_content_arrives_raw(subject: Subject) -> None:
    body = gzip.compress(b"some text that compresses " * 100)
    metadata = ObjectMetadata(content_type="text/plain", content_encoding="gzip")
    small = (await subject.put("small", body, metadata=metadata)).info
    large_body = gzip.compress(_bytes(2 * subject.part_bytes))
    large = (await subject.upload("large", large_body, metadata=metadata)).info
    assert (await subject.store.read_object(small))[1] == body
    assert await subject.store.read_range(small, 0, 10) == body[:10]
    assert (await subject.store.read_object(large))[1] == large_body


async def test_headers_metadata_and_tags_survive(remote: Subject) -> None:
    metadata = ObjectMetadata(
        content_type="text/csv; charset=utf-8",
        content_encoding="identity-ish",
        content_language="de-CH",
        content_disposition='attachment; filename="a b.csv"',
        cache_control="max-age=60, no-transform",
        user={"owner": "finance", "note": "a value with spaces, = and +"},
        tags={} if remote.store.kind == "gs" else {"team": "data", "cost centre": "a/b:c=d+e-f_g.h"},
    )
    small = (await remote.put("small", b"body", metadata=metadata)).info
    await remote.upload("large", _bytes(remote.part_bytes + 1), metadata=metadata)
    for key in ("small", "large"):
        found = await remote.store.stat(key)
        assert found is not None
        assert found.metadata == metadata
    read, _ = await remote.store.read_object(replace(small, metadata=None))
    assert read.metadata == metadata


# Small writes


async def test_create_only_refuses_a_key_that_shows_something(subject: Subject) -> None:
    await subject.put("object", b"first")
    with pytest.raises(DestinationChangedError, match="object"):
        await subject.put("object", b"second")
    assert await subject.content("object") == b"first"


async def test_replace_needs_the_version_it_names(subject: Subject) -> None:
    first = (await subject.put("object", b"first")).info
    second = (await subject.put("object", b"second", replaces=first)).info
    assert await subject.content("object") == b"second"
    with pytest.raises(DestinationChangedError, match="object"):
        await subject.put("object", b"third", replaces=first)
    assert await subject.content("object") == b"second"
    await subject.store.delete_object(second)
    with pytest.raises(DestinationChangedError, match="object"):
        await subject.put("object", b"third", replaces=second)
    assert await subject.content("object") is None


async def test_of_two_small_writers_exactly_one_wins(subject: Subject) -> None:
    bodies = [_bytes(5_000 + number) for number in range(4)]
    results = await asyncio.gather(*(subject.put("object", body) for body in bodies), return_exceptions=True)
    winners = [body for body, result in zip(bodies, results, strict=True) if isinstance(result, Committed)]
    losers = [result for result in results if isinstance(result, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(error, DestinationChangedError) for error in losers)
    assert await subject.content("object") == winners[0]


async def test_commits_name_their_evidence(subject: Subject) -> None:
    small = await subject.put("small", b"content")
    large = await subject.upload("large", _bytes(2 * subject.part_bytes + 1))
    expected = {
        "s3": ("md5", "crc64nvme"),
        "az": ("md5", "crc64nvme"),
        "gs": ("crc32c", "crc32c"),
        "file": ("readback",) * 2,
    }
    assert (small.verified_by, large.verified_by) == expected[subject.store.kind]


@pytest.mark.parametrize("previous", [None, b"previous content"])
async def test_wrong_digests_are_refused(subject: Subject, previous: bytes | None) -> None:
    replaces = (await subject.put("object", previous)).info if previous else None
    wrong = await digest(b"other content", subject.store.capabilities.digests)
    with pytest.raises(ChecksumMismatchError, match="object"):
        await subject.store.put_object(
            "object", b"content", metadata=ObjectMetadata(), digests=wrong, replaces=replaces
        )
    assert await subject.content("object") == previous


# Large writes


@pytest.mark.parametrize(("whole_parts", "extra_bytes"), [(0, 1), (1, 0), (1, 1), (3, 0), (3, 7)])
async def test_upload_shows_the_whole_object_and_only_at_the_commit(
    subject: Subject, whole_parts: int, extra_bytes: int
) -> None:
    body = _bytes(whole_parts * subject.part_bytes + extra_bytes)
    upload = await subject.store.start_upload(
        "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=None
    )
    for index, part in enumerate(subject.parts(body)):
        await upload.put_part(index, part, await digest(part, upload.part_digests))
        assert await subject.store.stat("large") is None
        assert await subject.keys() == []
    committed = await upload.commit(await digest(body, subject.store.capabilities.digests))
    assert committed.verified_by is not None
    found = await subject.store.stat("large")
    assert found is not None
    assert (found.etag, found.size_bytes) == (committed.info.etag, len(body))
    assert (await subject.store.read_object(found))[1] == body


async def test_parts_may_come_in_any_order_where_the_store_says_so(subject: Subject) -> None:
    body = _bytes(2 * subject.part_bytes + 5)
    upload = await subject.store.start_upload(
        "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=None
    )
    parts = list(enumerate(subject.parts(body)))
    if subject.store.capabilities.parts_in_order:
        with pytest.raises(TransferError, match="expected part 1"):
            await upload.put_part(1, parts[1][1], {})
    else:
        parts.reverse()
    for index, part in parts:
        await upload.put_part(index, part, await digest(part, upload.part_digests))
    await upload.commit(await digest(body, subject.store.capabilities.digests))
    assert await subject.content("large") == body


async def test_repeating_a_part_is_harmless(subject: Subject) -> None:
    body = _bytes(2 * subject.part_bytes)
    upload = await subject.store.start_upload(
        "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=None
    )
    for index, part in enumerate(subject.parts(body)):
        for _ in range(2):
            await upload.put_part(index, part, await digest(part, upload.part_digests))
    await upload.commit(await digest(body, subject.store.capabilities.digests))
    assert await subject.content("large") == body


async def test_upload_is_conditional_at_its_commit(subject: Subject) -> None:
    body = _bytes(subject.part_bytes + 1)
    upload = await subject.store.start_upload(
        "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=None
    )
    for index, part in enumerate(subject.parts(body)):
        await upload.put_part(index, part, await digest(part, upload.part_digests))
    await subject.put("large", b"somebody else's")
    with pytest.raises(DestinationChangedError, match="large"):
        await upload.commit(await digest(body, subject.store.capabilities.digests))
    await upload.abort()
    assert await subject.content("large") == b"somebody else's"


async def test_upload_replaces_only_the_version_it_names(subject: Subject) -> None:
    first = (await subject.put("large", b"first")).info
    body = _bytes(subject.part_bytes + 1)
    await subject.upload("large", body, replaces=first)
    assert await subject.content("large") == body
    with pytest.raises(DestinationChangedError, match="large"):
        await subject.upload("large", body[::-1], replaces=first)
    assert await subject.content("large") == body


async def test_of_two_large_writers_exactly_one_wins(subject: Subject) -> None:
    bodies = [_bytes(subject.part_bytes + 1 + number) for number in range(2)]
    results = await asyncio.gather(*(subject.upload("large", body) for body in bodies), return_exceptions=True)
    winners = [body for body, result in zip(bodies, results, strict=True) if isinstance(result, Committed)]
    assert len(winners) == 1
    assert [type(result) for result in results if isinstance(result, BaseException)] == [DestinationChangedError]
    assert await subject.content("large") == winners[0]


async def test_abort_leaves_nothing(subject: Subject) -> None:
    body = _bytes(2 * subject.part_bytes)
    upload = await subject.store.start_upload(
        "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=None
    )
    part = body[: subject.part_bytes]
    await upload.put_part(0, part, await digest(part, upload.part_digests))
    await upload.abort()
    await upload.abort()
    assert await subject.store.stat("large") is None
    assert await subject.keys() == []
    if subject.store.kind != "file":
        with pytest.raises(TransferError):
            await upload.commit(await digest(body, subject.store.capabilities.digests))
    assert await subject.store.stat("large") is None
    await subject.put("large", b"the name is free")
    assert await subject.content("large") == b"the name is free"


async def test_commit_without_all_parts_is_refused(subject: Subject) -> None:
    body = _bytes(2 * subject.part_bytes)
    upload = await subject.store.start_upload(
        "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=None
    )
    part = body[: subject.part_bytes]
    await upload.put_part(0, part, await digest(part, upload.part_digests))
    with pytest.raises((SizeMismatchError, ChecksumMismatchError)):
        await upload.commit(await digest(body, subject.store.capabilities.digests))
    await upload.abort()
    assert await subject.store.stat("large") is None


async def test_commit_without_all_parts_is_refused_where_the_endpoint_checks_nothing(s3: Subject) -> None:
    assert s3.proxy is not None
    s3.proxy.always = None
    await test_commit_without_all_parts_is_refused(s3)


@pytest.mark.parametrize("previous", [None, b"previous content"])
async def test_upload_with_a_wrong_digest_of_the_whole_is_refused(subject: Subject, previous: bytes | None) -> None:
    if subject.store.kind == "az":
        pytest.skip("the evidence of this store lies in the parts")
    replaces = (await subject.put("large", previous)).info if previous else None
    body = _bytes(subject.part_bytes + 1)
    upload = await subject.store.start_upload(
        "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=replaces
    )
    for index, part in enumerate(subject.parts(body)):
        await upload.put_part(index, part, await digest(part, upload.part_digests))
    with pytest.raises(ChecksumMismatchError, match="large"):
        await upload.commit(await digest(b"other", subject.store.capabilities.digests))
    await upload.abort()
    assert await subject.content("large") == previous


async def test_cancelled_upload_leaves_the_key_untouched(subject: Subject) -> None:
    old = (await subject.put("large", b"old content")).info
    body = _bytes(3 * subject.part_bytes)

    async def copy() -> None:
        upload = await subject.store.start_upload(
            "large", size_bytes=len(body), part_bytes=subject.part_bytes, metadata=ObjectMetadata(), replaces=old
        )
        try:
            for index, part in enumerate(subject.parts(body)):
                await upload.put_part(index, part, await digest(part, upload.part_digests))
                if index == 1:
                    reached.set()
                    await asyncio.sleep(60)
        finally:
            await upload.abort()

    reached = asyncio.Event()
    task = asyncio.create_task(copy())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await subject.content("large") == b"old content"
    assert await subject.keys() == ["large"]


# Listing


async def test_listing_has_every_key_below_its_prefix_in_order_over_pages(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyferry.stores.azure._PAGE_KEYS", 20)
    monkeypatch.setattr("skyferry.stores.gcs._PAGE_KEYS", 20)
    names = [f"n{number:03d}" for number in range(110)]
    keys = sorted([f"a/{name}" for name in names] + ["a-b", "a.b", "a0", "b/x", "ab"], key=str.encode)
    for start in range(0, len(keys), 20):
        await asyncio.gather(*(subject.put(key, b"x") for key in keys[start : start + 20]))
    if subject.proxy is not None:
        subject.proxy.clear()
    listed = await subject.keys()
    if subject.store.capabilities.lists_in_key_order:
        assert listed == keys
    assert sorted(listed, key=str.encode) == keys
    if subject.proxy is not None:
        assert subject.proxy.count("GET") > 2
    assert sorted(await subject.keys("a/")) == [f"a/{name}" for name in names]
    assert sorted(await subject.keys("a/n10")) == [f"a/n10{digit}" for digit in range(10)]
    assert await subject.keys("nothing/") == []
    assert sorted(await subject.keys("", "a/n107")) == ["a/n108", "a/n109", "a0", "ab", "b/x"]
    assert sorted(await subject.keys("a/", "a/n107")) == ["a/n108", "a/n109"]
    assert sorted(await subject.keys("a/", "a/n1075")) == ["a/n108", "a/n109"]


async def test_a_long_listing_in_shards_is_the_plain_listing(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    if not subject.store.capabilities.lists_in_key_order:
        pytest.skip("its listings are not made of several")
    monkeypatch.setattr("skyferry.stores.gcs._PAGE_KEYS", 20)
    monkeypatch.setattr(sharded_listing, "PLAIN_OBJECTS", 5)
    monkeypatch.setattr(sharded_listing, "MIN_OBJECTS_PER_SHARD", 1)
    names = [
        f"{folder}/{number}" for folder in ("a", "a b", "a+b", "a%2Fb", "b/c", "b/d", "\u00e9") for number in range(8)
    ]
    keys = sorted([*names, "0", "a-b", "a.b", "a0", "bb", "z"], key=str.encode)
    for start in range(0, len(keys), 20):
        await asyncio.gather(*(subject.put(key, b"x") for key in keys[start : start + 20]))
    listing = sharded_listing.list_in_shards(subject.store, "", attempts=Attempts())
    assert [info.key async for info in listing] == keys
    below = sharded_listing.list_in_shards(subject.store, "b/", attempts=Attempts())
    assert [info.key async for info in below] == [key for key in keys if key.startswith("b/")]


async def test_a_level_has_objects_and_prefixes_each_once_over_pages(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyferry.stores.azure._PAGE_KEYS", 20)
    monkeypatch.setattr("skyferry.stores.gcs._PAGE_KEYS", 20)
    keys = [f"f/{number:02d}/{name}" for number in range(30) for name in ("x", "deep/y")]
    keys += [f"f/{number:02d}-z" for number in range(30)] + ["f-other", "f.txt", "g 1/ä b/x+y"]
    await asyncio.gather(*(subject.put(key, b"x") for key in keys))

    async def level(prefix: str) -> list[tuple[str, bool]]:
        return [(found.key, isinstance(found, Prefix)) async for found in subject.store.list_level(prefix)]

    in_f = [(f"f/{number:02d}/", True) for number in range(30)] + [(f"f/{number:02d}-z", False) for number in range(30)]
    assert sorted(await level("f/")) == sorted(in_f)
    assert await level("") == [("f-other", False), ("f.txt", False), ("f/", True), ("g 1/", True)]
    assert await level("f/07") == [("f/07-z", False), ("f/07/", True)]
    assert await level("f/07/deep/") == [("f/07/deep/y", False)]
    assert await level("g 1/") == [("g 1/ä b/", True)]
    assert await level("nothing/") == []


async def test_order_is_that_of_utf8_bytes_where_promised(subject: Subject) -> None:
    """UTF-16 would put U+1F600 before U+FF61; UTF-8 puts it after."""
    keys = ["A", "a", "z", "\u00e9", "\uff61", "\U0001f600"]
    for key in reversed(keys):
        await subject.put(key, b"x")
    listed = await subject.keys()
    assert sorted(listed) == sorted(keys)
    if subject.store.capabilities.lists_in_key_order:
        assert listed == keys


# Names


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_key_arrives_exactly(subject: Subject, key: str) -> None:
    await _require_round_trip(subject, key)


@pytest.mark.parametrize("key", REMOTE_HOSTILE_KEYS)
async def test_key_that_is_no_path_arrives_exactly(remote: Subject, key: str) -> None:
    await _require_round_trip(remote, key)


@pytest.mark.parametrize("key", ["a/../b", "./a", "a//b/..", "..."])
async def test_dots_are_part_of_the_name_in_s3_and_gcs(remote: Subject, key: str) -> None:
    if remote.store.kind == "az" and key != "...":
        pytest.skip("Azure clients and URL libraries normalise such names; they are refused")
    await _require_round_trip(remote, key)


async def _require_round_trip(subject: Subject, key: str) -> None:
    committed = await subject.put(key, key.encode())
    assert committed.info.key == key
    assert await subject.keys() == [key]
    assert await subject.content(key) == key.encode()
    body = _bytes(subject.part_bytes + 1)
    if subject.store.kind != "s3":  # where a part has 5 MiB at least, this would only be slow
        await subject.upload(key, body, replaces=committed.info)
        assert await subject.content(key) == body
    found = await subject.store.stat(key)
    assert found is not None
    assert await subject.store.delete_object(found)
    assert await subject.keys() == []


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "a/..", ".", "back\\slash", "lone-\udcff"])
async def test_azure_refuses_names_that_would_become_others(az: Subject, key: str) -> None:
    assert az.proxy is not None
    with pytest.raises(KeyRefusedError):
        await az.put(key, b"x")
    with pytest.raises(KeyRefusedError):
        await az.store.stat(key)
    with pytest.raises(KeyRefusedError):
        await az.store.start_upload(key, size_bytes=1, part_bytes=1, metadata=ObjectMetadata(), replaces=None)
    assert az.proxy.requests == []


@pytest.mark.parametrize("key", ["", ".", "..", "lone-\udcff"])
async def test_gcs_refuses_names_that_cannot_be_written_into_an_address(gs: Subject, key: str) -> None:
    assert gs.proxy is not None
    with pytest.raises(KeyRefusedError):
        await gs.put(key, b"x")
    with pytest.raises(KeyRefusedError):
        await gs.store.stat(key)
    assert gs.proxy.requests == []


async def test_checksum_of_checksums_is_not_taken_for_the_contents(s3: Subject) -> None:
    """boto3 uploads in parts with CRC32 by default, and the object's CRC32 is then one of the parts' CRC32s."""
    bodies = [_bytes(5 * 2**20), b"the rest"]
    where = {"Bucket": s3.store.bucket, "Key": "in-parts"}
    assert s3.proxy is not None
    async with s3_client(s3.proxy.url) as client:
        where["UploadId"] = (await client.create_multipart_upload(**where, ChecksumAlgorithm="CRC32"))["UploadId"]
        parts = [
            await client.upload_part(**where, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
            for number, body in enumerate(bodies, 1)
        ]
        told = [
            {"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
            for number, part in enumerate(parts, 1)
        ]
        await client.complete_multipart_upload(**where, MultipartUpload={"Parts": told})
    info = await s3.store.stat("in-parts")
    assert info is not None
    assert info.checksums == {}
    read, content = await s3.store.read_object(info)
    assert read.checksums == {}
    assert content == b"".join(bodies)


# Deleting


async def test_delete_removes_only_the_version_it_names(subject: Subject) -> None:
    old = (await subject.put("object", b"old")).info
    new = (await subject.put("object", b"new", replaces=old)).info
    with pytest.raises(SourceChangedError, match="object"):
        await subject.store.delete_object(old)
    assert await subject.content("object") == b"new"
    assert await subject.store.delete_object(new) is True
    assert await subject.store.stat("object") is None
    assert await subject.store.delete_object(new) is False


# Credentials


async def test_wrong_azure_key_is_access_denied(az: Subject) -> None:
    assert az.proxy is not None
    await az.put("object", b"content")
    async with open_azure(az.proxy.url, key="d3Jvbmc=") as opened:
        store = opened(az.store.bucket)
        for call in (store.stat("object"), store.check_bucket(), replace(az, store=store).put("other", b"x")):
            with pytest.raises(AccessDeniedError, match=r"needs Storage Blob Data") as raised:
                await call
            assert AZURITE_ACCOUNT not in str(raised.value)
