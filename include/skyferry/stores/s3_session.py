"""The HTTP session of S3 clients: it never follows a redirect to another address.

aiobotocore leaves aiohttp's default on, so that whoever answers for an endpoint could send a signed request anywhere,
the machine's metadata address included (seen with aiobotocore 3.10: a 307 was followed). botocore's own handling of
buckets in another region does not need it: it asks the region's endpoint anew.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession


class DirectSession(AIOHTTPSession):  # type: ignore[misc]  # published without type information
    """For `AioConfig(http_session_cls=DirectSession)`."""

    async def _get_session(self, proxy_url: str | None) -> _WithoutRedirects:
        return _WithoutRedirects(await super()._get_session(proxy_url))


class _WithoutRedirects:
    """An aiohttp session's `request`, which is all that aiobotocore uses of it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> aiohttp.ClientResponse:
        return await self._session.request(method, allow_redirects=False, **options)
