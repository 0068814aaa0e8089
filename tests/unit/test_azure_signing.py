"""Requests to Azure are authorised as the SDK would authorise them."""

from __future__ import annotations

import random
import string
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy, _storage_header_sort

from skyferry.errors import AccessDeniedError, ConnectionConfigError
from skyferry.stores.azure_api import AzureApi
from skyferry.stores.azure_signing import Anonymous, AzureRequest, BearerTokens, SharedKey, _header_order
from skyferry.stores.http_client import HttpClient
from skyferry.stores.http_requests import Line

KEY = "c2VudGluZWw="
DATE = "Sat, 21 Nov 2026 09:00:00 GMT"
VENDOR_S = {"x-ms-date": DATE, "x-ms-version": "2021-12-02"}


def sdk_authorization(request: AzureRequest) -> str:
    """Return what the SDK's own policy signs the same request with."""
    url = f"https://account.blob.core.windows.net{request.path}"
    if request.query:
        url += "?" + urlencode(request.query, quote_via=quote)
    made = HttpRequest(request.method, url, headers=dict(request.headers))
    context = PipelineContext(SimpleNamespace())
    SharedKeyCredentialPolicy("account", KEY).on_request(PipelineRequest(made, context))
    return str(made.headers["Authorization"])


@pytest.mark.parametrize(
    "request_",
    [
        AzureRequest("GET", "/lake", {"restype": "container", "comp": "list", "prefix": "a b/&=?ü"}, VENDOR_S),
        AzureRequest("HEAD", "/lake/a%20b%2B%25%28%29~", {}, VENDOR_S),
        AzureRequest("GET", "/lake/key", {}, VENDOR_S | {"x-ms-range": "bytes=0-9", "If-Match": '"0x8D"'}),
        AzureRequest("PUT", "/account/lake/key", {}, VENDOR_S | {"Content-Length": "5", "Content-MD5": "abc="}),
        AzureRequest(
            "PUT", "/lake/key", {}, VENDOR_S | {"x-ms-meta-a_b": "1", "x-ms-meta-a1": "2", "x-ms-meta-Ab": "3"}
        ),
    ],
    ids=lambda request: f"{request.method} {request.path}",
)
async def test_signatures_are_the_sdk_s(request_: AzureRequest) -> None:
    signed = await SharedKey("account", KEY).headers(request_)
    assert signed["Authorization"] == sdk_authorization(request_)


def test_headers_are_sorted_as_the_sdk_sorts_them() -> None:
    numbers = random.Random(7)
    letters = string.ascii_lowercase + string.digits + "_"
    for _ in range(300):
        names = {"x-ms-meta-a" + "".join(numbers.choices(letters, k=numbers.randint(0, 4))) for _ in range(8)}
        names |= {"x-ms-date", "x-ms-version", "x-ms-blob-type", "x-ms-blob-content-md5", "x-ms-tags"}
        expected = [name for name, _ in _storage_header_sort([(name, "") for name in names])]
        assert sorted(names, key=_header_order) == expected


def test_a_key_that_is_no_base64_is_not_shown() -> None:
    with pytest.raises(AccessDeniedError, match="is not base64") as raised:
        SharedKey("account", "sentinel!x")
    assert "sentinel" not in str(raised.value)


async def test_a_token_serves_until_shortly_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("skyferry.stores.azure_signing.time.time", lambda: now)
    asked: list[str] = []

    async def fetch(tenant: str) -> tuple[str, float]:
        asked.append(tenant)
        return f"token-{len(asked)}", now + 3_600

    tokens = BearerTokens(fetch)
    request = AzureRequest("GET", "/lake", {}, {})
    for passed_seconds, expected in ((0, "token-1"), (3_000, "token-1"), (301, "token-2")):
        now += passed_seconds
        assert await tokens.headers(request) == {"Authorization": f"Bearer {expected}"}
    assert asked == ["", ""]


async def test_a_challenge_names_the_tenant_to_ask() -> None:
    asked: list[str] = []

    async def fetch(tenant: str) -> tuple[str, float]:
        asked.append(tenant)
        return "token", 2.0**40

    tokens = BearerTokens(fetch)
    request = AzureRequest("GET", "/lake", {}, {})
    challenge = (
        "Bearer authorization_uri=https://login.microsoftonline.com/72f988bf-86f1/oauth2/authorize "
        "resource_id=https://storage.azure.com"
    )
    await tokens.headers(request)
    assert tokens.accepts_challenge(challenge)
    assert not tokens.accepts_challenge(challenge)
    assert not tokens.accepts_challenge("")
    await tokens.headers(request)
    assert asked == ["", "72f988bf-86f1"]


async def test_tokens_are_not_sent_in_clear() -> None:
    async with HttpClient() as client:
        line = Line(client=client)
        with pytest.raises(ConnectionConfigError, match="access tokens are only sent over https"):
            AzureApi(line, "http://account.example", "lake", authority=Anonymous(), needs_tls=True)
        AzureApi(line, "https://account.example", "lake", authority=Anonymous(), needs_tls=True)
