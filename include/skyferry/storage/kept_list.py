"""Objects a verb has listed before it begins to change them, so that what it changes is not listed again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Self

from skyferry.objects import ObjectInfo, info_from_json, info_to_json, json_line
from skyferry.storage.listing import Entry

_SPOOL_BYTES = 8 * 2**20


class KeptList:
    """Objects, each pinned to its version; a context manager. Memory holds eight MiB of them, the disk the others."""

    def __init__(self) -> None:
        self._lines = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed in `__exit__`
        self.objects = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        """Return the list."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget it."""
        self.close()

    def close(self) -> None:
        """Forget it."""
        self._lines.close()

    async def collect(self, entries: AsyncIterator[Entry]) -> None:
        """Take in the objects of a listing."""
        async for entry in entries:
            if entry.info is not None:
                self._lines.write(json_line(info_to_json(entry.info)).encode() + b"\n")
                self.objects += 1
                self.size_bytes += entry.info.size_bytes

    def __iter__(self) -> Iterator[ObjectInfo]:
        """Yield what was taken in."""
        self._lines.seek(0)
        for line in self._lines:
            yield info_from_json(json.loads(line))
