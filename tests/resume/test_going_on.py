"""What an interrupted upload is good for: a later attempt, another run, another worker; and what it must never do."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from skyferry.errors import PermanentError
from skyferry.objects import ObjectInfo
from skyferry.stages import Plan
from tests.engine.meddling import MeddledStore
from tests.resume.conftest import Pier, make_pier
from tests.resume.harbour import KEY, OBJECT_BYTES, PART_BYTES, PARTS, content
from tests.resume.test_killed import PATIENCE_SECONDS, kill, start_copy, wait_for


@pytest.fixture
def s3(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with make_pier("s3", request, tmp_path) as made:
        yield made


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with make_pier("file", request, tmp_path) as made:
        yield made


class Reads:
    """Counts the parts that are read of the source, and fails from some part on, when those before have arrived."""

    def __init__(self, pier: Pier, *, fails_from: int = PARTS) -> None:
        self.parts: list[int] = []
        self._fails_from = fails_from
        self._parts_taken = pier.parts_taken
        pier.harbour.wrap_source = lambda store: MeddledStore(store, read_range=self._read)

    async def _read(self, method: Any, info: ObjectInfo, start_byte: int, size_bytes: int) -> Any:
        index = start_byte // PART_BYTES
        if index >= self._fails_from:
            await self._until_the_others_have_arrived()
            raise PermanentError("the source cannot be read")
        body = await method(info, start_byte, size_bytes)
        self.parts.append(index)
        return body

    async def _until_the_others_have_arrived(self) -> None:
        # Without keeping a thread: reading, hashing and writing need the few there are.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while await asyncio.to_thread(self._parts_taken) < self._fails_from:
            assert time.monotonic() < deadline, "the parts did not arrive"
            await asyncio.sleep(0.02)


async def interrupted(pier: Pier, *, parts: int) -> Plan:
    harbour = pier.harbour
    (harbour.source / KEY).write_bytes(content())
    plan = await harbour.plan()
    Reads(pier, fails_from=parts)
    result = await harbour.copy(plan, attempt=1)
    assert result.failures
    assert await harbour.found() is None
    return plan


async def test_parts_that_were_read_are_not_read_again(s3: Pier) -> None:
    plan = await interrupted(s3, parts=6)
    reads = Reads(s3)
    (await s3.harbour.copy(plan, attempt=2)).raise_if_failed()
    assert sorted(reads.parts) == [6, 7, 8, 9]
    assert s3.parts_taken() == PARTS
    assert await s3.harbour.found_content() == content()


async def test_a_later_run_goes_on(pier: Pier) -> None:
    await interrupted(pier, parts=6)
    Reads(pier)
    plan = await pier.harbour.plan("next")
    (await pier.harbour.copy(plan, attempt=1, run_id="next")).raise_if_failed()
    info = await pier.harbour.found()
    assert info is not None
    assert info.size_bytes == OBJECT_BYTES
    assert pier.harbour.receipts()[-1]["resumed_bytes"] == 6 * PART_BYTES
    report = await pier.harbour.report("next")
    assert (report.objects_copied, report.state) == (1, "success")
    assert pier.harbour.records() == []


async def test_a_source_that_changed_begins_anew(pier: Pier) -> None:
    await interrupted(pier, parts=6)
    newer = content(seed=1)
    (pier.harbour.source / KEY).write_bytes(newer)
    reads = Reads(pier)
    plan = await pier.harbour.plan("next")
    (await pier.harbour.copy(plan, attempt=1, run_id="next")).raise_if_failed()
    assert sorted(reads.parts) == list(range(PARTS))
    if pier.harbour.kind != "gs":
        assert await pier.harbour.found_content() == newer
    assert pier.harbour.records() == []
    assert not list(pier.harbour.root.rglob(".skyferry-*"))


async def test_a_source_that_changes_meanwhile_begins_anew(folder: Pier) -> None:
    harbour, newer = folder.harbour, content(seed=1)
    (harbour.source / KEY).write_bytes(content())
    plan = await harbour.plan()

    async def change(method: Any, info: ObjectInfo, start_byte: int, size_bytes: int) -> Any:
        if start_byte == 6 * PART_BYTES and (harbour.source / KEY).read_bytes()[:8] != newer[:8]:
            (harbour.source / KEY).write_bytes(newer)
        return await method(info, start_byte, size_bytes)

    harbour.wrap_source = lambda store: MeddledStore(store, read_range=change)
    (await harbour.copy(plan, attempt=1)).raise_if_failed()
    assert await harbour.found_content() == newer
    assert harbour.records() == []
    assert not list(harbour.root.rglob(".skyferry-*"))


async def test_a_worker_that_was_cut_off_does_no_harm(pier: Pier) -> None:
    """It still holds its upload when its successor is done, and finishes later."""
    harbour, body = pier.harbour, content()
    (harbour.source / KEY).write_bytes(body)
    plan = await harbour.plan()
    go = harbour.root / "go"
    zombie = start_copy(harbour, parts=5, until=go)
    try:
        wait_for(lambda: pier.parts_taken() >= 5, zombie)
        (await harbour.copy(plan, attempt=2)).raise_if_failed()
        first = await harbour.found()
        go.touch()
        assert await asyncio.to_thread(zombie.wait, 120) == 0, "the one that came too late failed"
    finally:
        if zombie.poll() is None:
            kill(zombie)
    last = await harbour.found()
    assert first is not None
    assert last is not None
    if harbour.kind != "gs":  # the sink knows no conditions, and takes a second object
        assert (last.etag, last.size_bytes) == (first.etag, OBJECT_BYTES)
        assert await harbour.found_content() == body
    assert not list(harbour.root.rglob(".skyferry-*"))


HOSTILE = {
    "no JSON": lambda row: "{",
    "a list": lambda row: "[1]",
    "nothing": lambda row: "",
    "no version": lambda row: json.dumps({name: row[name] for name in row if name != "version"}),
    "another size": lambda row: json.dumps(row | {"size_bytes": OBJECT_BYTES + 1}),
    "tiny parts": lambda row: json.dumps(row | {"part_bytes": 1}),
    "huge parts": lambda row: json.dumps(row | {"part_bytes": 2**40}),
    "another place": lambda row: json.dumps(row | {"token": {"file": "../in/large.bin", "upload_id": "x"}}),
    "no token": lambda row: json.dumps(row | {"token": {}}),
}


@pytest.mark.parametrize("damage", HOSTILE)
async def test_a_damaged_record_is_not_believed(folder: Pier, damage: str) -> None:
    plan = await interrupted(folder, parts=1)
    (name,) = [name for name in folder.harbour.records() if name.endswith("upload.json")]
    path = folder.harbour.state / "uploads" / name
    path.write_text(HOSTILE[damage](json.loads(path.read_text())))
    Reads(folder)
    (await folder.harbour.copy(plan, attempt=2)).raise_if_failed()
    assert await folder.harbour.found_content() == content()
    assert (folder.harbour.source / KEY).read_bytes() == content()


@pytest.mark.parametrize("field", ["crc64nvme", "crc32c"])
async def test_digests_on_record_are_not_believed(s3: Pier, field: str) -> None:
    plan = await interrupted(s3, parts=6)
    (name,) = [name for name in s3.harbour.records() if "parts-" in name]
    path = s3.harbour.state / "uploads" / name
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["digests"][field] = "00" * (len(row["digests"][field]) // 2)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Reads(s3)
    result = await s3.harbour.copy(plan, attempt=2)
    assert await s3.harbour.found_content() == content()
    if field != "crc32c":
        result.raise_if_failed()


async def test_only_what_was_in_flight_is_sent_again(s3: Pier) -> None:
    """The process dies while its ninth part is under way: that one may be sent twice, and no other."""
    harbour = s3.harbour
    (harbour.source / KEY).write_bytes(content())
    plan = await harbour.plan()
    process = start_copy(harbour, parts=9)
    wait_for(lambda: s3.parts_taken() >= 8, process)
    kill(process)
    (await harbour.copy(plan, attempt=2)).raise_if_failed()
    assert s3.parts_taken() <= PARTS + 1
    assert await harbour.found_content() == content()


async def test_no_record_costs_no_object(folder: Pier) -> None:
    (folder.harbour.source / KEY).write_bytes(content())
    plan = await folder.harbour.plan()
    (folder.harbour.state / "uploads").write_text("a file, where the records would be")
    (await folder.harbour.copy(plan, attempt=1)).raise_if_failed()
    assert await folder.harbour.found_content() == content()
