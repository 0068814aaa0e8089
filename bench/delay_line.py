"""A TCP proxy that holds every byte from the client back for a fixed time, as a long line would; of any bandwidth.

    python -m bench.delay_line TARGET_PORT DELAY_SECONDS      prints its port once it serves

What the client sends is delayed, what the server answers is not: a request and its answer take one delay longer, a body
of many packets no longer than a body of one. Connecting costs nothing, unlike on a real line.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import cast

import uvloop

_HIGH_WATER_BYTES = 16 * 2**20


class _Answers(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.close()

    # The server takes no more for now: the client is to wait as well.

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()


class _Requests(asyncio.Protocol):
    """The client's side of one connection; keeps what came, with the time at which it may go on."""

    def __init__(self, target_port: int, delay_seconds: float) -> None:
        self._target_port = target_port
        self._delay_seconds = delay_seconds
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes]] = deque()
        self._server: asyncio.Transport | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connecting = self._loop.create_task(self._connect(self._transport))

    async def _connect(self, client: asyncio.Transport) -> None:
        try:
            server, answers = await self._loop.create_connection(
                lambda: _Answers(client), "127.0.0.1", self._target_port
            )
        except OSError:
            client.close()
            return
        # The client may be paced by the server, not by the reserve of this line.
        client.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        server.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._server = answers.transport
        if self._is_lost:
            server.close()
        elif self._held:
            self._wait()

    def data_received(self, data: bytes) -> None:
        self._held.append((self._loop.time() + self._delay_seconds, data))
        if len(self._held) == 1 and self._server is not None:
            self._wait()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        if self._server is not None and not self._held:
            self._server.close()

    def _wait(self) -> None:
        self._loop.call_at(self._held[0][0], self._send)

    def _send(self) -> None:
        assert self._server is not None
        # A timer may fire a little early; what is due within a millisecond is due.
        due = self._loop.time() + 0.001
        while self._held and self._held[0][0] <= due:
            self._server.write(self._held.popleft()[1])
        if self._held:
            self._wait()
        elif self._is_lost:
            self._server.close()


async def serve(target_port: int, delay_seconds: float) -> None:
    """Serve on a free port of the loopback address until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Requests(target_port, delay_seconds), "127.0.0.1", 0, backlog=1024)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
