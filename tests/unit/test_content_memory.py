"""Memory for content: as much as was asked for, and none of it kept once it is not needed."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

import pytest

from skyferry.content_memory import MAPPED_BYTES, allocate

PART_BYTES = 8 * 2**20
THREADS = 8


@pytest.mark.parametrize("size_bytes", [0, 1, MAPPED_BYTES - 1, MAPPED_BYTES, MAPPED_BYTES + 1, 8 * 2**20])
def test_memory_has_the_size_that_was_asked_for_and_takes_bytes(size_bytes: int) -> None:
    memory = allocate(size_bytes)
    memory[:] = b"x" * size_bytes
    assert memory == b"x" * size_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_threads_have_taken_goes_back_to_the_system() -> None:
    before_bytes = _resident_bytes()
    for _ in range(3):  # the C library keeps more once it has seen such memory come and go
        held: list[memoryview] = []
        threads = [threading.Thread(target=_take, args=(held,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert _resident_bytes() - before_bytes > 0.8 * THREADS * PART_BYTES
        held.clear()
    assert _resident_bytes() - before_bytes < 0.3 * THREADS * PART_BYTES


def test_a_piece_holds_the_whole() -> None:
    memory = allocate(2 * MAPPED_BYTES)
    memory[:] = bytes([7]) * len(memory)
    piece = memory[MAPPED_BYTES:]
    del memory
    assert piece == bytes([7]) * MAPPED_BYTES


def _take(held: list[memoryview]) -> None:
    memory = allocate(PART_BYTES)
    with Path("/dev/zero").open("rb", buffering=0) as zeros:
        assert zeros.readinto(memory) == PART_BYTES
    held.append(memory)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
