"""What a store says and does when the network, the service or its answers are at fault."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import traceback
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import pytest
from azure.storage.blob import ContainerSasPermissions, ContentSettings, generate_container_sas
from azure.storage.blob.aio import BlobServiceClient

from skyferry.checksums import base64_of, digest
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    ChecksumMismatchError,
    ConnectionLostError,
    DestinationChangedError,
    ObjectArchivedError,
    PermanentError,
    RetryableError,
    SizeMismatchError,
    SourceChangedError,
    ThrottledError,
    TransferError,
)
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.stores.gcs import GcsStore
from skyferry.stores.http_client import HttpClient
from skyferry.stores.http_requests import Line
from tests.conftest import AZURITE_ACCOUNT, AZURITE_KEY
from tests.contract.conftest import ACCESS_TOKEN, SECRET_KEY, Subject, open_azure
from tests.faults.proxy import (
    Fault,
    FaultProxy,
    Forward,
    Request,
    Response,
    answer,
    cut_reply,
    delay,
    drop_reply,
    fault_proxy,
    flip_reply_byte,
    flip_request_byte,
    refuse,
)

BODY = bytes(range(256)) * 40
_CHECKSUM = re.compile(rb"<ChecksumCRC64NVME>.*?</ChecksumCRC64NVME>")


def _proxy(subject: Subject) -> FaultProxy:
    assert subject.proxy is not None
    return subject.proxy


async def _stored(subject: Subject) -> ObjectInfo:
    """Store an object and return it as a listing describes it."""
    await subject.put("object", BODY)
    infos = [info async for info in subject.store.list_objects()]
    _proxy(subject).clear()
    return infos[0]


def _is_content(request: Request) -> bool:
    """Tell requests that carry an object's bytes from those that only describe it."""
    return request.method == "PUT" or "uploadType=multipart" in request.target


def _require_no_secret(error: BaseException) -> None:
    shown = "".join(traceback.format_exception(error)) + str(error) + repr(error)
    for secret in (AZURITE_KEY, ACCESS_TOKEN, SECRET_KEY, "Signature=", "SharedKey ", "Bearer ", "upload_id"):
        assert secret not in shown


# The service is at fault


@pytest.mark.parametrize("status", [503, 429])
async def test_throttling_says_how_long_to_wait(remote: Subject, status: int) -> None:
    info = await _stored(remote)
    _proxy(remote).inject(answer(status, headers={"Retry-After": "7"}, body=_error_body(remote, status, "SlowDown")))
    for request in (remote.store.read_object(info), remote.put("other", b"x"), remote.store.delete_object(info)):
        with pytest.raises(ThrottledError) as raised:
            await request
        assert raised.value.retry_after_seconds == 7
        _require_no_secret(raised.value)


async def test_server_fault_is_a_lost_connection_and_is_not_asked_again(remote: Subject) -> None:
    info = await _stored(remote)
    _proxy(remote).inject(answer(500, body=_error_body(remote, 500, "InternalError")))
    with pytest.raises(ConnectionLostError, match="object"):
        await remote.store.read_object(info)
    assert _proxy(remote).count("GET") == 1
    with pytest.raises(ConnectionLostError, match="other"):
        await remote.put("other", b"x")
    assert _proxy(remote).count("PUT") + _proxy(remote).count("POST") == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_name_the_right_that_is_needed(remote: Subject, status: int) -> None:
    info = await _stored(remote)
    _proxy(remote).inject(answer(status, body=_error_body(remote, status, "AccessDenied")))
    needs = {"s3": "s3:GetObject", "az": "SAS with the letter r", "gs": "storage.objects.get"}[remote.store.kind]
    with pytest.raises(AccessDeniedError, match=needs) as raised:
        await remote.store.read_object(info)
    assert remote.store.url("object") in str(raised.value)
    _require_no_secret(raised.value)


async def test_redirects_are_not_followed(remote: Subject) -> None:
    info = await _stored(remote)
    proxy = _proxy(remote)
    async with fault_proxy(proxy.url) as elsewhere:
        for status in (301, 302, 307, 308):
            proxy.clear()
            proxy.inject(answer(status, headers={"Location": f"{elsewhere.url}/latest/meta-data/"}))
            for request in (remote.store.read_object(info), remote.put("other", b"x")):
                with pytest.raises(TransferError):
                    await request
        assert elsewhere.requests == []


async def test_listing_that_repeats_itself_ends(remote: Subject) -> None:
    pages = {
        "s3": b"<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>",
        "az": b'<?xml version="1.0"?><EnumerationResults ContainerName="c"><Blobs/><NextMarker>again</NextMarker>'
        b"</EnumerationResults>",
        "gs": b'{"items": [], "nextPageToken": "again"}',
    }
    content_type = "application/json" if remote.store.kind == "gs" else "application/xml"
    page = answer(200, headers={"Content-Type": content_type}, body=pages[remote.store.kind])
    _proxy(remote).inject(page, times=10)
    with pytest.raises(ConnectionLostError, match="round in circles"):
        await remote.keys()
    assert _proxy(remote).count() <= 3


# The connection is at fault


@pytest.mark.parametrize("resets", [True, False])
async def test_reply_that_breaks_off_is_never_content(remote: Subject, resets: bool) -> None:
    info = await _stored(remote)
    _proxy(remote).inject(cut_reply(1_000, resets=resets))
    for request in (remote.store.read_object(info), remote.store.read_range(info, 0, 5_000)):
        with pytest.raises((ConnectionLostError, SizeMismatchError), match="object") as raised:
            await request
        _require_no_secret(raised.value)


async def test_reply_without_a_length_that_breaks_off_is_never_content(remote: Subject) -> None:
    info = await _stored(remote)
    _proxy(remote).inject(cut_reply(1_000, resets=False, announces_length=False))
    with pytest.raises((ConnectionLostError, SizeMismatchError), match="object"):
        await remote.store.read_object(info)
    with pytest.raises((ConnectionLostError, SizeMismatchError), match="object"):
        await remote.store.read_range(info, 0, 5_000)


async def test_read_succeeds_again_after_a_reset(remote: Subject) -> None:
    info = await _stored(remote)
    _proxy(remote).inject(refuse())
    with pytest.raises(ConnectionLostError, match="object"):
        await remote.store.read_object(info)
    # libcurl repeats a read when a pooled connection turns out to be closed, and the stores never do.
    assert _proxy(remote).count("GET") <= 2
    _proxy(remote).clear()
    assert (await remote.store.read_object(info))[1] == BODY


async def test_no_server_is_a_lost_connection(remote: Subject) -> None:
    info = await _stored(remote)
    _proxy(remote).inject(refuse())
    for request in _every_request(remote, info):
        with pytest.raises(ConnectionLostError) as raised:
            await request
        _require_no_secret(raised.value)


def _every_request(subject: Subject, info: ObjectInfo) -> list[Awaitable[Any]]:
    store = subject.store
    return [
        store.check_bucket(),
        store.create_bucket(),
        subject.keys(),
        store.stat("object"),
        store.read_object(info),
        store.read_range(info, 0, 1),
        subject.put("other", b"x"),
        subject.upload("other", b"x" * (subject.part_bytes + 1)),
        store.delete_object(info),
    ]


async def test_lost_reply_to_a_small_write_shows_up_as_our_own_object(remote: Subject) -> None:
    _proxy(remote).inject(drop_reply(), matches=_is_content, times=1)
    # Either the loss itself, or the conflict with ourselves that the HTTP client's repetition ran into.
    with pytest.raises((ConnectionLostError, DestinationChangedError), match="object"):
        await remote.put("object", BODY)
    with pytest.raises(DestinationChangedError, match="object"):
        await remote.put("object", BODY)
    assert await remote.content("object") == BODY


async def test_lost_reply_to_a_commit_shows_up_as_our_own_object(remote: Subject) -> None:
    body = BODY * (remote.part_bytes // len(BODY) + 1)
    commit = {"s3": ("POST", "uploadId="), "az": ("PUT", "comp=blocklist"), "gs": ("PUT", "upload_id=")}
    method, target = commit[remote.store.kind]
    is_last = "/*" if remote.store.kind == "gs" else "\0"
    _proxy(remote).inject(
        drop_reply(),
        method=method,
        target_contains=target,
        matches=lambda request: not request.header("Content-Range").endswith(is_last),
        times=1,
    )
    with pytest.raises((ConnectionLostError, DestinationChangedError), match="large"):
        await remote.upload("large", body)
    with pytest.raises(DestinationChangedError, match="large"):
        await remote.upload("large", body)
    assert await remote.content("large") == body


async def test_stream_that_breaks_fails_every_further_part_and_leaves_nothing(gs: Subject) -> None:
    body = bytes(4 * gs.part_bytes)
    _proxy(gs).inject(answer(503, headers={"Retry-After": "3"}), method="PUT")
    upload = await gs.store.start_upload(
        "large", size_bytes=len(body), part_bytes=gs.part_bytes, metadata=ObjectMetadata(), replaces=None
    )

    async def send() -> Committed:
        for index, part in enumerate(gs.parts(body)):
            await upload.put_part(index, part, {})
        return await upload.commit(await digest(body, {"crc32c"}))

    for _ in range(2):
        with pytest.raises(ThrottledError):
            await send()
    await upload.abort()
    assert await gs.store.stat("large") is None


async def test_stream_waits_for_a_slow_source(gs: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence counts from the end of what is sent, not from the start of the request."""
    monkeypatch.setattr("skyferry.stores.http_client.SILENCE_SECONDS", 0.3)
    body = bytes(4 * gs.part_bytes)
    upload = await gs.store.start_upload(
        "large", size_bytes=len(body), part_bytes=gs.part_bytes, metadata=ObjectMetadata(), replaces=None
    )
    for index, part in enumerate(gs.parts(body)):
        await upload.put_part(index, part, {})
        await asyncio.sleep(0.2)
    committed = await upload.commit(await digest(body, {"crc32c"}))
    assert committed.verified_by == "crc32c"


async def test_silence_is_given_up(remote: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    info = await _stored(remote)
    monkeypatch.setattr("skyferry.stores.http_requests.deadline_seconds", lambda size_bytes: 0.2)
    _proxy(remote).inject(delay(3))
    with pytest.raises(ConnectionLostError, match="object"):
        await remote.store.read_object(info)


async def _careless(request: Request, forward: Forward) -> Response:
    """An endpoint that ignores conditions and ranges of reads."""
    ignored = ("if-match", "range")
    return await forward(
        replace(request, headers=tuple(pair for pair in request.headers if pair[0].lower() not in ignored))
    )


async def test_s3_endpoint_that_ignores_conditions_and_ranges_gives_no_other_content(
    s3: Subject,
) -> None:
    info = await _stored(s3)
    _proxy(s3).inject(_careless, method="GET")
    with pytest.raises(SizeMismatchError, match="were asked for"):
        await s3.store.read_range(info, 0, 10)
    await s3.put("object", BODY[::-1], replaces=info)
    with pytest.raises(SourceChangedError, match="object"):
        await s3.store.read_object(info)


async def test_s3_checksum_that_is_neither_told_nor_found_leaves_an_object_that_is_there_to_be_read_back(
    s3: Subject,
) -> None:
    async def silent(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        told = ("x-amz-checksum-algorithm", "CRC64NVME")
        return replace(response, headers=(*response.headers, told), body=_CHECKSUM.sub(b"", response.body))

    body = BODY * 60
    _proxy(s3).inject(silent, method="POST", times=2)  # the upload begins, and is put together
    _proxy(s3).inject(answer(503), method="HEAD", times=1)
    committed = await s3.upload("large", body)
    assert _proxy(s3).count(method="HEAD") == 1
    assert committed.verified_by is None
    assert await s3.content("large") == body


# Bytes change on their way


async def test_flipped_byte_of_a_reply_does_not_fit_the_published_checksum(remote: Subject) -> None:
    await remote.put("object", BODY)
    info = await remote.store.stat("object")
    assert info is not None
    _proxy(remote).inject(flip_reply_byte(100), method="GET")
    read, content = await remote.store.read_object(info)
    algorithms = set(info.checksums) & {"md5", "crc32c", "crc64nvme"}
    assert algorithms
    assert await digest(content, algorithms) != {name: info.checksums[name] for name in algorithms}
    assert read.checksums == info.checksums


@pytest.mark.parametrize("previous", [None, b"previous content"])
async def test_flipped_byte_of_a_small_write_is_refused(remote: Subject, previous: bytes | None) -> None:
    replaces = (await remote.put("object", previous)).info if previous else None
    _proxy(remote).inject(flip_request_byte(-200), matches=_is_content)
    with pytest.raises(ChecksumMismatchError, match="object") as raised:
        await remote.put("object", BODY, replaces=replaces)
    _require_no_secret(raised.value)
    assert await remote.content("object") == previous


async def test_flipped_byte_of_a_part_is_refused(remote: Subject) -> None:
    body = BODY * (2 * remote.part_bytes // len(BODY))
    _proxy(remote).inject(flip_request_byte(5_000), method="PUT", times=1)
    with pytest.raises(ChecksumMismatchError, match="large"):
        await remote.upload("large", body)
    assert await remote.store.stat("large") is None
    assert await remote.keys() == []


async def test_flipped_byte_that_a_service_does_not_notice_is_no_evidence(remote: Subject) -> None:
    """As with S3-compatible endpoints and emulators that check nothing: here the checks are beneath the flip."""
    if remote.store.kind == "az":
        pytest.skip("Azurite checks by itself")
    proxy = _proxy(remote)
    proxy.always = _without_declared_checksums()
    proxy.inject(flip_request_byte(-200), matches=_is_content)
    try:
        committed = await remote.put("object", BODY)
    except ChecksumMismatchError:
        assert remote.store.kind == "gs"
        assert await remote.store.stat("object") is None
    else:
        assert committed.verified_by is None


async def test_parts_are_proven_by_etags_where_an_s3_endpoint_knows_no_checksums(s3: Subject) -> None:
    proxy = _proxy(s3)
    proxy.always = _without_declared_checksums()
    body = BODY * (2 * s3.part_bytes // len(BODY))
    assert (await s3.upload("large", body)).verified_by == "etag"
    proxy.inject(flip_request_byte(5_000), target_contains="partNumber=1", times=1)
    flipped = await s3.upload("flipped", body)
    assert flipped.verified_by is None


async def test_an_s3_endpoint_that_stored_other_bytes_than_it_checked_is_no_evidence(s3: Subject) -> None:
    """It says that it checks parts, takes one that was flipped beneath, and tells the checksum of what it has."""
    body = BODY * (2 * s3.part_bytes // len(BODY))
    proxy = _proxy(s3)
    proxy.always = None
    proxy.inject(flip_request_byte(5_000), target_contains="partNumber=1", times=1)
    assert (await s3.upload("large", body)).verified_by is None


def _without_declared_checksums() -> Fault:
    async def fault(request: Request, forward: Forward) -> Response:
        headers = tuple(pair for pair in request.headers if not pair[0].lower().startswith("x-amz-checksum"))
        return await forward(replace(request, headers=headers))

    return fault


async def test_gcs_deletes_wrong_content_that_a_session_showed(gs: Subject) -> None:
    """An endpoint that ignores X-Goog-Hash shows the object; the answer's CRC32C gives it away."""
    proxy = _proxy(gs)
    proxy.always = None
    proxy.inject(flip_request_byte(-1), method="PUT")
    with pytest.raises(ChecksumMismatchError, match="that generation was removed again"):
        await gs.upload("large", BODY * 60)
    assert await gs.store.stat("large") is None


# What goes over the wire, where an emulator does not mind its absence


async def test_azure_declares_a_checksum_of_every_body(az: Subject) -> None:
    await az.put("small", BODY)
    await az.upload("large", BODY * 60)
    small, *blocks = [
        request for request in _proxy(az).requests if request.method == "PUT" and "blocklist" not in request.target
    ]
    assert len(blocks) == 3
    assert small.header("Content-MD5") == base64_of((await digest(BODY, {"md5"}))["md5"])
    for request in blocks:
        crc64 = bytes.fromhex((await digest(request.body, {"crc64nvme"}))["crc64nvme"])
        assert request.header("x-ms-content-crc64") == base64.b64encode(crc64[::-1]).decode()


async def test_azure_block_whose_answer_names_another_checksum_is_not_taken(az: Subject) -> None:
    _proxy(az).inject(answer(201, headers={"x-ms-content-crc64": "AAAAAAAAAAA="}), target_contains="comp=block&")
    with pytest.raises(ChecksumMismatchError, match="part 1 of .* was stored with crc64 AAAAAAAAAAA="):
        await az.upload("large", BODY * 60)
    assert await az.store.stat("large") is None


async def test_azure_keeps_the_md5_of_a_large_object(az: Subject) -> None:
    await az.upload("large", BODY * 60)
    found = await az.store.stat("large")
    assert found is not None
    assert found.checksums == await digest(BODY * 60, {"md5"})


async def test_azure_block_names_hold_number_and_checksums_and_have_one_length(az: Subject) -> None:
    await az.upload("large", BODY * 60)
    blocks = [request for request in _proxy(az).requests if "comp=block&" in request.target]
    names = [base64.b64decode(unquote(request.target.split("blockid=")[1].split("&")[0])) for request in blocks]
    sums = [await digest(request.body, {"crc64nvme", "crc32c"}) for request in blocks]
    expected = [
        f"{index:05d}-{one['crc64nvme']}{one['crc32c']}{len(request.body):08x}"
        for index, (one, request) in enumerate(zip(sums, blocks, strict=True))
    ]
    assert [name.decode() for name in names] == expected
    assert {len(name) for name in names} == {38}


async def test_gcs_pins_every_request_and_asks_for_raw_bytes(gs: Subject) -> None:
    first = await _stored(gs)
    await gs.store.read_object(first)
    await gs.store.read_range(first, 5, 5)
    await gs.upload("object", BODY * 60, replaces=first)
    requests = [request for request in _proxy(gs).requests if "upload_id" not in request.target]
    assert len(requests) == 3
    for request in requests:
        assert f"ifGenerationMatch={first.etag}" in request.target
    assert [request.header("Accept-Encoding") for request in requests[:2]] == ["gzip", "gzip"]
    last = _proxy(gs).requests[-1]
    assert last.header("X-Goog-Hash") == f"crc32c={base64_of((await digest(BODY * 60, {'crc32c'}))['crc32c'])}"


async def test_gcs_encodes_keys_once_and_slashes_too(gs: Subject) -> None:
    await gs.store.stat("a/../b c?d#e%2F+\u00e9")
    path = _proxy(gs).requests[0].target.split("?")[0]
    assert path.endswith("/o/a%2F..%2Fb%20c%3Fd%23e%252F%2B%C3%A9")


# Secrets


async def test_gcs_session_address_is_not_shown(gs: Subject) -> None:
    """It lets whoever has it write the object; the text of an HTTP client's error about a malformed answer holds it."""
    _proxy(gs).inject(answer(200, headers={"Bad Header\0": "x"}), method="PUT")
    with pytest.raises(ConnectionLostError, match="large") as raised:
        await gs.upload("large", BODY)
    _require_no_secret(raised.value)


async def test_azure_sas_works_and_is_not_shown(az: Subject) -> None:
    sas = generate_container_sas(
        AZURITE_ACCOUNT,
        az.store.bucket,
        account_key=AZURITE_KEY,
        permission=ContainerSasPermissions(read=True, list=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    signature = parse_qs(sas)["sig"][0]
    async with open_azure(_proxy(az).url, sas=sas) as opened:
        limited = replace(az, store=opened(az.store.bucket))
        info = (await limited.put("object", BODY)).info
        await limited.store.check_bucket()
        assert await limited.content("object") == BODY
        denied = [limited.store.delete_object(info), limited.put("object", b"x", replaces=info)]
        for request in denied:
            with pytest.raises(AccessDeniedError, match="SAS with the letters") as raised:
                await request
            _require_no_sas(raised.value, signature)
        _proxy(az).inject(answer(200, headers={"Bad Header\0": "x"}))
        for request in _every_request(limited, info):
            with pytest.raises(ConnectionLostError) as lost:
                await request
            _require_no_sas(lost.value, signature)


def _require_no_sas(error: BaseException, signature: str) -> None:
    shown = "".join(traceback.format_exception(error)) + str(error) + repr(error)
    assert signature not in shown
    assert quote(signature, safe="") not in shown
    assert "sig=" not in shown


# One vendor's own


async def test_azure_archived_blob_is_named_as_such(az: Subject) -> None:
    info = await _stored(az)
    _proxy(az).inject(answer(409, headers={"x-ms-error-code": "BlobArchived"}))
    with pytest.raises(ObjectArchivedError, match="rehydration"):
        await az.store.read_object(info)


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (412, "LeaseIdMissing", "end the lease"),
        (409, "BlobTypeMismatch", "append or page blob"),
        (400, "InvalidBlobOrBlock", "unfinished blocks"),
        (409, "BlobImmutableDueToPolicy", "immutability"),
    ],
)
async def test_azure_obstacles_say_what_to_do(az: Subject, status: int, code: str, text: str) -> None:
    _proxy(az).inject(answer(status, headers={"x-ms-error-code": code}))
    with pytest.raises(PermanentError, match=text):
        await az.put("object", b"x")


async def test_azure_md5_of_an_append_blob_is_no_checksum(az: Subject) -> None:
    account_url = f"{_proxy(az).url}/{AZURITE_ACCOUNT}"
    async with BlobServiceClient(account_url, credential=AZURITE_KEY) as client:
        blob = client.get_blob_client(az.store.bucket, "log")
        await blob.create_append_blob(content_settings=ContentSettings(content_md5=bytearray(16)))
        await blob.append_block(b"content")
    info = await az.store.stat("log")
    assert info is not None
    assert info.checksums == {}
    assert [listed.checksums async for listed in az.store.list_objects()] == [{}]
    read, content = await az.store.read_object(info)
    assert (read.checksums, content) == ({}, b"content")


async def test_azure_folders_of_a_hierarchical_namespace_are_no_objects(az: Subject) -> None:
    await az.put("folder", b"", metadata=ObjectMetadata(user={"hdi_isfolder": "true"}))
    await az.put("folder/object", BODY)
    listed = {info.key: info.unreadable_because async for info in az.store.list_objects()}
    assert listed == {"folder": "it is a folder of the account's hierarchical namespace", "folder/object": ""}
    folder = await az.store.stat("folder")
    assert folder is not None
    assert folder.unreadable_because


async def test_azure_tags_that_may_not_be_read_are_reported(az: Subject) -> None:
    info = (await az.put("object", BODY, metadata=ObjectMetadata(tags={"a": "b", "c": "d"}))).info
    _proxy(az).inject(
        answer(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"}), target_contains="comp=tags"
    )
    read, content = await az.store.read_object(info)
    assert content == BODY
    assert read.metadata is not None
    assert read.metadata.tags == {}
    assert read.metadata.withheld == (
        "2 tags could not be read: that needs Storage Blob Data Owner, or a SAS with the letter t",
    )


async def test_azure_reads_tags_only_of_blobs_that_have_some(az: Subject) -> None:
    info = await _stored(az)
    await az.store.read_object(info)
    assert [request.method for request in _proxy(az).requests] == ["GET"]


async def test_azure_writes_a_small_object_over_the_blocks_of_a_given_up_upload(az: Subject) -> None:
    upload = await az.store.start_upload(
        "object", size_bytes=20, part_bytes=10, metadata=ObjectMetadata(), replaces=None
    )
    await upload.put_part(0, b"0123456789", await digest(b"0123456789", upload.part_digests))
    await upload.abort()
    for key, body in (("object", b""), ("object", b"content")):
        current = await az.store.stat(key)
        await az.put(key, body, replaces=current)
        assert await az.content(key) == body


async def test_gcs_reads_a_listed_object_with_one_request(gs: Subject) -> None:
    info = await _stored(gs)
    await gs.store.read_object(info)
    assert _proxy(gs).count() == 1


async def test_gcs_notices_another_generation_by_the_reply(gs: Subject) -> None:
    """For endpoints that ignore `ifGenerationMatch` on reads, as fake-gcs-server does."""
    old = await _stored(gs)
    await gs.put("object", BODY[::-1], replaces=old)
    _proxy(gs).always = None
    with pytest.raises(SourceChangedError, match="object"):
        await gs.store.read_object(old)


async def test_gcs_session_stays_at_the_endpoint_of_the_connection(gs: Subject) -> None:
    async with fault_proxy(_proxy(gs).url) as elsewhere:

        async def misdirect(request: Request, forward: Forward) -> Response:
            response = await forward(request)
            path = response.header("Location").split("/upload/", 1)[1]
            headers = tuple(pair for pair in response.headers if pair[0].lower() != "location")
            return replace(response, headers=(*headers, ("Location", f"{elsewhere.url}/upload/{path}")))

        _proxy(gs).inject(misdirect, method="POST", target_contains="uploadType=resumable")
        await gs.upload("large", BODY * 60)
        assert elsewhere.requests == []


async def test_gcs_sends_its_token_with_every_request(gs: Subject) -> None:
    await gs.upload("large", BODY * 60)
    await gs.content("large")
    assert {request.header("Authorization") for request in _proxy(gs).requests} == {f"Bearer {ACCESS_TOKEN}"}


async def test_gcs_credentials_that_give_no_token_are_access_denied(gs: Subject) -> None:
    class RefreshError(Exception):
        """As google.auth raises it: the text holds the token endpoint's answer."""

        retryable = False

    async def token() -> str | None:
        raise RefreshError(f"invalid_grant {ACCESS_TOKEN}")

    async with HttpClient() as client:
        store = GcsStore(Line(client=client), token, gs.store.bucket, endpoint=_proxy(gs).url)
        with pytest.raises(AccessDeniedError, match="RefreshError") as raised:
            await store.stat("object")
    _require_no_secret(raised.value)
    assert _proxy(gs).requests == []


async def test_gcs_says_which_of_bucket_and_object_is_missing(gs: Subject) -> None:
    message = "The specified bucket does not exist."
    body = json.dumps({"error": {"code": 404, "message": message, "errors": [{"reason": "notFound"}]}}).encode()
    info = await _stored(gs)
    _proxy(gs).inject(answer(404, body=body))
    with pytest.raises(BucketMissingError):
        await gs.store.read_object(info)


async def test_gcs_rate_limit_in_a_403_is_throttling(gs: Subject) -> None:
    body = json.dumps({"error": {"code": 403, "message": "x", "errors": [{"reason": "rateLimitExceeded"}]}}).encode()
    _proxy(gs).inject(answer(403, body=body))
    with pytest.raises(ThrottledError):
        await gs.store.stat("object")


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", b"[]", b"{}", b'{"name": "object"}'])
async def test_gcs_answer_that_is_no_description_is_a_lost_connection(gs: Subject, body: bytes) -> None:
    """As a captive portal or a proxy gives it, with status 200."""
    _proxy(gs).inject(answer(200, body=body))
    for request in (gs.put("object", b"x"), gs.store.stat("object")):
        with pytest.raises(ConnectionLostError, match="object failed: the answer"):
            await request


async def test_gcs_expired_session_is_retryable(gs: Subject) -> None:
    _proxy(gs).inject(answer(410), method="PUT")
    with pytest.raises(RetryableError, match="session is gone"):
        await gs.upload("large", b"x")


def _error_body(subject: Subject, status: int, code: str) -> bytes:
    if subject.store.kind == "gs":
        return json.dumps({"error": {"code": status, "message": code, "errors": [{"reason": code}]}}).encode()
    return f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>m</Message></Error>'.encode()
