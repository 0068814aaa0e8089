"""A reverse HTTP proxy that breaks what goes through it, on purpose and exactly where a test says.

It reads whole requests, hands them to the faults that match, sends them on, and writes whole answers back; bodies are
held in memory. Each request to the other side has a connection of its own. TLS, trailers and pipelining are left out.

    async with fault_proxy(moto.url) as proxy:
        proxy.inject(answer(503, headers={"Retry-After": "7"}), method="PUT", times=1)
        ...                                  # a client of proxy.url meets one 503
        assert proxy.count("PUT") == 2
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

Headers = tuple[tuple[str, str], ...]

_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "host"})
_MAX_HEAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request; `target` is path and query exactly as the client wrote them."""

    method: str
    target: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        return _header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer, and how to break it off.

    Attributes:
        cut_after_bytes: Send so many bytes of the body, then end the connection; None sends all of it.
        resets: End the connection by RST instead of FIN.
        announces_length: False leaves out Content-Length: the end of the connection is the end of the body.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    cut_after_bytes: int | None = None
    resets: bool = False
    announces_length: bool = True

    def header(self, name: str) -> str:
        return _header(self.headers, name)


class DroppedConnection(Exception):  # noqa: N818  # it is an event, not an error
    """A fault wants the connection to the client reset without an answer."""


Forward = Callable[[Request], Awaitable[Response]]
Fault = Callable[[Request, Forward], Awaitable[Response]]
"""Gets a request and the way to the other side; returns the answer the client is to see."""


def answer(status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answer in place of the other side, which never sees the request."""

    async def fault(request: Request, forward: Forward) -> Response:
        del request, forward
        return Response(status, tuple((headers or {}).items()), body)

    return fault


def drop_reply() -> Fault:
    """Let the other side do what it is asked for, then reset the connection in place of its answer."""

    async def fault(request: Request, forward: Forward) -> Response:
        await forward(request)
        raise DroppedConnection

    return fault


def refuse() -> Fault:
    """Reset the connection; the other side never sees the request."""

    async def fault(request: Request, forward: Forward) -> Response:
        del request, forward
        raise DroppedConnection

    return fault


def cut_reply(after_bytes: int, *, resets: bool = True, announces_length: bool = True) -> Fault:
    """Send so many bytes of the answer's body, then end the connection."""

    async def fault(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        return replace(response, cut_after_bytes=after_bytes, resets=resets, announces_length=announces_length)

    return fault


def flip_request_byte(at: int) -> Fault:
    """Flip a bit of the request's body on its way; negative positions count from its end."""

    async def fault(request: Request, forward: Forward) -> Response:
        return await forward(replace(request, body=_flipped(request.body, at)))

    return fault


def flip_reply_byte(at: int) -> Fault:
    """Flip a bit of the answer's body on its way; negative positions count from its end."""

    async def fault(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        return replace(response, body=_flipped(response.body, at))

    return fault


def delay(seconds: float) -> Fault:
    """Send the request on after some time."""

    async def fault(request: Request, forward: Forward) -> Response:
        await asyncio.sleep(seconds)
        return await forward(request)

    return fault


@dataclass(slots=True)
class _Injected:
    fault: Fault
    method: str
    target_contains: str
    matches: Callable[[Request], bool]
    left: int | None

    def applies_to(self, request: Request) -> bool:
        return (
            self.left != 0
            and self.method in ("", request.method)
            and self.target_contains in request.target
            and self.matches(request)
        )


@dataclass(slots=True)
class FaultProxy:
    """A running proxy.

    Attributes:
        url: Where clients reach it.
        requests: What has arrived so far, before any fault touched it.
        always: Applied to every request, beneath the injected faults: a part of the world, not a fault of it.
    """

    url: str
    upstream_host: str
    upstream_port: int
    always: Fault | None = None
    requests: list[Request] = field(default_factory=list)
    _injected: list[_Injected] = field(default_factory=list)

    def inject(
        self,
        fault: Fault,
        *,
        method: str = "",
        target_contains: str = "",
        matches: Callable[[Request], bool] = lambda _: True,
        times: int | None = None,
    ) -> None:
        """Apply a fault to the next `times` requests that match (all, by default); the first that applies wins."""
        self._injected.append(_Injected(fault, method, target_contains, matches, times))

    def clear(self) -> None:
        """Forget faults and requests."""
        self._injected.clear()
        self.requests.clear()

    def count(self, method: str = "", target_contains: str = "") -> int:
        """Return how many such requests have arrived."""
        return sum(method in ("", each.method) and target_contains in each.target for each in self.requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        try:
            while (request := await _read_request(reader, writer)) is not None:
                self.requests.append(request)
                response = await self._respond(request)
                if not await _write_response(writer, request, response):
                    break
        except DroppedConnection:
            _reset_on_close(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client, or the other side, went away
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _respond(self, request: Request) -> Response:
        for injected in self._injected:
            if injected.applies_to(request):
                if injected.left is not None:
                    injected.left -= 1
                return await injected.fault(request, self._forward_as_always)
        return await self._forward_as_always(request)

    async def _forward_as_always(self, request: Request) -> Response:
        if self.always is None:
            return await self.forward(request)
        return await self.always(request, self.forward)

    async def forward(self, request: Request) -> Response:
        """Ask the other side."""
        reader, writer = await asyncio.open_connection(self.upstream_host, self.upstream_port)
        try:
            headers = [pair for pair in request.headers if pair[0].lower() not in _HOP_HEADERS]
            headers += [("Host", f"{self.upstream_host}:{self.upstream_port}"), ("Connection", "close")]
            headers += [("Content-Length", str(len(request.body)))]
            writer.write(_head(f"{request.method} {request.target} HTTP/1.1", headers) + request.body)
            await writer.drain()
            return await _read_response(reader, request)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def fault_proxy(upstream_url: str, *, always: Fault | None = None) -> AsyncIterator[FaultProxy]:
    """Run a proxy in this event loop, on a free port of this machine."""
    parts = urlsplit(upstream_url)
    proxy = FaultProxy("", parts.hostname or "127.0.0.1", parts.port or 80, always)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        # The end of the block cancels; asyncio's streams would log a connection that ends so as a fault.
        with contextlib.suppress(asyncio.CancelledError):
            await proxy.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_MAX_HEAD_BYTES)
    host, port = server.sockets[0].getsockname()[:2]
    proxy.url = f"http://{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@contextlib.contextmanager
def fault_proxy_in_thread(upstream_url: str, *, always: Fault | None = None) -> Iterator[FaultProxy]:
    """Run a proxy in a thread of its own, for clients that block or live in other processes."""
    started = threading.Event()
    proxies: list[FaultProxy] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with fault_proxy(upstream_url, always=always) as proxy:
            proxies.append(proxy)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield proxies[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """Return the next request of a connection, None after the last one."""
    try:
        first, headers = await _read_head(reader)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    method, target, _ = first.split(" ", 2)
    if _header(headers, "expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    body = await _read_body(reader, headers, reads_to_end=False)
    return Request(method, target, headers, body)


async def _read_response(reader: asyncio.StreamReader, request: Request) -> Response:
    status = 100
    headers: Headers = ()
    while status == 100:
        first, headers = await _read_head(reader)
        status = int(first.split(" ", 2)[1])
    has_body = request.method != "HEAD" and status not in (204, 304)
    body = await _read_body(reader, headers, reads_to_end=True) if has_body else b""
    return Response(status, headers, body)


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, Headers]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, tuple((name, value.strip()) for name, _, value in pairs)


async def _read_body(reader: asyncio.StreamReader, headers: Headers, *, reads_to_end: bool) -> bytes:
    if "chunked" in _header(headers, "transfer-encoding").lower():
        return await _read_chunks(reader)
    length = _header(headers, "content-length")
    if length:
        return await reader.readexactly(int(length))
    return await reader.read() if reads_to_end else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size_bytes := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size_bytes))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(chunks)


async def _write_response(writer: asyncio.StreamWriter, request: Request, response: Response) -> bool:
    """Write an answer; returns whether the connection can take another request."""
    is_cut = response.cut_after_bytes is not None
    headers = [pair for pair in response.headers if pair[0].lower() not in _HOP_HEADERS]
    if request.method == "HEAD":
        headers += [("Content-Length", response.header("content-length") or "0")]
    elif response.announces_length and response.status not in (204, 304):
        headers += [("Content-Length", str(len(response.body)))]
    stays_open = not is_cut and response.announces_length
    if not stays_open:
        headers += [("Connection", "close")]
    body = b"" if request.method == "HEAD" else response.body[: response.cut_after_bytes]
    writer.write(_head(f"HTTP/1.1 {response.status} Fault", headers) + body)
    await writer.drain()
    if is_cut and response.resets:
        # Let the client read what was sent: an RST throws away what lies in its receive buffer.
        await asyncio.sleep(0.05)
        _reset_on_close(writer)
    return stays_open


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make closing send RST in place of FIN: SO_LINGER on, with no time to linger."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _head(first: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _header(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key.lower() == name.lower()), "")


def _flipped(body: bytes, at: int) -> bytes:
    changed = bytearray(body)
    changed[at] ^= 0x20
    return bytes(changed)
