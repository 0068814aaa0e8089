"""Opens the connections of one endpoint, with the machine's proxy and the certificates of the connection."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from skyferry.stores.http_client import HttpClient, Proxy, Tls
from skyferry.stores.http_requests import Line


@asynccontextmanager
async def open_line(
    endpoint: str,
    *,
    max_requests: int,
    proxies: Mapping[str, str] | None = None,
    tls: Tls | None = None,
    trust_hint: str = "install its authority",
) -> AsyncIterator[Line]:
    """Yield the way to an endpoint.

    Args:
        proxies: By scheme; those of the environment by default.
        tls: What certificates are checked with; those of the machine by default.
        trust_hint: What the user can do about a certificate nobody vouches for.
    """
    proxy_url = _proxy_url(endpoint, proxies)
    proxy = Proxy(url=proxy_url, tls=tls or Tls()) if proxy_url else None
    async with HttpClient(max_requests=max_requests, tls=tls, proxy=proxy) as client:
        yield Line(client=client, trust_hint=trust_hint)


def _proxy_url(endpoint: str, proxies: Mapping[str, str] | None) -> str | None:
    parts = urllib.parse.urlsplit(endpoint)
    if proxies is not None:
        return proxies.get(parts.scheme)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)
