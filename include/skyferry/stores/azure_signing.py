"""What makes Azure believe a request: a signature with the account's key, an access token, or nothing (a SAS says it).

The signature is own code, because importing the SDK and running its policies costs more than a small object's request;
it is compared with the SDK's in tests.

Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from skyferry.errors import AccessDeniedError

_SIGNED_HEADERS = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)
_TENANT = re.compile(r'authorization_uri="?https://[^/"]+/(?P<tenant>[0-9A-Za-z.-]+)')
# As the SDK's own policy does: a token that ends within this time is fetched anew.
_RENEWED_BEFORE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class AzureRequest:
    """A request as it is signed: `path` encoded as it is sent, `query` not."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Authority(Protocol):
    """Gives requests the right to be answered."""

    async def headers(self, request: AzureRequest) -> Mapping[str, str]:
        """Return the headers to add."""

    def accepts_challenge(self, challenge: str) -> bool:
        """Tell whether a refusal with this `WWW-Authenticate` taught something, so that asking again may help."""


class Anonymous:
    """Adds nothing: the container is public, or the address holds a shared access signature."""

    async def headers(self, request: AzureRequest) -> Mapping[str, str]:
        del request
        return {}

    def accepts_challenge(self, challenge: str) -> bool:
        del challenge
        return False


class SharedKey:
    """Signs with an account's key.

    Raises:
        AccessDeniedError: The key is not base64.
    """

    def __init__(self, account_name: str, account_key: str) -> None:
        self._account_name = account_name
        try:
            self._key = base64.b64decode(account_key)
        except ValueError:
            raise AccessDeniedError(
                f"the key of the storage account {account_name} is not base64",
                hint="check the key, secret or identity of the connection",
            ) from None

    async def headers(self, request: AzureRequest) -> Mapping[str, str]:
        signature = base64.b64encode(hmac.digest(self._key, self._text(request).encode(), "sha256")).decode()
        return {"Authorization": f"SharedKey {self._account_name}:{signature}"}

    def _text(self, request: AzureRequest) -> str:
        headers = request.headers
        lines = [request.method, *(headers.get(name, "") for name in _SIGNED_HEADERS)]
        vendor_s = sorted((name for name in headers if name.startswith("x-ms-")), key=_header_order)
        lines += (f"{name.lower()}:{headers[name]}" for name in vendor_s)
        lines.append(f"/{self._account_name}{request.path}")
        lines += (f"{name}:{value}" for name, value in sorted(request.query.items()))
        return "\n".join(lines)

    def accepts_challenge(self, challenge: str) -> bool:
        del challenge
        return False


TokenSource = Callable[[str], Awaitable[tuple[str, float]]]
"""Fetches a token for a tenant (empty: the credential's own) and returns it with the time it expires at."""


class BearerTokens:
    """Sends access tokens; one serves until five minutes before its end.

    Args:
        fetch: See `TokenSource`.
    """

    def __init__(self, fetch: TokenSource) -> None:
        self._fetch = fetch
        self._tenant = ""
        self._token = ""
        self._expires_at = 0.0

    async def headers(self, request: AzureRequest) -> Mapping[str, str]:
        del request
        if time.time() > self._expires_at - _RENEWED_BEFORE_SECONDS:
            self._token, self._expires_at = await self._fetch(self._tenant)
        return {"Authorization": f"Bearer {self._token}"}

    def accepts_challenge(self, challenge: str) -> bool:
        """As promised; an account may belong to another tenant than the credential's own.

        Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory#bearer-challenge
        """
        match = _TENANT.search(challenge)
        if match is None or match.group("tenant") == self._tenant:
            return False
        self._tenant, self._expires_at = match.group("tenant"), 0.0
        return True


@lru_cache(maxsize=256)
def _header_order(name: str) -> str:
    """Return what the service sorts header names by: hyphens do not count, underscores come before digits."""
    return name.lower().replace("-", "").replace("_", "!")
