"""One HTTP request to a store: its deadline, what it is about, and what a broken line means.

No request follows a redirect or goes to another host than the one it names. None is sent twice, save that a read or a
deletion is repeated when the pooled connection it was written to turns out to be closed (see `http_client`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from skyferry.content_memory import Content
from skyferry.errors import (
    ConnectionConfigError,
    ConnectionLostError,
    PermanentError,
    SizeMismatchError,
    TransferError,
)
from skyferry.stores.http_client import Body, HttpClient, OversizedError, Reply, TransportError
from skyferry.stores.pacing import deadline_seconds

Accept = Callable[[int, Mapping[str, str]], None]
"""Looks at status and headers before the body is read; what it raises ends the request."""

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
    body: Content

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body.

        Raises:
            ConnectionLostError: There is none, so no store has written it.
        """
        try:
            values = json.loads(bytes(self.body))
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise ConnectionLostError(f"{self.target} failed: the answer is no JSON object")
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How an endpoint is reached.

    Attributes:
        client: It stays the caller's to close.
        trust_hint: What to do about a certificate nobody vouches for.
    """

    client: HttpClient
    trust_hint: str = "install its authority"


async def exchange(
    line: Line,
    method: str,
    address: str,
    target: Target,
    *,
    headers: Mapping[str, str] = _NO_HEADERS,
    body: Body | None = None,
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

    def limit_bytes(status: int, found: Mapping[str, str]) -> int | None:
        if accept is None or status // 100 != 2:
            return None
        accept(status, found)
        _require_size(found, size_bytes or 0, target)
        return size_bytes or 0

    try:
        reply: Reply = await line.client.send(
            method,
            address,
            headers=headers,
            body=body,
            timeout_seconds=None if size_bytes is None else deadline_seconds(size_bytes),
            accept=limit_bytes,
        )
    except OversizedError:
        raise _oversized(target, "more", size_bytes or 0) from None
    except Exception as error:  # whatever the client raises has a translation
        # Without the cause: signatures and sessions in addresses and headers are secrets.
        raise _translate(error, target, line, endpoint=_endpoint(address)) from None
    return Answer(target=target, status=reply.status, headers=reply.headers, body=reply.body)


def parse_xml(answer: Answer) -> ET.Element:
    """Return the root of an XML answer, its tags without their namespace.

    Raises:
        ConnectionLostError: The answer is none, or declares a document type, which no store does.
    """
    try:
        body = bytes(answer.body)
        if b"<!DOCTYPE" in body:
            raise ET.ParseError("document type")
        root = ET.fromstring(body)  # noqa: S314 - without a document type there are no entities
    except ET.ParseError:
        raise ConnectionLostError(f"{answer.target} failed: the answer is no XML of a store") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


async def stream_of(*bodies: Content) -> AsyncIterator[memoryview]:
    """Yield bodies one after the other, which are sent as one."""
    for body in bodies:
        if body:
            yield memoryview(body)


def _require_size(headers: Mapping[str, str], size_bytes: int, target: Target) -> None:
    """Refuse an answer that announces more than was asked for, before any of it is taken into memory."""
    announced = headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > size_bytes:
        raise _oversized(target, f"{int(announced):,}", size_bytes)


def _oversized(target: Target, found: str, size_bytes: int) -> SizeMismatchError:
    return SizeMismatchError(f"{target.url} came with {found} bytes; {size_bytes:,} were asked for")


def _endpoint(address: str) -> str:
    """Return an address without all that may be secret: user and password, path, query."""
    scheme, netloc, *_ = urlsplit(address)
    return f"{scheme}://{netloc.rpartition('@')[2]}"


def _translate(error: Exception, target: Target, line: Line, *, endpoint: str) -> TransferError:
    if isinstance(error, TransferError):
        return error
    if isinstance(error, TransportError) and error.is_trust:
        return ConnectionConfigError(
            f"{target} failed: the certificate of the endpoint is not trusted", hint=line.trust_hint
        )
    if isinstance(error, TransportError):
        return ConnectionLostError(f"{target} failed: {error}", hint=f"{endpoint} did not answer properly")
    return PermanentError(f"{target} failed: {type(error).__name__}")
