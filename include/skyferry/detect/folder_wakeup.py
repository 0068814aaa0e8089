"""Ends the wait for the next look at a local folder early, as soon as the operating system tells of something in it.

It is a speed-up and nothing else. Notifications get lost on overflow, never come from network file systems, and end
with a folder that is removed; so every wait also has an end of its own, and each look scans the whole folder. Only new
names count, not every write: a file that is long in the making would otherwise have the folder scanned all the time.

Limit: one thread for each folder, of the 40 that anyio gives to a process. Folders beyond that are looked at as often
as without.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

from watchfiles import Change, awatch

from skyferry.keys import is_temporary_name

# It logs each change as news, and a busy folder has many.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

MIN_SECONDS = 0.5
"""No wait is shorter, so that many new files are seen in one look."""

_QUIET_MILLISECONDS = 50
_AT_MOST_MILLISECONDS = 250
_TRY_AGAIN_SECONDS = 30.0
"""After a failure (too many folders for the system's limit): setting up a large tree costs a scan of it."""


class FolderWakeUp:
    """Waits between two looks; use it as a context.

    Args:
        folder: Absolute path, which need not exist; empty for a place that tells of nothing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._new = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._watched: tuple[int, int] | None = None
        self._not_before = 0.0

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def wait(self, seconds: float) -> bool:
        """Return after so many seconds, or once there is something new; tell whether there is."""
        if not self._folder:
            await asyncio.sleep(seconds)
            return False
        await self._begin()
        await asyncio.sleep(min(seconds, MIN_SECONDS))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._new.wait(), max(0.0, seconds - MIN_SECONDS))
        is_new = self._new.is_set()
        self._new.clear()
        return is_new

    async def _begin(self) -> None:
        """Watch the folder that has the name now: it may be another one than a moment ago, or the first."""
        if not self._folder or time.monotonic() < self._not_before:
            return
        there = await asyncio.to_thread(_identity, self._folder)
        if there == self._watched and self._watching is not None and not self._watching.done():
            return
        await self._end()
        self._watched = there
        if there is not None:
            self._watching = asyncio.create_task(self._watch())
            await asyncio.sleep(0)  # it is watched from here on

    async def _watch(self) -> None:
        try:
            changes = awatch(
                self._folder,
                watch_filter=_is_new_name,
                step=_QUIET_MILLISECONDS,
                debounce=_AT_MOST_MILLISECONDS,
                ignore_permission_denied=True,
            )
            async for _ in changes:
                self._new.set()
        except Exception:  # noqa: BLE001 - whatever it is, looking goes on without
            self._not_before = time.monotonic() + _TRY_AGAIN_SECONDS

    async def _end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None


def _is_new_name(change: Change, path: str) -> bool:
    return change is Change.added and not is_temporary_name(PurePath(path).name)


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = Path(folder).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
