"""Memory for content: what is large comes from the operating system, and goes back when nothing refers to it any more.

The C library keeps what was freed, in a heap of each thread: a task that reads parts in threads would grow to twice the
parts under way.
"""

from __future__ import annotations

import contextlib
import mmap

Content = bytes | memoryview
"""The bytes of an object, or of a part of one."""

MAPPED_BYTES = 2**20
"""From here on content has memory of its own: that costs three calls of the system, nothing beside a mebibyte."""


def allocate(size_bytes: int) -> memoryview:
    """Return so much memory, to be written to; large pages are asked for, which are cheaper to take than small ones.

    Raises:
        OSError: The system has none left, or the task may take no more: let fewer tasks run at a time.
    """
    if size_bytes < MAPPED_BYTES:
        return memoryview(bytearray(size_bytes))
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # on Linux
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)
