"""Where large objects go in these tests, and what counts on the way there."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from skyferry import attempts as attempts_module
from stack.running import Endpoint
from tests.bench.servers import serving
from tests.faults.proxy import Fault, FaultProxy, Forward, Request, Response, fault_proxy_in_thread
from tests.faults.s3_front import simple_storage
from tests.resume.harbour import PART_BYTES, Harbour, session_bytes


@dataclass(frozen=True)
class Pier:
    """A harbour, and how many parts of an object have been taken there so far, counted on the way.

    Attributes:
        parts_taken: Every request counts that carried one, whether it was the first time or not.
    """

    harbour: Harbour
    parts_taken: Callable[[], int]
    proxy: FaultProxy | None = None


@pytest.fixture(params=["s3", "az", "gs", "file"])
def pier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pier]:
    with make_pier(request.param, request, tmp_path) as made:
        yield made


@contextlib.contextmanager
def make_pier(kind: str, request: pytest.FixtureRequest, root: Path) -> Iterator[Pier]:
    bucket = f"resume-{secrets.token_hex(6)}"
    if kind == "file":
        harbour = Harbour(root, kind=kind, endpoint="", bucket=bucket)
        yield Pier(harbour, lambda: _journal_lines(root / bucket))
        return
    if kind == "gs":
        with serving("bench.sink") as port:
            url = f"http://127.0.0.1:{port}"
            yield Pier(Harbour(root, kind=kind, endpoint=url, bucket=bucket), lambda: session_bytes(url) // PART_BYTES)
        return
    emulator: Endpoint = request.getfixturevalue({"s3": "moto", "az": "azurite"}[kind])
    counter = _PartCounter(simple_storage() if kind == "s3" else None)
    with fault_proxy_in_thread(emulator.url, always=counter.respond) as proxy:
        harbour = Harbour(root, kind=kind, endpoint=proxy.url, bucket=bucket)
        yield Pier(harbour, lambda: counter.parts, proxy)


class _PartCounter:
    """Counts the parts that the other side has taken."""

    def __init__(self, beneath: Fault | None) -> None:
        self._beneath = beneath
        self.parts = 0

    async def respond(self, request: Request, forward: Forward) -> Response:
        response = await (self._beneath(request, forward) if self._beneath else forward(request))
        if request.method == "PUT" and ("partNumber=" in request.target or "comp=block&" in request.target):
            self.parts += response.status in (200, 201)
        return response


def _journal_lines(folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.glob(".skyferry-*.journal.part"))


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)
