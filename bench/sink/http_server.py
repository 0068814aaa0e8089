"""The smallest HTTP/1.1 server that the vendors' clients and rclone are content with, on httptools and uvloop.

Bodies are not collected where a running digest will do, and answers are written as fast as the client takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, cast
from urllib.parse import parse_qsl, unquote

import httptools

_REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 404: "Not Found"}
_REASONS |= {308: "Resume Incomplete", 410: "Gone", 501: "Not Implemented"}
_HIGH_WATER_BYTES = 4 * 2**20


class Intake(Protocol):
    """Takes in a body piece by piece."""

    def update(self, data: bytes) -> None: ...


class Collected:
    """A body held whole."""

    def __init__(self) -> None:
        self.body = bytearray()

    def update(self, data: bytes) -> None:
        self.body += data


@dataclass(slots=True, kw_only=True)
class Request:
    """One request; `intake` is chosen when the headers are known and has taken in the body when it is answered."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    intake: Intake = field(default_factory=Collected)

    @property
    def body(self) -> bytes:
        return bytes(self.intake.body) if isinstance(self.intake, Collected) else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        content: Pieces of a long body, whose length is `size_bytes`; in place of `body`.
        delay_seconds: How long the answer waits, as that of a long poll does.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content: Iterator[memoryview] | None = None
    size_bytes: int | None = None
    delay_seconds: float = 0.0


class Application(Protocol):
    """What the server serves."""

    def intake(self, request: Request) -> Intake:
        """Return what takes in the request's body."""

    def answer(self, request: Request) -> Answer:
        """Return the answer; called when the whole body was taken in."""


class _Connection(asyncio.Protocol):
    """One client's connection; requests come one after the other."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._request: Request | None = None
        self._content: Iterator[memoryview] | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._write_content()

    # What httptools calls

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(
            method=self._parser.get_method().decode(),
            path=unquote(path),
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=self._headers,
        )
        self._url, self._headers = b"", {}
        request.intake = self._application.intake(request)
        self._request = request
        if request.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        assert self._request is not None
        self._request.intake.update(body)

    def on_message_complete(self) -> None:
        assert self._request is not None
        answer = self._application.answer(self._request)
        is_head, self._request = self._request.method == "HEAD", None
        if answer.delay_seconds:
            asyncio.get_running_loop().call_later(answer.delay_seconds, partial(self._write, answer, is_head=is_head))
        else:
            self._write(answer, is_head=is_head)

    def _write(self, answer: Answer, *, is_head: bool) -> None:
        if self._transport.is_closing():
            return
        size_bytes = len(answer.body) if answer.size_bytes is None else answer.size_bytes
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if answer.status != 204:
            lines.append(f"Content-Length: {size_bytes}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if is_head:
            self._transport.write(head)
            return
        self._transport.write(head + answer.body)
        if answer.content is not None:
            self._content = answer.content
            self._write_content()

    def _write_content(self) -> None:
        while self._content is not None and not self._is_paused:
            piece = next(self._content, None)
            if piece is None:
                self._content = None
            else:
                self._transport.write(piece)


async def serve(application: Application, port: int, *, when_ready: Callable[[int], None]) -> None:
    """Serve on the loopback address until cancelled.

    Args:
        port: 0 for any free one.
        when_ready: Called with the port once connections are accepted.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(application), "127.0.0.1", port, backlog=1024)
    async with server:
        when_ready(server.sockets[0].getsockname()[1])
        await server.serve_forever()
