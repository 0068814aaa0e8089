"""All sixteen pairs of stores over running emulators: content, names and metadata arrive; twice changes nothing."""

from __future__ import annotations

import contextlib
import gzip
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skyferry.checksums import digest
from skyferry.metadata import restore_metadata
from skyferry.object_transfer import SMALL_OBJECT_BYTES
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.report import Report
from skyferry.request import request_from_conf
from skyferry.stages import Run, copy_batch, plan_transfer, report_transfer
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.urls import Location, parse_location
from stack.running import Endpoint
from tests.contract.conftest import open_azure, open_gcs, open_s3
from tests.engine.meddling import MeddledStore

KINDS = ("s3", "az", "gs", "file")
RICH = ObjectMetadata(
    content_type="text/csv",
    content_language="de",
    content_disposition='attachment; filename="a.csv"',
    cache_control="max-age=60",
    user={"owner": "data-team", "with-dash": "x"},
    tags={"state": "raw", "year": "2026"},
)
OBJECTS: dict[str, tuple[bytes, ObjectMetadata]] = {
    "empty": (b"", ObjectMetadata()),
    "one-byte": (b"1", ObjectMetadata()),
    "rich.csv": (b"a,b\n1,2\n", RICH),
    "packed.csv.gz": (gzip.compress(b"a,b\n" * 500, mtime=0), ObjectMetadata(content_encoding="gzip")),
    "deep/er/ünïcode +%2B&=#?;@$,é {{ 6*7 }} %s.txt": (b"names are data", ObjectMetadata()),
    "one-part": (bytes(range(256)) * (SMALL_OBJECT_BYTES // 256), ObjectMetadata()),
    "one-part-and-a-byte": (bytes(range(256)) * (SMALL_OBJECT_BYTES // 256) + b"!", RICH),
}


class Stores:
    """Opens any store of the local emulators; a `StoreOpener` that counts what is read over the network."""

    def __init__(self, makers: dict[str, Callable[[str], Store]]) -> None:
        self._makers = makers
        self.bytes_read = 0

    @asynccontextmanager
    async def __call__(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        store = self._makers[location.kind](location.bucket)
        yield store if location.kind == "file" else MeddledStore(store, trusted=False, read_range=self._count)

    async def _count(self, method: Any, info: ObjectInfo, start_byte: int, size_bytes: int) -> bytes:
        self.bytes_read += size_bytes
        body: bytes = await method(info, start_byte, size_bytes)
        return body


@pytest.fixture
async def stores(moto: Endpoint, azurite: Endpoint, fake_gcs: Endpoint) -> AsyncIterator[Stores]:
    async with contextlib.AsyncExitStack() as stack:
        yield Stores(
            {
                "s3": await stack.enter_async_context(open_s3(moto.url)),
                "az": await stack.enter_async_context(open_azure(azurite.url)),
                "gs": await stack.enter_async_context(open_gcs(fake_gcs.url)),
                "file": lambda bucket: LocalStore(Path(bucket)),
            }
        )


def new_url(kind: str, folder: Path) -> str:
    name = f"pair-{secrets.token_hex(6)}"
    return f"file://{folder}/{name}" if kind == "file" else f"{kind}://{name}/deep/prefix/"


async def fill(store: Store, prefix: str) -> None:
    await store.create_bucket()
    for key, (body, metadata) in OBJECTS.items():
        digests = await digest(body, store.capabilities.digests)
        fitted = metadata if store.kind == "s3" else _plain(metadata)
        if len(body) <= SMALL_OBJECT_BYTES:
            await store.put_object(prefix + key, body, metadata=fitted, digests=digests, replaces=None)
        else:
            await _upload(store, prefix + key, body, fitted)


def _plain(metadata: ObjectMetadata) -> ObjectMetadata:
    """What every store can hold as it is."""
    user = {key: value for key, value in metadata.user.items() if "-" not in key}
    return ObjectMetadata(content_type=metadata.content_type, content_encoding=metadata.content_encoding, user=user)


async def _upload(store: Store, key: str, body: bytes, metadata: ObjectMetadata) -> None:
    upload = await store.start_upload(
        key, size_bytes=len(body), part_bytes=SMALL_OBJECT_BYTES, metadata=metadata, replaces=None
    )
    for index, start in enumerate(range(0, len(body), SMALL_OBJECT_BYTES)):
        part = body[start : start + SMALL_OBJECT_BYTES]
        await upload.put_part(index, part, await digest(part, upload.part_digests))
    await upload.commit(await digest(body, store.capabilities.digests))


async def run(stores: Stores, state: Path, run_id: str, **conf: Any) -> Report:
    request = request_from_conf(conf)
    common: dict[str, Any] = {
        "request": request,
        "run": Run(dag_id="transfer", run_id=run_id, route="pair", started_at="2026-01-01T00:00:00+00:00"),
        "open_store": stores,
        "state": parse_location(f"file://{state}"),
        "state_conn_id": "",
    }
    for batch in (await plan_transfer(**common)).batches:
        (await copy_batch(batch, attempt=1, **common)).raise_if_failed()
    report = await report_transfer(**common)
    report.raise_if_incomplete()
    return report


async def contents(stores: Stores, url: str) -> dict[str, bytes]:
    location = parse_location(url)
    found: dict[str, bytes] = {}
    async with stores(location, "") as store:
        async for info in store.list_objects(location.prefix):
            found[info.key.removeprefix(location.prefix)] = (await store.read_object(info))[1]
    return found


@pytest.mark.parametrize("destination_kind", KINDS)
@pytest.mark.parametrize("source_kind", KINDS)
async def test_pair(source_kind: str, destination_kind: str, stores: Stores, tmp_path: Path) -> None:
    source, destination = new_url(source_kind, tmp_path), new_url(destination_kind, tmp_path)
    async with stores(parse_location(source), "") as store:
        await fill(store, parse_location(source).prefix)
    conf = {"source": source, "destination": destination, "create_destination": True}
    expected = {key: body for key, (body, _) in OBJECTS.items()}

    first = await run(stores, tmp_path / "state", "first", **conf)
    assert await contents(stores, destination) == expected
    assert (first.objects_copied, sum(first.verified_by.values())) == (len(OBJECTS), len(OBJECTS))
    assert set(first.verified_by) <= {"md5", "etag", "crc32c", "crc64nvme", "readback"}
    await _require_metadata(stores, source_kind, destination, first)

    stores.bytes_read = 0
    second = await run(stores, tmp_path / "state", "second", **conf)
    assert (second.objects_copied, second.skipped_by_reason) == (0, {"identical": len(OBJECTS)})

    assert stores.bytes_read == 0, "what lies there was compared by reading it"

    moved_to = new_url(destination_kind, tmp_path)
    move = {"source": source, "destination": moved_to, "create_destination": True, "copy": False}
    third = await run(stores, tmp_path / "state", "third", **move)
    assert (third.objects_copied, third.objects_deleted_at_source) == (len(OBJECTS), len(OBJECTS))
    assert await contents(stores, source) == {}
    assert await contents(stores, moved_to) == expected


async def _require_metadata(stores: Stores, source_kind: str, destination: str, report: Report) -> None:
    """What the destination can hold is there; what it cannot is counted as lost."""
    location = parse_location(destination)
    if location.kind == "file":
        assert bool(report.metadata_losses) == (source_kind != "file")
        return
    async with stores(location, "") as store:
        for key, (_, metadata) in OBJECTS.items():
            info = await store.stat(location.prefix + key)
            assert info is not None
            assert info.metadata is not None
            found = restore_metadata(info.metadata)
            if source_kind != "file":
                expected = metadata if source_kind == "s3" else _plain(metadata)
                assert found.content_encoding == expected.content_encoding
                assert dict(found.user) == dict(expected.user)
                assert dict(found.tags) == dict(expected.tags)
                if expected.content_type:
                    assert found.content_type == expected.content_type


async def test_a_note_does_not_delete_a_source(stores: Stores, tmp_path: Path) -> None:
    """Somebody rewrote the copy at equal size and kept its metadata: a move must not take the note for the content."""
    source, destination = new_url("s3", tmp_path), new_url("az", tmp_path)
    body = OBJECTS["one-part-and-a-byte"][0]
    location = parse_location(source)
    async with stores(location, "") as store:
        await store.create_bucket()
        await _upload(store, f"{location.prefix}k", body, ObjectMetadata())
    conf = {"source": source, "destination": destination, "create_destination": True}
    await run(stores, tmp_path / "state", "copy", **conf)
    there = parse_location(destination)
    async with stores(there, "") as store:
        found = await store.stat(f"{there.prefix}k")
        assert found is not None
        assert found.metadata is not None
        assert await store.delete_object(found)
        await _upload(store, found.key, body[::-1], found.metadata)
    report = await run(stores, tmp_path / "state", "move", **conf, copy=False)
    assert await contents(stores, destination) == {"k": body}
    assert (report.objects_copied, report.objects_deleted_at_source) == (1, 1)
