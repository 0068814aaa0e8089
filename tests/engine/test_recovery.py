"""What a run says and keeps after something went wrong: failed deletions, plans that died, records refused."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from skyferry import attempts as attempts_module
from skyferry.batch_copy import MAX_LARGE_OBJECTS
from skyferry.errors import AccessDeniedError, ConnectionLostError, PermanentError, RequestError
from skyferry.object_transfer import SMALL_OBJECT_BYTES
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.stores.local import LocalStore
from tests.engine.conftest import Workshop
from tests.engine.meddling import MeddledStore


class Killed(BaseException):
    """Stands for the end of the process: nothing in the engine may catch it."""


async def deny(method: Any, info: ObjectInfo) -> bool:
    raise AccessDeniedError("access denied deleting")


async def delete_and_die(method: Any, info: ObjectInfo) -> bool:
    await method(info)
    raise Killed


class TestMoves:
    @pytest.mark.parametrize("is_there", [False, True])
    async def test_a_source_that_cannot_be_deleted_fails_the_run(self, workshop: Workshop, is_there: bool) -> None:
        workshop.put("a", b"content")
        if is_there:
            workshop.put("a", b"content", where=workshop.destination)
        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=deny)
        plan = await workshop.plan(copy=False)
        result = await workshop.copy(plan.batches[0], copy=False)
        report = await workshop.report(copy=False)
        assert (report.state, report.objects_copied, report.objects_failed) == ("failed", 0, 1)
        assert report.problems == ("access denied deleting",)
        assert (result.counts["failed"], result.bytes_copied) == (1, report.bytes_copied)

    async def test_the_next_attempt_deletes_it(self, workshop: Workshop) -> None:
        workshop.put("a", b"content")
        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=deny)
        plan = await workshop.plan(copy=False)
        await workshop.copy(plan.batches[0], copy=False)
        workshop.wrap_source = lambda store: store
        await workshop.copy(plan.batches[0], attempt=2, copy=False)
        report = await workshop.report(copy=False)
        assert (report.state, report.objects_copied, report.objects_deleted_at_source) == ("success", 1, 1)
        assert workshop.tree(workshop.source) == {}

    async def test_a_batch_that_died_before_it_deleted_fails_the_run(self, workshop: Workshop) -> None:
        workshop.put("a", b"content")

        async def die(method: Any, info: ObjectInfo) -> bool:
            raise Killed

        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=die)
        plan = await workshop.plan(copy=False)
        with pytest.raises(Killed):
            await workshop.copy(plan.batches[0], copy=False)
        report = await workshop.report(copy=False)
        assert (report.state, report.objects_failed) == ("failed", 1)
        assert "still at the source" in report.problems[0]

    async def test_an_identical_object_whose_deletion_left_no_receipt_counts_as_deleted(
        self, workshop: Workshop
    ) -> None:
        workshop.put("a", b"content")
        workshop.put("a", b"content", where=workshop.destination)
        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=delete_and_die)
        plan = await workshop.plan(copy=False)
        with pytest.raises(Killed):
            await workshop.copy(plan.batches[0], copy=False)
        workshop.wrap_source = lambda store: store
        await workshop.copy(plan.batches[0], attempt=2, copy=False)
        report = await workshop.report(copy=False)
        assert (report.state, report.skipped_by_reason) == ("success", {"identical": 1})
        assert report.objects_deleted_at_source == 1

    async def test_of_two_workers_the_one_that_moved_an_object_counts(self, workshop: Workshop) -> None:
        workshop.put("a", b"content")
        plan = await workshop.plan(copy=False)
        moved = False

        async def moved_by_the_other(method: Any, info: ObjectInfo) -> Any:
            nonlocal moved
            if not moved:
                moved = True
                workshop.wrap_source = lambda store: store
                await workshop.copy(plan.batches[0], copy=False)
            return await method(info)

        workshop.wrap_source = lambda store: MeddledStore(store, read_object=moved_by_the_other)
        await workshop.copy(plan.batches[0], attempt=2, copy=False)
        report = await workshop.report(copy=False)
        assert (report.objects_copied, report.objects_skipped, report.objects_deleted_at_source) == (1, 0, 1)

    async def test_a_move_that_replaces_is_finished_by_the_next_plan(self, workshop: Workshop) -> None:
        workshop.put("a", b"content")
        conf = {"copy": False, "on_conflict": "replace"}
        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=deny)
        await workshop.run(**conf)
        workshop.wrap_source = lambda store: store
        report = await workshop.run(attempt=2, **conf)
        assert workshop.tree(workshop.source) == {}
        assert (report.state, report.objects_copied, report.objects_deleted_at_source) == ("success", 1, 1)


class TestPlans:
    @pytest.mark.parametrize("copy", [True, False])
    async def test_a_plan_that_died_half_way_costs_no_receipts(self, workshop: Workshop, copy: bool) -> None:
        workshop.put("a", b"content")
        workshop.put("b", b"content")
        await workshop.run(copy=copy)
        workshop.put("c", b"content")

        async def die(method: Any, key: str, *args: Any, **kwargs: Any) -> Any:
            if "/carried/" in key:
                raise Killed
            return await method(key, *args, **kwargs)

        workshop.wrap_state = lambda store: MeddledStore(store, put_object=die)
        with pytest.raises(Killed):
            await workshop.plan(copy=copy)
        workshop.wrap_state = lambda store: store
        report = await workshop.run(attempt=2, copy=copy)
        assert (report.objects_planned, report.objects_copied, report.objects_skipped) == (3, 3, 0)

    async def test_an_object_that_cannot_be_compared_is_refused_alone(self, workshop: Workshop) -> None:
        for key in ("a", "b"):
            workshop.put(key, b"content")
            workshop.put(key, b"another", where=workshop.destination)

        async def refuse_b(method: Any, info: ObjectInfo, *args: Any) -> Any:
            if info.key == "b":
                raise AccessDeniedError("access denied reading b")
            return await method(info, *args)

        workshop.wrap_destination = lambda store: MeddledStore(store, read_range=refuse_b)
        report = await workshop.run()
        assert (report.objects_copied, report.objects_refused) == (1, 1)
        assert report.problems == ("access denied reading b",)

    @pytest.mark.parametrize("copy", [True, False])
    async def test_an_archived_object_that_arrived_long_ago_is_no_problem(self, workshop: Workshop, copy: bool) -> None:
        for key in ("a", "b"):
            workshop.put(key, b"content")
        workshop.put("a", b"content", where=workshop.destination)

        def archived(store: Any) -> Any:
            meddled = MeddledStore(store, stat=lambda method, key: all_archived(method(key)))
            meddled.list_objects = lambda *args, **more: map_archived(store.list_objects(*args, **more))
            return meddled

        async def all_archived(found: Any) -> Any:
            info = await found
            return info and dataclasses.replace(info, is_archived=True)

        async def map_archived(listing: Any) -> Any:
            async for info in listing:
                yield dataclasses.replace(info, is_archived=True)

        workshop.wrap_source = archived
        report = await workshop.run(copy=copy)
        assert (report.skipped_by_reason, report.objects_refused) == ({"identical": 1}, 1)
        assert "is archived" in report.problems[0]


class TestRecords:
    @pytest.mark.parametrize("place", ["source", "source/folder"])
    async def test_records_are_not_moved_away(self, workshop: Workshop, place: str) -> None:
        workshop.put("a", b"content")
        workshop.state = workshop.source.parent / place
        if place == "source":
            workshop.source = workshop.state / "run"
        else:
            workshop.source = workshop.state.parent
        with pytest.raises(RequestError, match="would change the records of runs"):
            await workshop.plan(copy=False)

    async def test_nothing_is_written_among_the_records(self, workshop: Workshop) -> None:
        workshop.put("a", b"content")
        workshop.destination = workshop.state / "transfer"
        with pytest.raises(RequestError, match="would change the records of runs"):
            await workshop.plan()

    async def test_a_batch_that_cannot_find_its_manifest_fails(self, workshop: Workshop) -> None:
        workshop.put("a", b"content")
        plan = await workshop.plan()
        next(workshop.state.rglob("manifest/00000.ndjson")).unlink()
        with pytest.raises(PermanentError, match="holds 0 of the 1 objects"):
            await workshop.copy(plan.batches[0])

    async def test_a_batch_that_is_stopped_while_it_writes_receipts_writes_them_again(self, workshop: Workshop) -> None:
        for number in range(250):
            workshop.put(f"{number:03d}", b"content")
        plan = await workshop.plan()
        is_writing = asyncio.Event()

        async def hang_once(method: Any, *args: Any, **kwargs: Any) -> Any:
            if not is_writing.is_set():
                is_writing.set()
                await asyncio.Event().wait()
            return await method(*args, **kwargs)

        workshop.wrap_state = lambda store: MeddledStore(store, put_object=hang_once)
        copying = asyncio.create_task(workshop.copy(plan.batches[0], max_objects_in_flight=1))
        await is_writing.wait()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        report = await workshop.report()
        assert report.objects_copied == 200


class TestFaultsOfOurOwn:
    async def test_an_exception_nobody_foresaw_costs_one_object(self, workshop: Workshop) -> None:
        for number in range(100):
            workshop.put(f"{number:03d}", b"content")

        async def stumble(method: Any, info: ObjectInfo) -> Any:
            if info.key == "005":
                raise KeyError("a secret")
            return await method(info)

        workshop.wrap_source = lambda store: MeddledStore(store, read_object=stumble)
        report = await workshop.run()
        assert (report.objects_copied, report.objects_failed, report.state) == (99, 1, "failed")
        assert "005 failed: KeyError in test_recovery.py, line" in report.problems[0]
        assert "secret" not in report.problems[0]

    async def test_one_while_deleting_costs_one_deletion(self, workshop: Workshop) -> None:
        for number in range(10):
            workshop.put(f"{number}", b"content")

        async def stumble(method: Any, info: ObjectInfo) -> Any:
            if info.key == "5":
                raise KeyError
            return await method(info)

        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=stumble)
        report = await workshop.run(copy=False)
        assert (report.objects_deleted_at_source, report.objects_failed, report.state) == (9, 1, "failed")
        assert list(workshop.tree(workshop.source)) == ["5"]


class TestMemory:
    async def test_the_content_of_objects_that_failed_is_let_go(self, workshop: Workshop) -> None:
        for number in range(20):
            workshop.put(f"{number}", bytes(1_000_000))

        async def refuse(method: Any, *args: Any, **kwargs: Any) -> Any:
            raise AccessDeniedError("access denied writing")

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=refuse)
        plan = await workshop.plan()
        tracemalloc.start()
        try:
            result = await workshop.copy(plan.batches[0])
            gc.collect()
            held_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert result.counts["failed"] == 20
        assert held_bytes < 2_000_000


class TestFoldersThatGo:
    @pytest.mark.parametrize("becomes", ["nothing", "file", "link"])
    async def test_a_folder_that_vanishes_while_it_is_listed_is_left_out(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, becomes: str, tmp_path: Path
    ) -> None:
        workshop.put("a/1", b"content")
        workshop.put("b/2", b"content")
        outside = workshop.put("secret", b"content", where=tmp_path / "outside").parent
        gone = workshop.source / "b"
        really_open = os.open

        def vanish(folder: Any, *args: Any, **kwargs: Any) -> int:
            if Path(folder).name == "b" and gone.is_dir() and not gone.is_symlink():
                gone.rename(tmp_path / "elsewhere")
                if becomes == "file":
                    gone.write_bytes(b"")
                if becomes == "link":
                    gone.symlink_to(outside)
            return really_open(folder, *args, **kwargs)

        monkeypatch.setattr(os, "open", vanish)
        keys = [info.key async for info in LocalStore(workshop.source).list_objects()]
        assert keys == ["a/1"]


class TestLargeObjects:
    async def test_a_stream_that_breaks_after_a_long_time_begins_anew(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workshop.put("a", bytes(SMALL_OBJECT_BYTES + 1))
        monkeypatch.setattr(attempts_module, "MAX_SECONDS", 0.0)
        count = 0

        async def break_once(method: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == 1:
                raise ConnectionLostError("the stream broke")
            return await method(*args, **kwargs)

        def stream(store: Any) -> MeddledStore:
            meddled = MeddledStore(store, start_upload=break_once)
            meddled.capabilities = dataclasses.replace(meddled.capabilities, parts_in_order=True)
            return meddled

        workshop.wrap_destination = stream
        report = await workshop.run()
        assert (report.state, report.retries) == ("success", 1)

    async def test_a_local_file_stays_open_until_the_last_thread_is_through_with_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cancelled task leaves its thread at work; it must not write to what gets the file's descriptor next."""
        is_writing, may_write = threading.Event(), threading.Event()
        really_write = os.pwrite
        errors: list[OSError] = []

        def write_late(descriptor: int, *args: Any) -> int:
            is_writing.set()
            may_write.wait(10)
            try:
                return really_write(descriptor, *args)
            except OSError as error:
                errors.append(error)
                raise

        monkeypatch.setattr(os, "pwrite", write_late)
        upload = await LocalStore(tmp_path).start_upload(
            "a", size_bytes=7, part_bytes=7, metadata=ObjectMetadata(), replaces=None
        )
        writing = asyncio.create_task(upload.put_part(0, b"content", {}))
        await asyncio.to_thread(is_writing.wait, 10)
        writing.cancel()
        aborting = asyncio.create_task(upload.abort())
        await asyncio.sleep(0.1)
        may_write.set()
        await aborting
        await asyncio.sleep(0.1)
        assert errors == []
        assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []

    async def test_only_so_many_are_under_way_at_once(self, workshop: Workshop) -> None:
        for number in range(MAX_LARGE_OBJECTS + 3):
            with workshop.put(f"{number}", b"").open("wb") as file:
                file.truncate(SMALL_OBJECT_BYTES + 1)
        workshop.put("small", b"content")
        started, may_go_on = 0, asyncio.Event()

        async def start(method: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal started
            started += 1
            await may_go_on.wait()
            return await method(*args, **kwargs)

        workshop.wrap_destination = lambda store: MeddledStore(store, start_upload=start)
        plan = await workshop.plan()
        copying = asyncio.create_task(workshop.copy(plan.batches[0]))
        await asyncio.sleep(0.5)
        assert started == MAX_LARGE_OBJECTS
        assert list(workshop.tree(workshop.destination)) == ["small"]
        may_go_on.set()
        result = await copying
        assert result.counts["copied"] == MAX_LARGE_OBJECTS + 4
