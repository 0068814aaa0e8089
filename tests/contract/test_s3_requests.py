"""Requests to S3 go where botocore would send them, signed as botocore would sign them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from skyferry.checksums import digest
from skyferry.errors import (
    AccessDeniedError,
    ConnectionConfigError,
    ConnectionLostError,
    PermanentError,
    TransferError,
)
from skyferry.objects import ObjectMetadata
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_session import ClientPlaces, DirectSession, client_api
from tests.contract.conftest import SECRET_KEY, Subject
from tests.contract.test_store_contract import HOSTILE_KEYS, REMOTE_HOSTILE_KEYS
from tests.faults.proxy import FaultProxy, Forward, Request, Response, answer, fault_proxy


def hostile_keys() -> list[str]:
    folder = os.environ.get("SKYFERRY_CORPORA")
    keys = [*HOSTILE_KEYS, *REMOTE_HOSTILE_KEYS, "a/../b", "./a", "//", "%", "~", "a\r\nb", "\x01"]
    if folder:
        entries = json.loads((Path(folder) / "object-keys" / "keys.json").read_text(encoding="utf-8"))["keys"]
        keys += [entry["key"] for entry in entries if entry.get("key")]
    return [key for key in dict.fromkeys(keys) if key.encode("utf-8", "ignore").decode() == key]


@asynccontextmanager
async def client_of(**options: Any) -> AsyncIterator[Any]:
    settings = options.pop("config", {})
    keys = {"aws_access_key_id": "AKIASENTINEL", "aws_secret_access_key": SECRET_KEY}
    config = AioConfig(http_session_cls=DirectSession, retries={"total_max_attempts": 1}, **settings)
    async with get_session().create_client(
        "s3", **keys | {"region_name": "us-east-1"} | options, config=config
    ) as made:
        yield made


def resigned(request: Request, origin: str, *, token: str | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the `Authorization` botocore would give to a request that was sent."""
    headers = {name: value for name, value in request.headers if name.lower() in signed_names(request)}
    sent = datetime.strptime(request.header("X-Amz-Date"), "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 - as botocore has it
    monkeypatch.setattr(auth, "get_current_datetime", lambda: sent)
    anew = AWSRequest(method=request.method, url=origin + request.target, headers=headers, data=request.body)
    signer = auth.S3SigV4Auth(Credentials("AKIASENTINEL", SECRET_KEY, token), "s3", "us-east-1")
    signer.add_auth(anew)
    return str(anew.headers["Authorization"])


def signed_names(request: Request) -> set[str]:
    return set(request.header("Authorization").partition("SignedHeaders=")[2].partition(",")[0].split(";"))


@pytest.mark.parametrize("token", [None, "a-session-token/+="])
async def test_signatures_are_botocore_s(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.inject(answer(404))
        options = {"endpoint_url": proxy.url, "aws_session_token": token}
        async with client_of(config={"s3": {"addressing_style": "path"}}, **options) as client:
            store = S3Store(client_api(client, "bucket"), "bucket", "us-east-1")
            for key in hostile_keys():
                await ask_everything(store, key)
        assert len(proxy.requests) == 3 * len(hostile_keys())
        for request in proxy.requests:
            expected = resigned(request, proxy.url, token=token, monkeypatch=monkeypatch)
            assert request.header("Authorization") == expected, request.target


async def ask_everything(store: S3Store, key: str) -> None:
    """Send a read, a write with a body and a listing for a key, which all find nothing."""
    assert await store.stat(key) is None
    body = key.encode()
    metadata = ObjectMetadata(
        content_type="text/plain; charset=utf-8", user={"note": "two  spaces"}, tags={"a b": "c+d"}
    )
    with pytest.raises(TransferError):
        await store.put_object(
            key, body, metadata=metadata, digests=await digest(body, store.capabilities.digests), replaces=None
        )
    with pytest.raises(TransferError):
        _ = [info async for info in store.list_objects(key, start_after=key)]


PLACES: tuple[tuple[dict[str, Any], dict[str, Any], str, tuple[str, str]], ...] = (
    ({}, {}, "shop", ("https://shop.s3.amazonaws.com", "us-east-1")),
    ({"region_name": "eu-central-1"}, {}, "shop", ("https://shop.s3.eu-central-1.amazonaws.com", "eu-central-1")),
    ({"region_name": "cn-north-1"}, {}, "shop", ("https://shop.s3.cn-north-1.amazonaws.com.cn", "cn-north-1")),
    ({"region_name": "eu-west-1"}, {}, "a.b", ("https://s3.eu-west-1.amazonaws.com/a.b", "eu-west-1")),
    (
        *({"region_name": "eu-west-1"}, {"s3": {"use_accelerate_endpoint": True}}, "shop"),
        ("https://shop.s3-accelerate.amazonaws.com", "eu-west-1"),
    ),
    (
        *({"region_name": "eu-west-1"}, {"use_dualstack_endpoint": True}, "shop"),
        ("https://shop.s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1"),
    ),
    (
        *({"region_name": "us-west-2"}, {"use_fips_endpoint": True}, "shop"),
        ("https://shop.s3-fips.us-west-2.amazonaws.com", "us-west-2"),
    ),
    (
        *({}, {}, "arn:aws:s3:eu-west-1:123456789012:accesspoint/orders"),
        ("https://orders-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "eu-west-1"),
    ),
    ({"endpoint_url": "http://[::1]:9000/base"}, {}, "shop", ("http://[::1]:9000/base/shop", "us-east-1")),
    (
        *({"endpoint_url": "https://minio:9000"}, {"s3": {"addressing_style": "virtual"}}, "shop"),
        ("https://shop.minio:9000", "us-east-1"),
    ),
)


@pytest.mark.parametrize(("options", "config", "bucket", "expected"), PLACES)
async def test_requests_go_where_botocore_would_send_them(
    options: dict[str, Any], config: dict[str, Any], bucket: str, expected: tuple[str, str]
) -> None:
    async with client_of(config=config, **options) as client:
        place = await ClientPlaces(client, bucket).locate("")
    assert (place.base_url, place.region) == expected
    assert place.service == "s3"


async def test_proxies_are_the_connection_s() -> None:
    proxies = {"https": "http://proxy.example:3128"}
    async with client_of(config={"proxies": proxies}) as client:
        line = (await ClientPlaces(client, "shop").locate("")).line
    assert line.client.proxy is not None
    assert line.client.proxy.url == "http://proxy.example:3128"


async def test_unsigned_requests_carry_no_signature() -> None:
    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.inject(answer(404))
        async with client_of(config={"signature_version": botocore.UNSIGNED}, endpoint_url=proxy.url) as client:
            assert await S3Store(client_api(client, "bucket"), "bucket", "us-east-1").stat("key") is None
        names = {name.lower() for name, _ in proxy.requests[0].headers}
    assert names.isdisjoint({"authorization", "x-amz-date", "x-amz-security-token"})


@pytest.mark.parametrize(("config", "bucket"), [({"signature_version": "s3"}, "shop"), ({}, "shop--use1-az4--x-s3")])
async def test_other_signatures_are_refused_before_anything_is_sent(config: dict[str, Any], bucket: str) -> None:
    async with client_of(config=config) as client:
        with pytest.raises(ConnectionConfigError, match="only version 4 and none are supported"):
            await S3Store(client_api(client, bucket), bucket, "us-east-1").stat("key")


async def test_a_bucket_in_another_region_is_asked_there(s3: Subject) -> None:
    await s3.put("object", b"content")
    proxy = s3.proxy
    assert proxy is not None
    proxy.clear()

    async def redirects(request: Request, forward: Forward) -> Response:
        if "/eu-central-1/s3/" in request.header("Authorization"):
            return await forward(request)
        return Response(301, (("x-amz-bucket-region", "eu-central-1"), ("Location", f"{proxy.url}/taken")), b"")

    proxy.inject(redirects)
    assert await s3.content("object") == b"content"
    regions = [request.header("Authorization").split("/")[2] for request in proxy.requests]
    assert regions == ["us-east-1", "eu-central-1", "eu-central-1"]


async def test_a_region_that_redirects_for_ever_is_an_error(s3: Subject) -> None:
    proxy = proxy_of(s3)
    proxy.inject(answer(301, headers={"x-amz-bucket-region": "eu-central-1"}))
    with pytest.raises(PermanentError):
        await s3.store.stat("object")
    assert proxy.count() == 2


async def test_a_listing_with_a_document_type_is_refused(s3: Subject) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult><Prefix>&a;</Prefix></ListBucketResult>'
    proxy_of(s3).inject(answer(200, body=bomb))
    with pytest.raises(ConnectionLostError, match="no XML of a store"):
        await s3.keys()


async def test_keys_that_cannot_be_renewed_are_a_denied_access() -> None:
    class Expired:
        async def get_frozen_credentials(self) -> None:
            raise botocore.exceptions.CredentialRetrievalError(provider="sts", error_msg=SECRET_KEY)

    async with client_of(endpoint_url="http://127.0.0.1:9") as client:
        client._request_signer._credentials = Expired()
        with pytest.raises(
            AccessDeniedError, match=r"keys could not be renewed \(CredentialRetrievalError\)"
        ) as raised:
            await S3Store(client_api(client, "bucket"), "bucket", "us-east-1").stat("key")
    assert SECRET_KEY not in str(raised.value)


def proxy_of(subject: Subject) -> FaultProxy:
    assert subject.proxy is not None
    return subject.proxy
