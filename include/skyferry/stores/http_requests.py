"""One HTTP request to a store: its deadline, what it is about, and what a broken line means.

No request follows a redirect or goes to another host than the one it names. None is sent twice, save that aiohttp
repeats a read or a deletion once when the pooled connection it was written to turns out to be closed (RFC 9112 section
9.3.1).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree as ET

import aiohttp
from yarl import URL

from skyferry.errors import (
    ConnectionConfigError,
    ConnectionLostError,
    PermanentError,
    SizeMismatchError,
    TransferError,
)
from skyferry.stores.pacing import CONNECT_SECONDS, SILENCE_SECONDS, deadline_seconds

TRANSPORT_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""What a request may end in without an answer."""

Accept = Callable[[int, Mapping[str, str]], None]
"""Looks at status and headers before the body is read; what it raises ends the request."""

_PIECE_BYTES = 256 * 1024
# What aiohttp would add by itself; a type of content nobody named would be stored, and is missing in signatures.
_UNASKED_HEADERS = frozenset({"Accept", "Content-Type"})
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about, in the words of an error message.

    Attributes:
        action: What is being done, as in "reading".
        url: To what, as the user writes it.
        needs: The right it takes, in the vendor's words.
        absent: What a 404 means: the `bucket`, the `object` or the upload `session` is gone.
    """

    action: str
    url: str
    needs: str
    absent: str

    def __str__(self) -> str:
        return f"{self.action} {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; its headers are found whatever their case."""

    target: Target
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body.

        Raises:
            ConnectionLostError: There is none, so no store has written it.
        """
        try:
            values = json.loads(self.body)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise ConnectionLostError(f"{self.target} failed: the answer is no JSON object")
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How an endpoint is reached.

    Attributes:
        session: It stays the caller's to close. It must not undo Content-Encoding.
        options: What every request takes beside, such as `proxy`.
        trust_hint: What to do about a certificate nobody vouches for.
    """

    session: aiohttp.ClientSession
    options: Mapping[str, Any] = field(default_factory=dict)
    trust_hint: str = "install its authority"


def new_session(*, max_requests: int = 100, tls: ssl.SSLContext | bool = True) -> aiohttp.ClientSession:
    """Return a session for a `Line`: it keeps no cookies, undoes no encoding and asks no environment.

    Args:
        max_requests: How many may run at the same time; the others wait.
        tls: What certificates are checked with; False checks none.
    """
    connector = aiohttp.TCPConnector(limit=max_requests, ssl=tls)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)


async def exchange(
    line: Line,
    method: str,
    address: str,
    target: Target,
    *,
    headers: Mapping[str, str] = _NO_HEADERS,
    body: bytes | AsyncIterable[bytes | memoryview] | None = None,
    size_bytes: int | None = 0,
    accept: Accept | None = None,
) -> Answer:
    """Send one request and return the whole answer, whatever its status.

    Args:
        address: Encoded already, and sent as it is.
        size_bytes: How much goes either way, for the deadline; None when the sender sets the pace.
        accept: Called for a successful answer, of which then no more than `size_bytes` are read.

    Raises:
        ConnectionConfigError: Nobody vouches for the endpoint's certificate.
        ConnectionLostError: No answer, or a broken one.
    """
    try:
        async with line.session.request(
            method,
            URL(address, encoded=True),
            headers={**headers, "User-Agent": "skyferry"},
            skip_auto_headers=_UNASKED_HEADERS,
            data=body,
            timeout=_timeout(size_bytes),
            allow_redirects=False,
            **line.options,
        ) as response:
            if accept is None or response.status // 100 != 2:
                content = await response.read()
            else:
                accept(response.status, response.headers)
                content = await _read_up_to(response, size_bytes or 0, target)
            return Answer(target=target, status=response.status, headers=response.headers, body=content)
    except Exception as error:  # whatever the client raises has a translation
        # Without the cause: the client's texts hold whole addresses, and signatures and sessions in them are secrets.
        raise _translate(error, target, line) from None


def parse_xml(answer: Answer) -> ET.Element:
    """Return the root of an XML answer, its tags without their namespace.

    Raises:
        ConnectionLostError: The answer is none, or declares a document type, which no store does.
    """
    try:
        if b"<!DOCTYPE" in answer.body:
            raise ET.ParseError("document type")
        root = ET.fromstring(answer.body)  # noqa: S314 - without a document type there are no entities
    except ET.ParseError:
        raise ConnectionLostError(f"{answer.target} failed: the answer is no XML of a store") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


async def in_pieces(*bodies: bytes) -> AsyncIterator[memoryview]:
    """Yield bytes in pieces small enough that one connection does not hold up the event loop."""
    for body in bodies:
        view = memoryview(body)
        for start_byte in range(0, len(view), _PIECE_BYTES):
            yield view[start_byte : start_byte + _PIECE_BYTES]


async def _read_up_to(response: aiohttp.ClientResponse, size_bytes: int, target: Target) -> bytes:
    """Return the body of an answer; a larger one than was asked for is not taken into memory."""
    announced_bytes = response.content_length
    if announced_bytes is not None:
        if announced_bytes > size_bytes:
            raise _oversized(target, f"{announced_bytes:,}", size_bytes)
        return await response.read()
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > size_bytes:
            raise _oversized(target, f"{len(content):,} or more", size_bytes)
    return bytes(content)


def _oversized(target: Target, found: str, size_bytes: int) -> SizeMismatchError:
    return SizeMismatchError(f"{target.url} came with {found} bytes; {size_bytes:,} were asked for")


def _timeout(size_bytes: int | None) -> aiohttp.ClientTimeout:
    total_seconds = None if size_bytes is None else deadline_seconds(size_bytes)
    return aiohttp.ClientTimeout(total=total_seconds, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)


def _translate(error: Exception, target: Target, line: Line) -> TransferError:
    if isinstance(error, TransferError):
        return error
    if isinstance(error, aiohttp.ClientSSLError):
        return ConnectionConfigError(
            f"{target} failed: the certificate of the endpoint is not trusted", hint=line.trust_hint
        )
    if isinstance(error, TRANSPORT_ERRORS):
        return ConnectionLostError(
            f"{target} failed: {type(error).__name__}", hint="the endpoint did not answer properly"
        )
    return PermanentError(f"{target} failed: {type(error).__name__}")
