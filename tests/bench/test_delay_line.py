"""The delay line holds a request back once, however long it is, and changes no byte of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import aiohttp
import pytest

from tests.bench.servers import serving

DELAY_SECONDS = 0.3


@pytest.fixture
def line() -> Iterator[str]:
    with serving("bench.sink") as sink_port, serving("bench.delay_line", str(sink_port), str(DELAY_SECONDS)) as port:
        yield f"http://127.0.0.1:{port}"


async def test_each_request_of_a_connection_waits(line):
    started = time.monotonic()
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.head(f"{line}/bucket") as answer:
                assert answer.status == 200
    assert time.monotonic() - started >= 3 * DELAY_SECONDS


async def test_a_long_body_arrives_whole_and_waits_as_a_whole(line):
    body = bytes(range(256)) * 2**18
    started = time.monotonic()
    async with aiohttp.ClientSession() as session, session.put(f"{line}/bucket/key", data=body) as answer:
        assert answer.headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    # Packet by packet (of 64 KiB at most on such a connection) it would take five minutes.
    assert DELAY_SECONDS <= time.monotonic() - started < 120


async def test_an_answer_is_not_held_back_by_the_end_of_the_requests(line):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        async with session.get(f"{line}/bucket?list-type=2") as answer:
            assert b"ListBucketResult" in await answer.read()
