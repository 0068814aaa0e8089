"""The objects of a run, from its records: each once, page by page, with what became of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyferry.errors import AccessDeniedError
from skyferry.objects import ObjectInfo
from skyferry.records import Outcome, Receipt
from skyferry.run_objects import BEGINNING, RunObject, read_objects
from skyferry.state import StateFolder
from skyferry.stores.local import LocalStore
from tests.engine.conftest import Workshop
from tests.engine.meddling import MeddledStore


async def objects_of(
    workshop: Workshop, *, limit: int = 2, outcome: str | None = None, is_finished: bool = True
) -> list[RunObject]:
    arguments = workshop.arguments("run", {})
    del arguments["request"]
    found: list[RunObject] = []
    cursor: str | None = BEGINNING
    while cursor is not None:
        page = await read_objects(**arguments, is_finished=is_finished, outcome=outcome, limit=limit, cursor=cursor)
        assert len(page.objects) <= limit
        found += page.objects
        cursor = page.next_cursor
    return found


def outcomes(objects: list[RunObject]) -> dict[str, str]:
    assert len({each.key for each in objects}) == len(objects)
    return {each.key: each.outcome for each in objects}


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_every_object_is_there_once_whatever_the_size_of_a_page(workshop: Workshop, limit: int) -> None:
    for number in range(7):
        workshop.put(f"{number}", b"content")
    workshop.put("6", b"content", where=workshop.destination)
    report = await workshop.run(batch_objects=2)
    found = await objects_of(workshop, limit=limit)
    assert outcomes(found) == {**{str(number): "copied" for number in range(6)}, "6": "skipped"}
    assert sum(each.size_bytes for each in found if each.outcome == "copied") == report.bytes_copied
    assert [each.key for each in await objects_of(workshop, limit=limit, outcome="skipped")] == ["6"]
    assert all(each.verified_by and each.checksums for each in found if each.outcome == "copied")


async def test_what_has_no_receipt_is_pending_until_the_run_is_over(workshop: Workshop) -> None:
    for number in range(3):
        workshop.put(f"{number}", b"content")
    plan = await workshop.plan(batch_objects=1)
    assert set(outcomes(await objects_of(workshop, is_finished=False)).values()) == {"pending"}
    await workshop.copy(plan.batches[0], batch_objects=1)
    expected = {"0": "copied", "1": "pending", "2": "pending"}
    assert outcomes(await objects_of(workshop, is_finished=False)) == expected
    over = await objects_of(workshop, is_finished=True)
    assert outcomes(over) == {"0": "copied", "1": "failed", "2": "failed"}
    assert "left no receipt" in over[1].reason


async def test_the_last_attempt_counts_and_failures_say_why(workshop: Workshop) -> None:
    workshop.put("a", b"content")

    async def deny(method: Any, info: ObjectInfo) -> Any:
        raise AccessDeniedError("access denied reading")

    plan = await workshop.plan()
    workshop.wrap_source = lambda store: MeddledStore(store, read_object=deny)
    await workshop.copy(plan.batches[0])
    [failed] = await objects_of(workshop)
    assert (failed.outcome, failed.reason, failed.attempt) == ("failed", "access denied reading", 1)
    workshop.wrap_source = lambda store: store
    await workshop.copy(plan.batches[0], attempt=2)
    [copied] = await objects_of(workshop)
    assert (copied.outcome, copied.attempt) == ("copied", 2)


async def test_a_run_that_planned_again_shows_what_it_took_over_once(workshop: Workshop) -> None:
    workshop.put("a", b"content")
    await workshop.run()
    workshop.put("b", b"content")
    await workshop.run()
    assert outcomes(await objects_of(workshop)) == {"a": "copied", "b": "copied"}


async def test_a_dry_run_shows_what_it_would_not_copy_and_a_run_without_a_plan_nothing(workshop: Workshop) -> None:
    workshop.put("a", b"content")
    workshop.put("b", b"content")
    workshop.put("b", b"content", where=workshop.destination)
    assert await objects_of(workshop) == []
    await workshop.plan(dry_run=True)
    assert outcomes(await objects_of(workshop)) == {"b": "skipped"}


async def test_a_run_that_consumed_a_queue_shows_its_receipts(workshop: Workshop) -> None:
    run = workshop.arguments("run", {})["run"]
    receipt = Receipt(
        key="a", destination_key="a", outcome=Outcome.COPIED, reason="new", size_bytes=7, source_etag="e", attempt=1
    )
    state = StateFolder(LocalStore(workshop.state), run.folder)
    await LocalStore(workshop.state).create_bucket()
    for slot, key in enumerate(("a", "b")):
        name = f"queue/receipts/orders/{slot:05d}/try-01-00000.ndjson"
        await state.write(name, [replace(receipt, key=key).to_json()])
    assert outcomes(await objects_of(workshop, limit=1)) == {"a": "copied", "b": "copied"}
