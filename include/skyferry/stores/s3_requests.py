"""What all requests to S3 have in common: how long they may take, what they depend on, how broken lines look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
from botocore import exceptions as botocore_errors

from skyferry.objects import ObjectInfo
from skyferry.stores.pacing import deadline_seconds

TRANSPORT_ERRORS = (
    botocore_errors.HTTPClientError,
    botocore_errors.ConnectionError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
)

_Answer = TypeVar("_Answer")


async def in_time(request: Awaitable[_Answer], size_bytes: int = 0) -> _Answer:
    """Return an answer that takes as long as so many bytes may take; the client's own time-outs only end silence."""
    async with asyncio.timeout(deadline_seconds(size_bytes)):
        return await request


def condition(replaces: ObjectInfo | None) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": quoted(replaces.etag)}


def quoted(etag: str) -> str:
    return f'"{etag}"'


def unquoted(etag: str) -> str:
    return etag.strip('"')
