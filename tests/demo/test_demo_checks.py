"""The demo's checks, over the emulators: each must find a fault that was made on purpose."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.checks import check_bucket, check_empty, check_report, check_untouched, same_content, sampled_keys, shortened
from demo.files import READ_BYTES, Original, digested
from demo.vendor_buckets import AzureContainer, GcsBucket, S3Bucket, VendorBucket, azure_service, gcs_client
from stack.environment import AZURITE_ACCOUNT, azurite_connection_string
from stack.running import Endpoint

_IN_PARTS = "large.bin"


@pytest.fixture
def originals(tmp_path: Path) -> dict[str, Original]:
    contents = {f"folder {number % 7}/{number}.bin": bytes([number]) * (number + 1) for number in range(60)}
    contents |= {"empty": b"", "name + % é.txt": b"odd name", _IN_PARTS: secrets.token_bytes(9 * 2**20)}
    originals = {}
    for key, content in contents.items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        originals[key] = digested(path)
    return originals


@pytest.fixture
def s3(moto: Endpoint) -> S3Bucket:
    return S3Bucket(f"demo-{secrets.token_hex(4)}", endpoint_url=moto.url)


@pytest.fixture(params=["s3", "az", "gs"])
def bucket(request: pytest.FixtureRequest) -> VendorBucket:
    name = f"demo-{secrets.token_hex(4)}"
    if request.param == "s3":
        return S3Bucket(name, endpoint_url=request.getfixturevalue("moto").url)
    if request.param == "az":
        url = f"{request.getfixturevalue('azurite').url}/{AZURITE_ACCOUNT}"
        return AzureContainer(name, service=azure_service(azurite_connection_string(url)))
    return GcsBucket(name, client=gcs_client(request.getfixturevalue("fake_gcs").url))


def _put(bucket: VendorBucket, key: str, path: Path) -> None:
    if isinstance(bucket, S3Bucket):
        bucket.put(key, path, progress=lambda sent: None)
    elif isinstance(bucket, AzureContainer):
        with path.open("rb") as stream:
            bucket._container.upload_blob(key, stream, overwrite=True)
    elif isinstance(bucket, GcsBucket):
        bucket._bucket.blob(key).upload_from_filename(str(path))


def _fill(bucket: VendorBucket, originals: dict[str, Original]) -> None:
    bucket.remove()
    bucket.create()
    for key, original in originals.items():
        _put(bucket, key, original.path)


def _check(bucket: VendorBucket, originals: dict[str, Original]) -> list[str]:
    return check_bucket(bucket, originals, sample=5, progress=lambda done, of: None).problems


def test_equal_content_passes_and_everything_was_compared(bucket: VendorBucket, originals: dict[str, Original]) -> None:
    _fill(bucket, originals)
    seen = []
    check = check_bucket(bucket, originals, sample=5, progress=lambda *step: seen.append(step))
    assert check.problems == []
    assert check.compared["read"] >= 6
    assert seen[-1] == (check.compared["read"], check.compared["read"])
    # What has no checksum at the store has been read: no object was compared by its size alone.
    told = check.compared["md5"] + check.compared["crc32c"]
    assert told + check.compared["read"] >= len(originals)
    if isinstance(bucket, S3Bucket):
        assert check.compared["md5"] == len(originals) - 1, "the etag of the one in parts is no MD5"


def test_missing_changed_and_additional_objects_are_found(
    bucket: VendorBucket, originals: dict[str, Original], tmp_path: Path
) -> None:
    _fill(bucket, {key: original for key, original in originals.items() if key != "folder 3/3.bin"})
    (tmp_path / "other").write_bytes(b"o" * originals["folder 4/4.bin"].size_bytes)
    _put(bucket, "folder 4/4.bin", tmp_path / "other")
    _put(bucket, "nobody/asked", tmp_path / "other")
    problems = "\n".join(_check(bucket, originals))
    assert f"{bucket.url}folder 3/3.bin is missing" in problems
    assert f"{bucket.url}nobody/asked should not be there" in problems
    assert f"{bucket.url}folder 4/4.bin has the md5" in problems
    assert "folder 5/5.bin" not in problems


def test_a_changed_byte_is_found_where_the_store_tells_no_checksum(
    s3: S3Bucket, originals: dict[str, Original], tmp_path: Path
) -> None:
    _fill(s3, originals)
    content = bytearray(originals[_IN_PARTS].path.read_bytes())
    content[-1] ^= 1
    (tmp_path / "flipped").write_bytes(content)
    s3.put(_IN_PARTS, tmp_path / "flipped", progress=lambda sent: None)
    assert _check(s3, originals) == [f"{s3.url}{_IN_PARTS} has other bytes than {originals[_IN_PARTS].path}"]


def test_a_missing_bucket_is_an_empty_one(bucket: VendorBucket, originals: dict[str, Original]) -> None:
    assert bucket.objects() == {}
    assert len(_check(bucket, originals)) == len(originals)
    assert check_empty(bucket) == []
    bucket.remove()


def test_removing_takes_everything_away(bucket: VendorBucket, originals: dict[str, Original]) -> None:
    _fill(bucket, originals)
    assert len(check_empty(bucket)) == len(originals)
    bucket.remove()
    assert bucket.objects() == {}


def test_touched_objects_are_found_even_when_the_content_is_the_same(
    bucket: VendorBucket, originals: dict[str, Original]
) -> None:
    _fill(bucket, {"empty": originals["empty"]})
    before = bucket.objects()
    assert check_untouched(bucket, before) == []
    time.sleep(1.1)  # S3 tells times in whole seconds, and the same content has the same etag
    _put(bucket, "empty", originals["empty"].path)
    _put(bucket, "name + % é.txt", originals["name + % é.txt"].path)
    assert check_untouched(bucket, before) == [
        f"{bucket.url}empty was touched",
        f"{bucket.url}name + % é.txt was touched",
    ]


@pytest.mark.parametrize(
    ("content", "same"),
    [
        (lambda body: [body], True),
        (lambda body: [body[:1], b"", body[1:]], True),
        (lambda body: [body[:-1]], False),
        (lambda body: [body, b"x"], False),
        (lambda body: [], False),
        (lambda body: [body[:READ_BYTES], b"x" + body[READ_BYTES + 1 :]], False),
    ],
)
def test_streams_are_compared_to_the_last_byte(
    tmp_path: Path, content: Callable[[bytes], list[bytes]], same: bool
) -> None:
    body = b"a" * (2 * READ_BYTES + 3)
    (tmp_path / "file").write_bytes(body)
    assert same_content(digested(tmp_path / "file"), iter(content(body))) is same


def test_the_sample_is_spread_and_has_the_largest() -> None:
    sizes = {f"{number:03d}": number for number in range(100)}
    keys = sampled_keys(sizes, 10)
    assert keys == [f"{number:03d}" for number in range(0, 100, 10)] + ["099"]
    assert sampled_keys({}, 10) == []
    assert set(sampled_keys({"a": 1, "b": 2}, 10)) == {"a", "b"}


def _report(originals: dict[str, Original]) -> dict[str, Any]:
    size_bytes = sum(original.size_bytes for original in originals.values())
    return {
        "state": "success",
        "objects_planned": len(originals),
        "objects_copied": len(originals),
        "objects_skipped": 0,
        "objects_refused": 0,
        "objects_failed": 0,
        "objects_deleted_at_source": 0,
        "bytes_copied": size_bytes,
        "verified_by": {"md5": len(originals)},
        "problems": [],
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"state": "failed"}, "state 'failed'; expected 'success'"),
        ({"objects_planned": 1}, "objects_planned 1"),
        ({"objects_deleted_at_source": 3}, "objects_deleted_at_source 3; expected 0"),
        ({"bytes_copied": 5}, "bytes_copied 5"),
        ({"verified_by": {"md5": 62}}, "62 copies were verified; expected 63"),
        ({"problems": ["s3://x/y was refused"]}, "s3://x/y was refused"),
    ],
)
def test_a_report_with_another_number_is_a_problem(
    originals: dict[str, Original], change: dict[str, Any], problem: str | None
) -> None:
    problems = check_report(_report(originals) | change, originals, copies=True, moves=False)
    assert (problem is None) == (problems == [])
    assert problem is None or problem in problems[0]


def test_no_report_at_all_is_a_problem(originals: dict[str, Original]) -> None:
    assert len(check_report({}, originals, copies=True, moves=True)) == 9


def test_of_many_problems_the_first_are_shown_with_the_number_of_the_others() -> None:
    assert shortened(["a", "b"]) == ["a", "b"]
    assert shortened([str(number) for number in range(25)])[-2:] == ["9", "... and 15 more"]
