"""Sends HTTP requests by libcurl on the event loop: connections are pooled, bodies are held in memory or streamed.

libcurl sends a request again when a pooled connection turns out to be closed before anything was answered. That is
wanted for reads and deletions (RFC 9112 section 9.3.1). A body cannot be sent again, because nothing here rewinds one,
and a write without a body gets a connection of its own. No request follows a redirect, keeps a cookie, or looks at the
environment or at `~/.netrc`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import pycurl
from multidict import CIMultiDict

from skyferry.content_memory import MAPPED_BYTES, Content, allocate
from skyferry.stores.pacing import CONNECT_SECONDS, SILENCE_SECONDS

Body = Content | AsyncIterable[Content]
"""What a request carries; one that is streamed comes with a `Content-Length`."""

_BUFFER_BYTES = 256 * 1024
# As aiohttp and most clients do: endpoints close connections that idle for longer.
_IDLE_SECONDS = 15
_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})
# What libcurl would add by itself. A type of content nobody named would be stored, and is missing in signatures.
_UNASKED = ("Accept:", "Content-Type:", "Expect:")
_UNSAFE = re.compile(r"[\r\n\0]")
_TRUST_CODES = frozenset(
    {
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_ISSUER_ERROR,
    }
)
_REASONS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "the endpoint's name is not known",
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's name is not known",
    pycurl.E_COULDNT_CONNECT: "no connection could be made",
    pycurl.E_OPERATION_TIMEDOUT: "it took too long",
    pycurl.E_SSL_CONNECT_ERROR: "no encrypted connection could be made",
    pycurl.E_GOT_NOTHING: "the connection was closed without an answer",
    pycurl.E_SEND_ERROR: "the connection broke off",
    pycurl.E_SEND_FAIL_REWIND: "the connection broke off",
    pycurl.E_RECV_ERROR: "the connection broke off",
    pycurl.E_PARTIAL_FILE: "the answer broke off",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "the answer is no HTTP",
    pycurl.E_UNSUPPORTED_PROTOCOL: "the answer is no HTTP",
}


class TransportError(Exception):
    """No answer, or a broken one; the text names neither address nor headers, because both may hold secrets.

    Attributes:
        is_trust: Nobody vouches for the endpoint's certificate, or it does not take ours.
    """

    def __init__(self, code: int) -> None:
        super().__init__(_REASONS.get(code, f"libcurl error {code}"))
        self.is_trust = code in _TRUST_CODES


class OversizedError(Exception):
    """More came than may come."""


class UnsafeHeaderError(ValueError):
    """A header holds a line break, which would begin another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What certificates are checked with.

    Attributes:
        verifies: False checks none.
        authorities: A file or folder of authorities in place of the machine's; empty for the machine's.
        certificate: File of the certificate we show; empty for none.
        key: File of its key, where the certificate's file does not hold it.
    """

    verifies: bool = True
    authorities: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """What stands between us and the endpoint.

    Attributes:
        url: With user and password where it wants them.
        headers: For the proxy alone.
        tls: What the proxy's own certificate is checked with, where it is reached over https.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls = Tls()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole reply; its headers are found whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: Content


Accept = Callable[[int, Mapping[str, str]], int | None]
"""Looks at status and headers before the body is taken, and returns how many bytes of it may come (None: any number).

What it raises ends the request. Memory for so many bytes is taken at once.
"""


class HttpClient:
    """Sends requests over a pool of connections; an asynchronous context manager, bound to the loop of its first use.

    Args:
        max_requests: How many may run at the same time; the others wait.
    """

    def __init__(self, *, max_requests: int = 100, tls: Tls | None = None, proxy: Proxy | None = None) -> None:
        self._gate = asyncio.Semaphore(max_requests)
        self._multi = pycurl.AsyncCurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_requests)
        self._template = _template(tls or Tls(), proxy)
        self.proxy = proxy

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._multi.aclose()
        self._template.close()

    async def send(
        self,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str],
        body: Body | None,
        timeout_seconds: float | None,
        accept: Accept,
    ) -> Reply:
        """Send one request and return the whole reply, whatever its status; cancelling it closes its connection.

        Args:
            address: Encoded already, and sent as it is, its percent-encodings in upper case.
            timeout_seconds: Until the reply is complete; None when whoever gives the body sets the pace. Silence ends
                the request either way.
            accept: See `Accept`.

        Raises:
            TransportError: No reply, or a broken one.
            OversizedError: The body is longer than `accept` allows.
            UnsafeHeaderError: A header cannot be sent.
            Exception: What `accept` or the body raises.
        """
        reply = _IncomingReply(accept)
        upload_bytes = _upload_bytes(method, headers, body)
        async with self._gate:
            curl = self._template.duphandle()
            try:
                _set_request(curl, method, address, headers, upload_bytes=upload_bytes)
                curl.setopt(pycurl.HEADERFUNCTION, reply.lines.append)
                curl.setopt(pycurl.WRITEFUNCTION, reply.take)
                if timeout_seconds is not None:
                    curl.setopt(pycurl.TIMEOUT_MS, int(timeout_seconds * 1000))
                if body is None or isinstance(body, Content):
                    await self._perform(curl, body or b"")
                else:
                    await self._stream(curl, body)
            except pycurl.error as error:
                raise (reply.failure or TransportError(error.args[0])) from None
            finally:
                curl.close()
        return reply.whole()

    async def _perform(self, curl: Any, body: Content) -> None:
        # Made of anything else than bytes, BytesIO would hold a copy.
        read = BytesIO(body).read if isinstance(body, bytes) else _HeldBody(body).read
        curl.setopt(pycurl.READFUNCTION, read)
        await self._multi.perform(curl)

    async def _stream(self, curl: Any, body: AsyncIterable[Content]) -> None:
        """Send a body as it comes; waiting for its next piece is no silence."""
        stream = _OutgoingStream(curl, body)
        curl.setopt(pycurl.LOW_SPEED_TIME, 0)
        curl.setopt(pycurl.READFUNCTION, stream.read)
        transfer = self._multi.add_handle(curl)
        feeding = asyncio.ensure_future(stream.feed())
        try:
            await asyncio.wait({transfer, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if not transfer.done():
                await feeding
                await asyncio.wait({transfer}, timeout=SILENCE_SECONDS)
            if not transfer.done():
                raise TransportError(pycurl.E_OPERATION_TIMEDOUT)
            await transfer
        finally:
            feeding.cancel()
            transfer.cancel()
            await asyncio.wait({transfer, feeding})  # the handle is taken back before it is closed


class _IncomingReply:
    """Collects what comes; libcurl calls `take`, where an exception has nowhere to go."""

    def __init__(self, accept: Accept) -> None:
        self.lines: list[bytes] = []
        self.failure: Exception | None = None
        self._accept = accept
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._left_bytes: int | None = None
        self._pieces: list[bytes] = []
        self._memory: memoryview | None = None
        self._taken_bytes = 0

    def take(self, piece: bytes) -> int | None:
        """Take in the next bytes of the body; -1 ends the request."""
        try:
            if not self._status:
                self._begin()
            if self._left_bytes is not None:
                self._left_bytes -= len(piece)
                if self._left_bytes < 0:
                    raise OversizedError
        except Exception as error:
            self.failure = error
            return -1
        if self._memory is None:
            self._pieces.append(piece)
        else:
            self._memory[self._taken_bytes : self._taken_bytes + len(piece)] = piece
            self._taken_bytes += len(piece)
        return None

    def _begin(self) -> None:
        self._status, self._headers = _parsed_head(self.lines)
        self._left_bytes = self._accept(self._status, self._headers)
        if self._left_bytes is not None and self._left_bytes >= MAPPED_BYTES:  # of a smaller one the pieces are joined
            self._memory = allocate(self._left_bytes)

    def whole(self) -> Reply:
        """Return the reply, once it is complete."""
        if not self._status:
            self._begin()
        return Reply(status=self._status, headers=self._headers, body=self._body())

    def _body(self) -> Content:
        if self._memory is not None:
            return self._memory[: self._taken_bytes]
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class _HeldBody:
    """Hands a body in memory to libcurl."""

    def __init__(self, body: memoryview) -> None:
        self._left = body

    def read(self, size_bytes: int) -> bytes:
        """Return the next bytes, nothing at the end; libcurl calls it."""
        piece, self._left = self._left[:size_bytes], self._left[size_bytes:]
        return bytes(piece)


class _OutgoingStream:
    """Hands the pieces of a body to libcurl, one after the other."""

    def __init__(self, curl: Any, pieces: AsyncIterable[Content]) -> None:
        self._curl = curl
        self._pieces = pieces
        self._left = memoryview(b"")
        self._is_over = False
        self._is_paused = False
        self._taken = asyncio.Event()

    def read(self, size_bytes: int) -> bytes | int:
        """Return the next bytes, nothing at the end; libcurl calls it."""
        if not self._left and not self._is_over:
            self._is_paused = True
            return int(pycurl.READFUNC_PAUSE)
        piece, self._left = self._left[:size_bytes], self._left[size_bytes:]
        if not self._left:
            self._taken.set()
        return bytes(piece)

    async def feed(self) -> None:
        """Let every piece be read."""
        async for piece in self._pieces:
            self._left = memoryview(piece)
            self._taken.clear()
            self._go_on()
            if piece:
                await self._taken.wait()
        self._is_over = True
        self._go_on()

    def _go_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            with contextlib.suppress(pycurl.error):  # the transfer is over already
                self._curl.pause(pycurl.PAUSE_CONT)


def _template(tls: Tls, proxy: Proxy | None) -> Any:
    """Return a handle with the options that all requests of a client share."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    curl.setopt(pycurl.USERAGENT, "skyferry")
    curl.setopt(pycurl.PATH_AS_IS, 1)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.BUFFERSIZE, _BUFFER_BYTES)
    curl.setopt(pycurl.UPLOAD_BUFFERSIZE, _BUFFER_BYTES)
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(CONNECT_SECONDS * 1000))
    curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
    curl.setopt(pycurl.LOW_SPEED_TIME, int(SILENCE_SECONDS))
    curl.setopt(pycurl.MAXAGE_CONN, _IDLE_SECONDS)
    _trust(curl, tls)
    # The empty string keeps libcurl from looking into the environment.
    curl.setopt(pycurl.PROXY, proxy.url if proxy else "")
    if proxy is not None:
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.HEADEROPT, pycurl.HEADER_SEPARATE)
        curl.setopt(pycurl.PROXYHEADER, _lines(proxy.headers))
        _trust_proxy(curl, proxy.tls)
    return curl


def _trust(curl: Any, tls: Tls) -> None:
    curl.setopt(pycurl.SSL_VERIFYPEER, int(tls.verifies))
    curl.setopt(pycurl.SSL_VERIFYHOST, 2 if tls.verifies else 0)
    for option, path in zip((pycurl.CAINFO, pycurl.CAPATH), _authorities(tls), strict=True):
        if path:
            curl.setopt(option, path)
    if tls.certificate:
        curl.setopt(pycurl.SSLCERT, tls.certificate)
        curl.setopt(pycurl.SSLKEY, tls.key or tls.certificate)


def _trust_proxy(curl: Any, tls: Tls) -> None:
    curl.setopt(pycurl.PROXY_SSL_VERIFYPEER, int(tls.verifies))
    curl.setopt(pycurl.PROXY_SSL_VERIFYHOST, 2 if tls.verifies else 0)
    for option, path in zip((pycurl.PROXY_CAINFO, pycurl.PROXY_CAPATH), _authorities(tls), strict=True):
        if path:
            curl.setopt(option, path)
    if tls.certificate:
        curl.setopt(pycurl.PROXY_SSLCERT, tls.certificate)
        curl.setopt(pycurl.PROXY_SSLKEY, tls.key or tls.certificate)


def _authorities(tls: Tls) -> tuple[str | None, str | None]:
    """Return file and folder of the authorities; the machine's are those Python trusts."""
    if not tls.authorities:
        paths = ssl.get_default_verify_paths()
        return paths.cafile, paths.capath
    if Path(tls.authorities).is_dir():
        return None, tls.authorities
    return tls.authorities, None


def _upload_bytes(method: str, headers: Mapping[str, str], body: Body | None) -> int | None:
    """Return the size of the body; None for methods that have none."""
    if body is None or isinstance(body, Content):
        return len(body or b"") if body or method in _WITH_BODY else None
    return int(headers["Content-Length"])


def _set_request(curl: Any, method: str, address: str, headers: Mapping[str, str], *, upload_bytes: int | None) -> None:
    curl.setopt(pycurl.URL, address)
    if upload_bytes is not None:
        if "Content-Length" in headers:
            headers = {name: value for name, value in headers.items() if name != "Content-Length"}
        curl.setopt(pycurl.UPLOAD, 1)
        curl.setopt(pycurl.INFILESIZE_LARGE, upload_bytes)
        if not upload_bytes:
            curl.setopt(pycurl.FRESH_CONNECT, 1)
    elif method == "HEAD":
        curl.setopt(pycurl.NOBODY, 1)
    if method not in ("GET", "HEAD"):
        curl.setopt(pycurl.CUSTOMREQUEST, method)
    curl.setopt(pycurl.HTTPHEADER, [*_lines(headers), *_UNASKED])


def _lines(headers: Mapping[str, str]) -> list[str] | list[bytes]:
    """Return headers as libcurl takes them, which would drop one without a value if it came with a colon.

    Raises:
        UnsafeHeaderError: As documented.
    """
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
    text = "".join(lines)
    if _UNSAFE.search(text):
        raise UnsafeHeaderError
    return lines if text.isascii() else [line.encode() for line in lines]


def _parsed_head(lines: list[bytes]) -> tuple[int, Mapping[str, str]]:
    """Return status and headers of the last head that came: those of a proxy or of "100 Continue" come before it."""
    start = max(index for index, line in enumerate(lines) if line.startswith(b"HTTP/"))
    fields = (line.decode("utf-8", "surrogateescape").partition(":") for line in lines[start + 1 :])
    headers = CIMultiDict((name, value.strip()) for name, colon, value in fields if colon)
    return int(lines[start].split(maxsplit=2)[1]), headers
