"""The audit of a run finds every copy that is no longer what its receipt says, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from skyferry.audit import MAX_DIFFERENCES, Audit, audit_run
from skyferry.errors import ConnectionLostError, RequestError, TransferIncompleteError
from tests.engine.conftest import Workshop
from tests.engine.meddling import MeddledStore


async def audit(workshop: Workshop, **more: Any) -> Audit:
    return await audit_run(**workshop.arguments("run", {}), **more)


@pytest.fixture
async def copied(workshop: Workshop) -> Workshop:
    """A run that copied twelve objects in three batches."""
    for number in range(12):
        workshop.put(f"folder/{number}.txt", f"content {number}".encode())
    assert (await workshop.run(batch_objects=5)).objects_copied == 12
    return workshop


async def test_copies_that_are_there_are_confirmed(copied: Workshop) -> None:
    found = await audit(copied)
    assert (found.state, found.objects_audited, found.objects_confirmed) == ("success", 12, 12)
    assert (found.objects_rewritten, found.differences, found.records) == (0, (), "")
    found.raise_if_different()


async def test_each_difference_is_named_and_kept_on_record(copied: Workshop) -> None:
    before = copied.tree(copied.destination)
    (copied.destination / "folder/1.txt").unlink()
    (copied.destination / "folder/2.txt").write_bytes(b"CONTENT 2")
    (copied.destination / "folder/3.txt").write_bytes(b"shorter")
    after = copied.tree(copied.destination)
    found = await audit(copied)
    assert (found.state, found.objects_confirmed) == ("failed", 9)
    assert found.differences_by_kind == {"missing": 1, "other_content": 2}
    texts = {text.partition(" ")[0].rpartition("/")[2]: text for text in found.differences}
    assert texts["1.txt"] == f"file://{copied.destination}/folder/1.txt was copied by this run, and is not there"
    assert "has other content (9 bytes" in texts["2.txt"]
    assert "7 bytes" in texts["3.txt"]
    rows = [json.loads(line) for path in copied.state.rglob("audits/00000/*") for line in path.read_text().splitlines()]
    assert {row["key"] for row in rows} == {"folder/1.txt", "folder/2.txt", "folder/3.txt"}
    with pytest.raises(TransferIncompleteError, match="3 of 12 copies in .* run the transfer again"):
        found.raise_if_different()
    assert before != after == copied.tree(copied.destination), "an audit changes nothing"


async def test_running_the_transfer_again_mends_what_an_audit_found(copied: Workshop) -> None:
    (copied.destination / "folder/4.txt").write_bytes(b"CONTENT 4")
    assert (await audit(copied)).state == "failed"
    await copied.run("again")
    found = await audit(copied)
    assert (found.state, found.objects_confirmed, found.objects_rewritten) == ("success", 12, 1)
    assert (await audit(copied, reads_back=True)).confirmed_by == {"readback": 12}


async def test_a_second_audit_keeps_the_record_of_the_first(copied: Workshop) -> None:
    (copied.destination / "folder/0.txt").unlink()
    records = [(await audit(copied)).records for _ in range(2)]
    assert [url.rstrip("/").rpartition("/")[2] for url in records] == ["00000", "00001"]


async def test_an_object_that_cannot_be_read_is_a_difference_and_ends_nothing(copied: Workshop) -> None:
    async def broken(stat: Callable[[str], Awaitable[Any]], key: str) -> Any:
        if key == "folder/7.txt":
            raise ConnectionLostError(f"reading {key} failed")
        return await stat(key)

    copied.wrap_destination = lambda store: MeddledStore(store, stat=broken)
    found = await audit(copied)
    assert (found.objects_confirmed, found.differences_by_kind) == (11, {"unreadable": 1})


async def test_many_differences_are_counted_and_the_first_are_named(workshop: Workshop) -> None:
    for number in range(MAX_DIFFERENCES + 5):
        workshop.put(f"{number}.txt", b"x")
    await workshop.run()
    for path in workshop.destination.iterdir():
        path.unlink()
    found = await audit(workshop)
    assert found.differences_by_kind == {"missing": MAX_DIFFERENCES + 5}
    assert len(found.differences) == MAX_DIFFERENCES


async def test_objects_that_were_not_copied_are_not_audited(workshop: Workshop) -> None:
    workshop.put("same.txt", b"x")
    workshop.put("same.txt", b"x", where=workshop.destination)
    workshop.put("new.txt", b"y")
    await workshop.run()
    assert (await audit(workshop)).objects_audited == 1


async def test_a_run_without_records_cannot_be_audited(workshop: Workshop) -> None:
    workshop.destination.mkdir()
    with pytest.raises(RequestError, match="left no whole plan in .*; there is nothing to audit"):
        await audit(workshop)
