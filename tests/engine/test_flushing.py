"""A large object on its way into a local folder is made durable as it comes, and never rests on a write that failed."""

from __future__ import annotations

import errno
import os
import stat
import threading

import pytest

from skyferry.stores.local_upload import FLUSH_BYTES
from tests.engine.conftest import Workshop


class Disk:
    """The kernel's flush of large files, watched: how often it was called, and which calls fail, from 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flushes = 0
        self.failing: set[int] = set()
        self._lock = threading.Lock()
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._flush)

    def _flush(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size > FLUSH_BYTES // 2:
            with self._lock:
                self.flushes += 1
                fails = self.flushes in self.failing
            if fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._fsync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture(scope="module")
def large() -> bytes:
    """Content of a file that is flushed twice on the way."""
    return bytes(range(256)) * (2 * FLUSH_BYTES // 256) + b"the end"


async def test_the_disk_works_while_the_parts_come(workshop: Workshop, disk: Disk, large: bytes) -> None:
    workshop.put("large", large)
    report = await workshop.run()
    assert (report.state, report.objects_copied) == ("success", 1)
    assert disk.flushes == 3, "twice on the way, and at the end, which covers all"


@pytest.mark.parametrize("failing", [1, 3], ids=["on the way", "at the end"])
async def test_what_the_disk_lost_is_written_anew(workshop: Workshop, disk: Disk, large: bytes, failing: int) -> None:
    workshop.put("large", large)
    disk.failing = {failing}
    report = await workshop.run()
    assert (report.state, report.objects_copied) == ("success", 1)
    found = workshop.tree(workshop.destination)
    assert list(found) == ["large"], "no partial file, no journal"
    assert found["large"] == large
    assert disk.flushes >= failing + 3, "all of the file again, not only a second flush"
    assert report.retries_by_cause["UploadLostError"] >= 1
