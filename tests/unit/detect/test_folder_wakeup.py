"""Waits for a folder: ended early by a new name, and by nothing else; never longer than they may."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from pathlib import Path

import pytest

from skyferry.detect import folder_wakeup
from skyferry.detect.folder_wakeup import FolderWakeUp

LONG_SECONDS = 60.0
SHORT_SECONDS = 1.0


async def soon(action) -> None:
    await asyncio.sleep(0.3)
    await asyncio.to_thread(action)


async def wait_during(wake_up: FolderWakeUp, action, seconds: float) -> bool:
    acting = asyncio.create_task(soon(action))
    is_new = await wake_up.wait(seconds)
    await acting
    return is_new


async def test_a_new_file_ends_the_wait(tmp_path: Path) -> None:
    async with FolderWakeUp(str(tmp_path)) as wake_up:
        started = time.monotonic()
        assert await wait_during(wake_up, lambda: (tmp_path / "a.csv").write_text("a"), LONG_SECONDS)
        assert time.monotonic() - started < LONG_SECONDS / 2


async def test_a_file_that_is_renamed_into_a_folder_below_does_too(tmp_path: Path) -> None:
    (tmp_path / "watched" / "below").mkdir(parents=True)
    (tmp_path / "a.tmp").write_text("a")
    async with FolderWakeUp(str(tmp_path / "watched")) as wake_up:
        assert await wait_during(
            wake_up, lambda: (tmp_path / "a.tmp").rename(tmp_path / "watched/below/a.csv"), LONG_SECONDS
        )


async def test_what_came_while_nobody_waited_is_not_forgotten(tmp_path: Path) -> None:
    async with FolderWakeUp(str(tmp_path)) as wake_up:
        (tmp_path / "a.csv").write_text("a")
        assert await wake_up.wait(LONG_SECONDS)


@pytest.mark.parametrize("what", ["written on", "removed", "ours", "nothing"])
async def test_nothing_else_does(tmp_path: Path, what: str) -> None:
    (tmp_path / "a.csv").write_text("a")
    actions = {
        "written on": lambda: (tmp_path / "a.csv").write_text("more"),
        "removed": (tmp_path / "a.csv").unlink,
        "ours": lambda: (tmp_path / ".skyferry-0011223344556677.part").write_text(""),
        "nothing": lambda: None,
    }
    async with FolderWakeUp(str(tmp_path)) as wake_up:
        assert not await wait_during(wake_up, actions[what], SHORT_SECONDS)


async def test_a_folder_that_comes_later_is_watched_from_then_on(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    async with FolderWakeUp(str(folder)) as wake_up:
        assert not await wake_up.wait(0.1)
        folder.mkdir()
        assert await wait_during(wake_up, lambda: (folder / "a.csv").write_text("a"), LONG_SECONDS)


async def test_a_folder_that_is_replaced_is_watched_again(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    async with FolderWakeUp(str(folder)) as wake_up:
        shutil.move(folder, tmp_path / "aside")
        folder.mkdir()
        await wake_up.wait(0.1)
        assert await wait_during(wake_up, lambda: (folder / "a.csv").write_text("a"), LONG_SECONDS)


@pytest.mark.parametrize("where", ["", "missing"])
async def test_without_a_folder_it_just_waits(tmp_path: Path, where: str) -> None:
    async with FolderWakeUp(str(tmp_path / where) if where else "") as wake_up:
        started = time.monotonic()
        assert not await wake_up.wait(0.8)
        assert time.monotonic() - started >= 0.7


async def test_a_system_that_cannot_watch_just_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(folder_wakeup, "awatch", fail)
    async with FolderWakeUp(str(tmp_path)) as wake_up:
        assert not await wait_during(wake_up, lambda: (tmp_path / "a.csv").write_text("a"), SHORT_SECONDS)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async def watch_and_be_cancelled() -> None:
        async with FolderWakeUp(str(tmp_path)) as wake_up:
            await wake_up.wait(LONG_SECONDS)

    async def run() -> None:
        task = asyncio.create_task(watch_and_be_cancelled())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    before = threading.active_count()
    asyncio.run(run())
    deadline = time.monotonic() + 30
    while threading.active_count() > before:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.05)
