"""kill -9 in the middle of a large object: the next attempt sends what is missing, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.resume.conftest import Pier
from tests.resume.harbour import KEY, OBJECT_BYTES, PART_BYTES, PARTS, Harbour, content

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120


def start_copy(harbour: Harbour, *, parts: int, until: Path | None = None) -> subprocess.Popen[bytes]:
    """Copy in a process that can read so many parts, and the others when there is the file `until`."""
    arguments = [str(harbour.root), harbour.kind, harbour.endpoint, harbour.bucket, str(parts)]
    arguments += [str(until)] if until else []
    return subprocess.Popen(
        [sys.executable, "-m", "tests.resume.killable", *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'include'}"},
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, "the process ended by itself"
        assert time.monotonic() < deadline, "the parts did not arrive"
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("parts", [1, 5, 9], ids=["10%", "50%", "90%"])
async def test_what_had_arrived_is_not_sent_again(pier: Pier, parts: int) -> None:
    harbour, body = pier.harbour, content()
    (harbour.source / KEY).write_bytes(body)
    plan = await harbour.plan()
    process = start_copy(harbour, parts=parts)
    wait_for(lambda: pier.parts_taken() == parts, process)
    kill(process)
    assert await harbour.found() is None, "half an object was visible"
    assert harbour.records(), "nothing tells the next attempt"

    (await harbour.copy(plan, attempt=2)).raise_if_failed()
    if harbour.kind in ("s3", "az"):
        assert pier.parts_taken() == PARTS
    if harbour.kind == "gs":
        assert pier.parts_taken() == OBJECT_BYTES // PART_BYTES
    receipt = harbour.receipts()[-1]
    assert receipt["outcome"] == "copied"
    assert receipt["verified_by"]
    assert receipt["resumed_bytes"] == parts * PART_BYTES
    info = await harbour.found()
    assert info is not None
    assert info.size_bytes == OBJECT_BYTES
    if harbour.kind != "gs":  # the sink keeps no content; its CRC32C of what arrived was compared
        assert await harbour.found_content() == body
    assert harbour.records() == []
    assert not list(harbour.root.rglob(".skyferry-*"))
