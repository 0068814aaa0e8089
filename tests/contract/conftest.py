"""The stores under test: each over a real emulator (or folder), the remote ones behind a fault proxy."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from skyferry.checksums import digest
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.stores.azure import AzureStore
from skyferry.stores.azure_api import AzureApi
from skyferry.stores.azure_signing import Anonymous, SharedKey
from skyferry.stores.base import Store
from skyferry.stores.gcs import GcsStore
from skyferry.stores.http_client import HttpClient
from skyferry.stores.http_requests import Line
from skyferry.stores.local import LocalStore
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_session import DirectSession, client_api
from stack.running import Endpoint
from tests.conftest import AZURITE_ACCOUNT, AZURITE_KEY
from tests.faults.gcs_front import cloud_storage
from tests.faults.proxy import Fault, FaultProxy, fault_proxy
from tests.faults.s3_front import simple_storage

KINDS = ("s3", "az", "gs", "file")
REMOTE_KINDS = ("s3", "az", "gs")
ACCESS_TOKEN = "ya29.sentinel-access-token"
SECRET_KEY = "sentinel-secret-key"


@dataclass(frozen=True)
class Subject:
    """A store with an empty bucket.

    Attributes:
        proxy: What stands between the store and its emulator; None for local folders.
        open: Makes a store of another bucket behind the same connection.
    """

    store: Store
    proxy: FaultProxy | None
    open: Callable[[str], Store]

    @property
    def part_bytes(self) -> int:
        """The smallest part worth testing with."""
        return max(self.store.capabilities.min_part_bytes, 256 * 1024)

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        metadata: ObjectMetadata | None = None,
        replaces: ObjectInfo | None = None,
    ) -> Committed:
        digests = await digest(body, self.store.capabilities.digests)
        return await self.store.put_object(
            key, body, metadata=metadata or ObjectMetadata(), digests=digests, replaces=replaces
        )

    async def upload(
        self,
        key: str,
        body: bytes,
        *,
        metadata: ObjectMetadata | None = None,
        replaces: ObjectInfo | None = None,
    ) -> Committed:
        upload = await self.store.start_upload(
            key,
            size_bytes=len(body),
            part_bytes=self.part_bytes,
            metadata=metadata or ObjectMetadata(),
            replaces=replaces,
        )
        for index, part in enumerate(self.parts(body)):
            await upload.put_part(index, part, await digest(part, upload.part_digests))
        return await upload.commit(await digest(body, self.store.capabilities.digests))

    def parts(self, body: bytes) -> list[bytes]:
        return [body[start : start + self.part_bytes] for start in range(0, len(body), self.part_bytes)]

    async def content(self, key: str) -> bytes | None:
        info = await self.store.stat(key)
        return None if info is None else (await self.store.read_object(info))[1]

    async def keys(self, prefix: str = "", start_after: str = "") -> list[str]:
        return [info.key async for info in self.store.list_objects(prefix, start_after=start_after)]


@pytest.fixture(params=KINDS)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with _subject(request.param, request, tmp_path) as made:
        yield made


@pytest.fixture(params=REMOTE_KINDS)
async def remote(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with _subject(request.param, request, tmp_path) as made:
        yield made


@pytest.fixture
async def s3(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with _subject("s3", request, tmp_path) as made:
        yield made


@pytest.fixture
async def az(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with _subject("az", request, tmp_path) as made:
        yield made


@pytest.fixture
async def gs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with _subject("gs", request, tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def _subject(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Subject]:
    async with contextlib.AsyncExitStack() as stack:
        proxy: FaultProxy | None = None
        if kind == "file":
            made = _open_local(folder)
        else:
            emulator: Endpoint = request.getfixturevalue({"s3": "moto", "az": "azurite", "gs": "fake_gcs"}[kind])
            always: Fault | None = {"s3": simple_storage(), "gs": cloud_storage()}.get(kind)
            proxy = await stack.enter_async_context(fault_proxy(emulator.url, always=always))
            made = await stack.enter_async_context(_OPENERS[kind](proxy.url))
        store = made(f"contract-{secrets.token_hex(6)}")
        await store.create_bucket()
        if proxy is not None:
            proxy.clear()
        yield Subject(store, proxy, made)


def _open_local(folder: Path) -> Callable[[str], Store]:
    return lambda bucket: LocalStore(folder / bucket)


@contextlib.asynccontextmanager
async def s3_client(url: str) -> AsyncIterator[Any]:
    config = AioConfig(
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        read_timeout=10,
        http_session_cls=DirectSession,
    )
    async with get_session().create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIASENTINEL",
        aws_secret_access_key=SECRET_KEY,
        config=config,
    ) as client:
        yield client


@contextlib.asynccontextmanager
async def open_s3(url: str) -> AsyncIterator[Callable[[str], Store]]:
    async with s3_client(url) as client:
        yield lambda bucket: S3Store(client_api(client, bucket), bucket, "us-east-1")


@contextlib.asynccontextmanager
async def open_azure(url: str, key: str = AZURITE_KEY, *, sas: str = "") -> AsyncIterator[Callable[[str], Store]]:
    account_url = f"{url}/{AZURITE_ACCOUNT}?{sas}"
    authority = Anonymous() if sas else SharedKey(AZURITE_ACCOUNT, key)
    async with HttpClient() as client:
        line = Line(client=client)
        yield lambda bucket: AzureStore(AzureApi(line, account_url, bucket, authority=authority), bucket)


@contextlib.asynccontextmanager
async def open_gcs(url: str) -> AsyncIterator[Callable[[str], Store]]:
    async def token() -> str | None:
        return ACCESS_TOKEN

    async with HttpClient() as client:
        yield lambda bucket: GcsStore(Line(client=client), token, bucket, endpoint=url, project_id="test")


_OPENERS = {"s3": open_s3, "az": open_azure, "gs": open_gcs}
