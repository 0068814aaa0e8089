"""Requests over libcurl: what is sent, what is taken, and what becomes of connections; against servers on the spot."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from skyferry.errors import ConnectionConfigError, ConnectionLostError, PermanentError, SizeMismatchError
from skyferry.stores.http_client import HttpClient, OversizedError, Proxy, Tls, TransportError, UnsafeHeaderError
from skyferry.stores.http_requests import Line, Target, exchange

SECRET = "sig=abc"
TARGET = Target(action="reading", url="s3://lake/key", needs="", absent="object")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answering = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request as it is told to, and keeps what came and over how many connections."""

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                await self._answer(head, reader, writer)
        writer.close()


@contextlib.asynccontextmanager
async def running(answer: Answering, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


async def ok(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def get(client: HttpClient, server: Server, *, scheme: str = "http", path: str = "/") -> bytes:
    return (
        await client.send(
            "GET",
            f"{scheme}://127.0.0.1:{server.port}{path}",
            headers={},
            body=None,
            timeout_seconds=30,
            accept=lambda *_: None,
        )
    ).body


async def test_nothing_is_sent_that_nobody_asked_for() -> None:
    async with running(ok) as server, HttpClient() as client:
        address = f"http://127.0.0.1:{server.port}/a/../%2E/b%20c?x=%2F"
        headers = {"Host": "h", "x-empty": "", "X-Name": "gr\u00fc\u00df"}
        await client.send("GET", address, headers=headers, body=None, timeout_seconds=30, accept=lambda *_: None)
    head = "Host: h\r\nUser-Agent: skyferry\r\nx-empty:\r\nX-Name: gr\u00fc\u00df\r\n\r\n"
    assert server.heads == [f"GET /a/../%2E/b%20c?x=%2F HTTP/1.1\r\n{head}".encode()]


async def test_environment_and_netrc_are_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running(ok) as server, HttpClient() as client:
        assert await get(client, server) == b"ok"
    assert b"Authorization" not in server.heads[0]


async def test_a_redirect_is_an_answer() -> None:
    async def elsewhere(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 307 Go\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")

    async with running(elsewhere) as server, HttpClient() as client:
        answer = await exchange(Line(client=client), "GET", f"http://127.0.0.1:{server.port}/", TARGET)
    assert (answer.status, len(server.heads)) == (307, 1)
    assert answer.headers["LOCATION"] == "/other"


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
async def test_a_header_cannot_begin_another(value: str) -> None:
    async with running(ok) as server, HttpClient() as client:
        address = f"http://127.0.0.1:{server.port}/"
        with pytest.raises(UnsafeHeaderError):
            await client.send(
                "GET", address, headers={"X": value}, body=None, timeout_seconds=30, accept=lambda *_: None
            )
        with pytest.raises(PermanentError, match="UnsafeHeaderError"):
            await exchange(Line(client=client), "GET", address, TARGET, headers={"X": value})
    assert server.heads == []


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.partition(b":")[2]))


@pytest.mark.parametrize("given_as", ["bytes", "memory", "stream"])
@pytest.mark.parametrize("size_bytes", [1, 65_536, 3_000_001])
async def test_a_body_arrives_as_it_is(given_as: str, size_bytes: int) -> None:
    content = bytes(range(251)) * (size_bytes // 251 + 1)
    content = content[:size_bytes]
    found = []

    async def keep(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append(await _read_body(head, reader))
        writer.write(OK)

    async def pieces() -> AsyncIterator[bytes]:
        for start_byte in range(0, size_bytes, 100_000):
            await asyncio.sleep(0)
            yield content[start_byte : start_byte + 100_000]

    async with running(keep) as server, HttpClient() as client:
        await client.send(
            "PUT",
            f"http://127.0.0.1:{server.port}/",
            headers={"Content-Length": str(size_bytes)},
            body={"bytes": content, "memory": memoryview(content), "stream": pieces()}[given_as],
            timeout_seconds=30,
            accept=lambda *_: None,
        )
    assert found == [content]
    assert server.heads[0].lower().count(b"content-length") == 1


async def test_what_breaks_a_streamed_body_ends_its_request() -> None:
    async def wait(_: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert not await reader.read()  # the connection is closed: nothing of what was sent can be taken for whole
        writer.close()

    async def broken() -> AsyncIterator[bytes]:
        raise ConnectionLostError("the source is gone")
        yield b""

    async with running(wait) as server, HttpClient() as client:
        with pytest.raises(ConnectionLostError, match="the source is gone"):
            await client.send(
                "PUT",
                f"http://127.0.0.1:{server.port}/",
                headers={"Content-Length": "5"},
                body=broken(),
                timeout_seconds=30,
                accept=lambda *_: None,
            )


@pytest.mark.parametrize("size_bytes", [0, 1, 65_536, 2**20, 3_000_001])
@pytest.mark.parametrize("most_bytes", [None, 3_000_001, 8 * 2**20])
async def test_an_answer_arrives_as_it_is(size_bytes: int, most_bytes: int | None) -> None:
    content = (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]

    async def give(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size_bytes + content)

    async with running(give) as server, HttpClient() as client:
        address = f"http://127.0.0.1:{server.port}/"
        answer = await client.send(
            "GET", address, headers={}, body=None, timeout_seconds=30, accept=lambda *_: most_bytes
        )
    assert answer.body == content


async def test_an_unwanted_answer_is_not_read() -> None:
    async def endless(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Version: 2\r\n\r\n")
        while not writer.is_closing():
            writer.write(bytes(100_000))
            await writer.drain()

    def refuse(_: int, headers: object) -> None:
        raise SizeMismatchError(f"no {headers}")

    async with running(endless) as server, HttpClient() as client:
        line, address = Line(client=client), f"http://127.0.0.1:{server.port}/"
        with pytest.raises(SizeMismatchError, match="X-Version"):
            await exchange(line, "GET", address, TARGET, accept=refuse, size_bytes=10)
        with pytest.raises(SizeMismatchError, match="came with more bytes; 1,000,000 were asked for"):
            await exchange(line, "GET", address, TARGET, accept=lambda *_: None, size_bytes=1_000_000)
        for most_bytes in (5, 2**20 + 5):
            limit = functools.partial(_limited, most_bytes)
            with pytest.raises(OversizedError):
                await client.send("GET", address, headers={}, body=None, timeout_seconds=30, accept=limit)


def _limited(most_bytes: int, *_: object) -> int:
    return most_bytes


async def test_connections_are_used_again_and_never_more_than_allowed() -> None:
    async with running(ok) as server, HttpClient(max_requests=3) as client:
        for _ in range(3):
            await asyncio.gather(*(get(client, server) for _ in range(10)))
    assert (server.connections, len(server.heads)) == (3, 30)


async def test_a_cancelled_request_leaves_no_connection_behind() -> None:
    asked = asyncio.Event()

    async def answer(head: bytes, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/slow" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl")
            asked.set()
        else:
            writer.write(OK)

    async with running(answer) as server, HttpClient() as client:
        assert await get(client, server) == b"ok"
        slow = asyncio.create_task(get(client, server, path="/slow"))
        await asked.wait()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert await get(client, server) == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize(("method", "body", "expected"), [("GET", None, 2), ("POST", None, 1), ("PUT", b"x" * 9, 1)])
async def test_only_reads_are_repeated_on_a_connection_that_turns_out_closed(
    method: str, body: bytes | None, expected: int
) -> None:
    is_first = True

    async def closes_once(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal is_first
        if head.startswith(b"GET /warm"):
            writer.write(OK)
            return
        if body:
            await _read_body(head, reader)
        if is_first:
            is_first = False
            writer.close()
        else:
            writer.write(OK)

    async with running(closes_once) as server, HttpClient() as client:
        await get(client, server, path="/warm")
        address = f"http://127.0.0.1:{server.port}/"
        sending = client.send(method, address, headers={}, body=body, timeout_seconds=30, accept=lambda *_: None)
        if expected == 2:
            assert (await sending).status == 200
        else:
            with pytest.raises(TransportError):
                await sending
    assert sum(head.startswith(method.encode() + b" / ") for head in server.heads) == expected


async def test_deadline_and_silence_end_a_request() -> None:
    async def never(_: bytes, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read()

    async with running(never) as server, HttpClient() as client:
        with pytest.raises(TransportError, match="too long"):
            await client.send(
                "GET",
                f"http://127.0.0.1:{server.port}/?{SECRET}",
                headers={},
                body=None,
                timeout_seconds=0.2,
                accept=lambda *_: None,
            )


async def test_no_endpoint_is_a_lost_connection_without_secrets() -> None:
    async with HttpClient() as client:
        with pytest.raises(
            ConnectionLostError, match=r"no connection could be made; http://127\.0\.0\.1:9 did"
        ) as raised:
            await exchange(Line(client=client), "GET", f"http://{SECRET}@127.0.0.1:9/{SECRET}?{SECRET}", TARGET)
    assert SECRET not in f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"


async def test_a_proxy_gets_the_whole_address_and_its_own_headers() -> None:
    async with running(ok) as server:
        proxy = Proxy(url=f"http://user:word@127.0.0.1:{server.port}", headers={"X-Team": "a"})
        async with HttpClient(proxy=proxy) as client:
            await exchange(Line(client=client), "GET", "http://store.example/key?x=1", TARGET)
    head = server.heads[0].decode()
    assert head.startswith("GET http://store.example/key?x=1 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in head
    assert "X-Team: a\r\n" in head


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the key and the certificate of 127.0.0.1, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


async def test_certificates_are_checked_as_the_connection_says(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with running(ok, tls=context) as server:
        for tls in (Tls(authorities=str(certificate)), Tls(verifies=False)):
            async with HttpClient(tls=tls) as client:
                assert await get(client, server, scheme="https") == b"ok"
        async with HttpClient() as client:
            line = Line(client=client, trust_hint="do this")
            with pytest.raises(ConnectionConfigError, match="not trusted; do this"):
                await exchange(line, "GET", f"https://127.0.0.1:{server.port}/", TARGET)
            with pytest.raises(ConnectionConfigError, match="not trusted"):
                await exchange(line, "GET", f"https://localhost:{server.port}/", TARGET)
    assert len(server.heads) == 2


async def test_a_certificate_is_shown_where_one_is_asked_for(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    async with running(ok, tls=context) as server:
        tls = Tls(authorities=str(certificate), certificate=str(certificate))
        async with HttpClient(tls=tls) as client:
            assert await get(client, server, scheme="https") == b"ok"
        async with HttpClient(tls=Tls(authorities=str(certificate))) as client:
            with pytest.raises(TransportError):
                await get(client, server, scheme="https")
