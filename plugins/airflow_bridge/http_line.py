"""Opens the connections of one endpoint, with the machine's proxy and the certificates of the connection."""

from __future__ import annotations

import ssl
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from skyferry.stores.http_requests import Line, new_session


@asynccontextmanager
async def open_line(
    endpoint: str,
    *,
    max_requests: int,
    proxies: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | bool = True,
    trust_hint: str = "install its authority",
) -> AsyncIterator[Line]:
    """Yield the way to an endpoint.

    Args:
        proxies: By scheme; those of the environment by default.
        tls: What certificates are checked with; False checks none.
        trust_hint: What the user can do about a certificate nobody vouches for.
    """
    proxy = _proxy(endpoint, proxies)
    async with new_session(max_requests=max_requests, tls=tls) as session:
        yield Line(session=session, options={"proxy": proxy} if proxy else {}, trust_hint=trust_hint)


def _proxy(endpoint: str, proxies: Mapping[str, str] | None) -> str | None:
    # aiohttp's own `trust_env` would look into ~/.netrc before every request as well.
    parts = urllib.parse.urlsplit(endpoint)
    if proxies is not None:
        return proxies.get(parts.scheme)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)
