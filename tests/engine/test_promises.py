"""Each promise is attacked: nothing lost, nothing silently wrong, nothing half-done, nothing done twice."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyferry.checksums import digest
from skyferry.errors import (
    AccessDeniedError,
    ChecksumMismatchError,
    ConnectionLostError,
    DestinationChangedError,
    RequestError,
)
from skyferry.object_transfer import SMALL_OBJECT_BYTES
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.urls import parse_location
from tests.engine.conftest import Workshop
from tests.engine.meddling import MeddledStore, flip
from tests.engine.test_pairs import Stores, contents, run, stores

__all__ = ["stores"]

SMALL = b"small content"
LARGE = bytes(range(251)) * (2 * SMALL_OBJECT_BYTES // 251 + 7)


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def content(request: pytest.FixtureRequest) -> bytes:
    value: bytes = request.param
    return value


READING = ("read_object", "read_range")
WRITING = ("put_object", "start_upload")


class Killed(BaseException):
    """Stands for the end of the process: nothing in the engine may catch it."""


def spoil_reads(times: int) -> dict[str, Any]:
    """Return meddlers that flip a bit in the first `times` reads."""
    left = times

    async def meddle(method: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        answer = await method(*args, **kwargs)
        if left == 0:
            return answer
        left -= 1
        return (answer[0], flip(answer[1])) if isinstance(answer, tuple) else flip(answer)

    return dict.fromkeys(READING, meddle)


class TestNothingIsSilentlyWrong:
    async def test_a_bit_that_flips_once_while_reading_costs_a_retry(self, workshop: Workshop, content: bytes) -> None:
        workshop.put("a", content)
        workshop.wrap_source = lambda store: MeddledStore(store, trusted=False, **spoil_reads(1))
        report = await workshop.run()
        assert workshop.tree(workshop.destination) == {"a": content}
        assert report.state == "success"
        assert report.retries_by_cause == {"ChecksumMismatchError": 1}

    async def test_bits_that_flip_in_half_of_the_reads_never_arrive(self, workshop: Workshop, content: bytes) -> None:
        workshop.put("a", content)
        count = 0

        async def meddle(method: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            answer = await method(*args, **kwargs)
            if count % 2:
                return answer
            return (answer[0], flip(answer[1])) if isinstance(answer, tuple) else flip(answer)

        workshop.wrap_source = lambda store: MeddledStore(store, trusted=False, **dict.fromkeys(READING, meddle))
        report = await workshop.run()
        assert workshop.tree(workshop.destination) in ({}, {"a": content})
        assert (report.state == "success") == bool(workshop.tree(workshop.destination))

    async def test_a_destination_that_proves_nothing_is_read_back(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)

        async def silent(method: Any, *args: Any, **kwargs: Any) -> Committed:
            committed = await method(*args, **kwargs)
            return Committed(info=committed.info, verified_by=None)

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=silent)
        report = await workshop.run()
        assert report.verified_by == {"readback": 1}

    async def test_a_destination_that_stores_other_bytes_is_caught_and_cleaned(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)

        async def corrupting(method: Any, key: str, body: bytes, **kwargs: Any) -> Committed:
            path = workshop.destination / key
            path.write_bytes(flip(body))
            info = await LocalStoreView(workshop.destination).info(key)
            return Committed(info=info, verified_by=None)

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=corrupting)
        report = await workshop.run()
        assert report.state == "failed"
        assert report.objects_failed == 1
        assert workshop.tree(workshop.destination) == {}

    async def test_wrong_content_that_could_not_be_removed_is_replaced_by_the_next_attempt(
        self, workshop: Workshop
    ) -> None:
        workshop.put("a", SMALL)

        async def corrupting(method: Any, key: str, body: bytes, **kwargs: Any) -> Committed:
            path = workshop.destination / key
            path.write_bytes(flip(body))
            return Committed(info=await LocalStoreView(workshop.destination).info(key), verified_by=None)

        async def denied(method: Any, info: Any) -> bool:
            raise AccessDeniedError(f"access denied deleting {info.key}")

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=corrupting, delete_object=denied)
        plan = await workshop.plan(on_conflict="skip")
        result = await workshop.copy(plan.batches[0], on_conflict="skip")
        with pytest.raises(ChecksumMismatchError, match="could not be removed"):
            result.raise_if_failed()
        assert workshop.tree(workshop.destination) == {"a": flip(SMALL)}

        workshop.wrap_destination = lambda store: store
        await workshop.copy(plan.batches[0], attempt=2, on_conflict="skip")
        report = await workshop.report(on_conflict="skip")
        assert (report.objects_copied, report.state) == (1, "success")
        assert workshop.tree(workshop.destination) == {"a": SMALL}, "what nobody wanted is not left as `exists`"

    async def test_an_etag_that_only_looks_like_an_md5_is_settled_by_reading_again(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        other = "0123456789abcdef" * 2

        async def odd(method: Any, *args: Any, **kwargs: Any) -> Any:
            info, body = await method(*args, **kwargs)
            return replace(info, checksums={"md5": other}, etag_may_be_md5=True), body

        workshop.wrap_source = lambda store: MeddledStore(store, trusted=False, read_object=odd)
        plan = await workshop.plan()
        await workshop.copy(plan.batches[0])
        report = await workshop.report()
        assert (report.objects_copied, report.state) == (1, "success"), report.problems
        assert workshop.tree(workshop.destination) == {"a": SMALL}

    async def test_readback_reads_every_object(self, workshop: Workshop, content: bytes) -> None:
        workshop.put("a", content)
        reads: list[str] = []

        async def count(method: Any, *args: Any, **kwargs: Any) -> Any:
            reads.append("read")
            return await method(*args, **kwargs)

        workshop.wrap_destination = lambda store: MeddledStore(store, read_range=count)
        report = await workshop.run(verify="readback")
        assert report.verified_by == {"readback": 1}
        assert reads


class LocalStoreView:
    """Looks at a folder the way the engine does."""

    def __init__(self, folder: Path) -> None:
        from skyferry.stores.local import LocalStore

        self._store = LocalStore(folder)

    async def info(self, key: str) -> ObjectInfo:
        info = await self._store.stat(key)
        assert info is not None
        return info


class TestNothingIsLost:
    async def test_a_move_takes_away_what_was_copied(self, workshop: Workshop, content: bytes) -> None:
        workshop.put("a", content)
        report = await workshop.run(copy=False)
        assert workshop.tree(workshop.source) == {}
        assert workshop.tree(workshop.destination) == {"a": content}
        assert report.objects_deleted_at_source == 1

    async def test_a_move_keeps_a_source_that_was_overwritten_after_the_copy(self, workshop: Workshop) -> None:
        path = workshop.put("a", SMALL)

        async def overwrite_then_delete(method: Any, info: ObjectInfo) -> bool:
            path.write_bytes(b"newer")
            deleted: bool = await method(info)
            return deleted

        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=overwrite_then_delete)
        report = await workshop.run(copy=False)
        assert path.read_bytes() == b"newer"
        assert workshop.tree(workshop.destination) == {"a": SMALL}
        assert (report.objects_copied, report.objects_deleted_at_source, report.state) == (1, 0, "success")
        assert "no longer the file that was planned" in report.problems[0]

    async def test_a_move_keeps_the_source_when_the_copy_vanished(self, workshop: Workshop) -> None:
        path = workshop.put("a", SMALL)

        async def vanish(method: Any, *args: Any, **kwargs: Any) -> Any:
            committed = await method(*args, **kwargs)
            (workshop.destination / "a").unlink()
            return committed

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=vanish)
        report = await workshop.run(copy=False)
        assert path.read_bytes() == SMALL
        assert report.objects_deleted_at_source == 0

    async def test_a_move_keeps_the_source_when_verification_fails(self, workshop: Workshop, content: bytes) -> None:
        path = workshop.put("a", content)

        async def lost(method: Any, *args: Any, **kwargs: Any) -> Any:
            raise ConnectionLostError("no answer")

        workshop.wrap_destination = lambda store: MeddledStore(store, **dict.fromkeys(WRITING, lost))
        report = await workshop.run(copy=False)
        assert path.read_bytes() == content
        assert report.state == "failed"

    async def test_a_move_onto_equal_content_finishes_the_move(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        workshop.put("a", SMALL, where=workshop.destination)
        report = await workshop.run(copy=False)
        assert workshop.tree(workshop.source) == {}
        assert (report.objects_copied, report.objects_skipped, report.objects_deleted_at_source) == (0, 1, 1)

    async def test_a_move_of_a_place_onto_itself_deletes_nothing(self, workshop: Workshop, stores: Stores) -> None:
        """Two connections to one account: by their ids they are two places."""
        bucket = f"itself-{secrets.token_hex(6)}"
        conf = {"source": f"s3://{bucket}/a/", "destination": f"s3://{bucket}/a/", "copy": False}
        async with stores(parse_location(conf["source"]), "") as store:
            await store.create_bucket()
            digests = await digest(SMALL, store.capabilities.digests)
            await store.put_object("a/k", SMALL, metadata=ObjectMetadata(), digests=digests, replaces=None)
        report = await run(stores, workshop.state, "itself", **conf, destination_conn_id="another")
        assert await contents(stores, conf["source"]) == {"k": SMALL}
        assert report.objects_deleted_at_source == 0
        assert "is the very object" in report.problems[0]

    async def test_a_move_that_died_between_copy_and_delete_is_finished_by_the_retry(self, workshop: Workshop) -> None:
        for number in range(5):
            workshop.put(f"{number}", SMALL)

        async def die(method: Any, info: ObjectInfo) -> bool:
            raise Killed

        plan = await workshop.plan(copy=False)
        workshop.wrap_source = lambda store: MeddledStore(store, delete_object=die)
        with pytest.raises(Killed):
            await workshop.copy(plan.batches[0], copy=False)
        assert len(workshop.tree(workshop.source)) == 5
        workshop.wrap_source = lambda store: store
        await workshop.copy(plan.batches[0], attempt=2, copy=False)
        report = await workshop.report(copy=False)
        assert workshop.tree(workshop.source) == {}
        assert (report.objects_copied, report.objects_deleted_at_source, report.state) == (5, 5, "success")


class TestTheWorldChanges:
    async def test_a_source_overwritten_after_the_plan_is_copied_as_it_is_now(
        self, workshop: Workshop, content: bytes
    ) -> None:
        path = workshop.put("a", content)
        plan = await workshop.plan()
        path.write_bytes(b"version 2")
        await workshop.copy(plan.batches[0])
        assert workshop.tree(workshop.destination) == {"a": b"version 2"}
        assert (await workshop.report()).state == "success"

    async def test_two_versions_are_never_mixed(self, workshop: Workshop) -> None:
        path = workshop.put("a", LARGE)
        newer = LARGE[::-1]
        is_overwritten = asyncio.Event()

        async def overwrite_between_parts(method: Any, info: ObjectInfo, start_byte: int, size_bytes: int) -> bytes:
            if start_byte > 0:
                await is_overwritten.wait()
            body: bytes = await method(info, start_byte, size_bytes)
            if not is_overwritten.is_set():
                path.write_bytes(newer)
                is_overwritten.set()
            return body

        workshop.wrap_source = lambda store: MeddledStore(store, read_range=overwrite_between_parts)
        report = await workshop.run()
        assert workshop.tree(workshop.destination) == {"a": newer}
        assert report.state == "success"

    async def test_a_source_that_vanished_is_skipped_and_the_destination_untouched(self, workshop: Workshop) -> None:
        path = workshop.put("a", SMALL)
        workshop.put("a", b"older", where=workshop.destination)
        plan = await workshop.plan()
        path.unlink()
        await workshop.copy(plan.batches[0])
        report = await workshop.report()
        assert workshop.tree(workshop.destination) == {"a": b"older"}
        assert report.skipped_by_reason == {"source_gone": 1}
        assert report.state == "success"

    @pytest.mark.parametrize(
        ("on_conflict", "expected", "state"),
        [
            ("replace_if_different", SMALL, "success"),
            ("replace", SMALL, "success"),
            ("skip", b"somebody else's", "success"),
            ("fail", b"somebody else's", "failed"),
        ],
    )
    async def test_somebody_writes_the_destination_between_plan_and_copy(
        self, workshop: Workshop, on_conflict: str, expected: bytes, state: str
    ) -> None:
        workshop.put("a", SMALL)
        plan = await workshop.plan(on_conflict=on_conflict)
        workshop.put("a", b"somebody else's", where=workshop.destination)
        await workshop.copy(plan.batches[0], on_conflict=on_conflict)
        assert workshop.tree(workshop.destination) == {"a": expected}
        assert (await workshop.report(on_conflict=on_conflict)).state == state

    async def test_a_lost_answer_is_no_conflict(self, workshop: Workshop, content: bytes) -> None:
        workshop.put("a", content)
        is_lost = False

        async def lose_the_answer(method: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal is_lost
            answer = await method(*args, **kwargs)
            if not is_lost:
                is_lost = True
                raise ConnectionLostError("the answer was lost")
            return answer

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=lose_the_answer)
        report = await workshop.run(on_conflict="fail")
        assert workshop.tree(workshop.destination) == {"a": content}
        assert (report.objects_copied, report.state) == (1, "success")

    async def test_an_object_that_never_holds_still_fails_alone(self, workshop: Workshop) -> None:
        workshop.put("restless", SMALL)
        workshop.put("calm", SMALL)

        async def conflict(method: Any, key: str, *args: Any, **kwargs: Any) -> Any:
            if key == "restless":
                raise DestinationChangedError("written meanwhile")
            return await method(key, *args, **kwargs)

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=conflict)
        report = await workshop.run()
        assert workshop.tree(workshop.destination) == {"calm": SMALL}
        assert (report.objects_copied, report.objects_failed, report.state) == (1, 1, "failed")


class TestRepeatingChangesNothing:
    async def test_the_second_run_copies_nothing_and_says_so(self, workshop: Workshop, content: bytes) -> None:
        workshop.put("a", content)
        await workshop.run("first")
        before = (workshop.destination / "a").stat()
        report = await workshop.run("second")
        after = (workshop.destination / "a").stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert report.headline == "nothing copied: all 1 objects were skipped (1 identical)"

    @pytest.mark.parametrize("copy", [True, False])
    async def test_a_run_that_is_cleared_counts_the_same(self, workshop: Workshop, copy: bool) -> None:
        for number in range(7):
            workshop.put(f"f/{number}", b"x" * number)
        first = await workshop.run("same", copy=copy)
        again = await workshop.run("same", attempt=2, copy=copy)
        counted = [name for name in first.to_json() if name.startswith(("objects_", "bytes_copied", "verified_by"))]
        counted.remove("objects_to_copy")
        assert {name: getattr(again, name) for name in counted} == {name: getattr(first, name) for name in counted}

    async def test_a_cleared_batch_copies_nothing(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        plan = await workshop.plan()
        await workshop.copy(plan.batches[0])
        watched: list[MeddledStore] = []

        def watch(store: Any) -> MeddledStore:
            watched.append(MeddledStore(store))
            return watched[-1]

        workshop.wrap_destination = watch
        await workshop.copy(plan.batches[0], attempt=2)
        assert "put_object" not in watched[0].calls
        assert (await workshop.report()).objects_copied == 1

    async def test_a_batch_killed_before_its_receipts_counts_what_it_copied(self, workshop: Workshop) -> None:
        for number in range(5):
            workshop.put(f"{number}", SMALL)
        plan = await workshop.plan()
        count = 0

        async def die_at_third(method: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == 3:
                raise Killed
            return await method(*args, **kwargs)

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=die_at_third)
        with pytest.raises(Killed):
            await workshop.copy(plan.batches[0], max_objects_in_flight=1)
        workshop.wrap_destination = lambda store: store
        await workshop.copy(plan.batches[0], attempt=2)
        report = await workshop.report()
        assert (report.objects_copied, report.objects_skipped, report.state) == (5, 0, "success")

    async def test_a_replan_takes_over_what_still_holds_and_copies_what_changed(self, workshop: Workshop) -> None:
        path = workshop.put("a", SMALL)
        workshop.put("b", SMALL)
        await workshop.run("same")
        path.write_bytes(b"version 2")
        report = await workshop.run("same", attempt=2)
        assert workshop.tree(workshop.destination) == {"a": b"version 2", "b": SMALL}
        assert (report.objects_planned, report.objects_copied) == (2, 2)


class TestStatusTellsTheTruth:
    async def test_one_bad_object_does_not_cost_the_others(self, workshop: Workshop) -> None:
        for number in range(20):
            workshop.put(f"{number:02d}", SMALL)

        async def deny(method: Any, key: str, *args: Any, **kwargs: Any) -> Any:
            if key == "07":
                raise AccessDeniedError("access denied writing file:///x/07")
            return await method(key, *args, **kwargs)

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=deny)
        plan = await workshop.plan()
        result = await workshop.copy(plan.batches[0])
        with pytest.raises(AccessDeniedError, match=r"1 of 20 objects were not copied: access denied writing .*07"):
            result.raise_if_failed()
        report = await workshop.report()
        assert (report.objects_copied, report.objects_failed, report.state) == (19, 1, "failed")
        assert "07" in report.problems[0]

    async def test_a_store_that_is_lost_ends_the_batch_instead_of_costing_minutes_for_each_object(
        self, workshop: Workshop
    ) -> None:
        for number in range(200):
            workshop.put(f"{number:03d}", SMALL)
        tried: set[str] = set()

        async def lost(method: Any, key: str, *args: Any, **kwargs: Any) -> Any:
            if key < "100":
                return await method(key, *args, **kwargs)
            tried.add(key)
            raise ConnectionLostError(f"lost the connection writing {key}")

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=lost)
        plan = await workshop.plan()
        result = await workshop.copy(plan.batches[0], max_objects_in_flight=4)
        with pytest.raises(ConnectionLostError):
            result.raise_if_failed()
        # Three rounds, and what was under way; each late success begins the count anew.
        assert len(tried) < 50, "of 100"
        report = await workshop.report()
        assert (report.objects_copied, report.objects_failed, report.state) == (100, 100, "failed")

        workshop.wrap_destination = lambda store: store
        await workshop.copy(plan.batches[0], attempt=2)
        assert (await workshop.report()).objects_copied == 200

    async def test_a_batch_that_was_stopped_has_what_it_copied_on_record(self, workshop: Workshop) -> None:
        for number in range(5):
            workshop.put(f"{number}", SMALL)
        plan = await workshop.plan()
        is_third = asyncio.Event()

        async def hang_at_third(method: Any, key: str, *args: Any, **kwargs: Any) -> Any:
            if key == "2":
                is_third.set()
                await asyncio.Event().wait()
            return await method(key, *args, **kwargs)

        workshop.wrap_destination = lambda store: MeddledStore(store, put_object=hang_at_third)
        copying = asyncio.create_task(workshop.copy(plan.batches[0], max_objects_in_flight=1))
        await is_third.wait()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        report = await workshop.report()
        assert (report.objects_copied, report.objects_failed, report.state) == (2, 3, "failed")

    async def test_a_batch_that_never_ran_is_counted_as_failed(self, workshop: Workshop) -> None:
        for number in range(4):
            workshop.put(f"{number}", SMALL)
        plan = await workshop.plan(batch_objects=2)
        assert len(plan.batches) == 2
        await workshop.copy(plan.batches[0], batch_objects=2)
        report = await workshop.report(batch_objects=2)
        assert (report.objects_planned, report.objects_copied, report.objects_failed) == (4, 2, 2)
        assert report.state == "failed"

    async def test_a_run_without_a_plan_is_a_failed_run(self, workshop: Workshop) -> None:
        report = await workshop.report()
        assert report.state == "failed"
        assert "plan" in report.problems[0]

    async def test_an_empty_source_is_nothing_to_do(self, workshop: Workshop) -> None:
        report = await workshop.run()
        assert report.state == "success"
        assert report.headline.startswith("nothing to do")

    async def test_a_dry_run_writes_nothing(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        report = await workshop.run(dry_run=True)
        assert not workshop.destination.exists()
        assert report.headline == f"dry run: 1 objects ({len(SMALL)} bytes) would be copied"
        assert (report.objects_to_copy, report.objects_copied, report.state) == (1, 0, "success")

    async def test_links_and_pipes_are_skipped_by_name(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        (workshop.source / "link").symlink_to("/etc/passwd")
        (workshop.source / "folder-link").symlink_to("/etc")
        os.mkfifo(workshop.source / "pipe")
        report = await workshop.run()
        assert workshop.tree(workshop.destination) == {"a": SMALL}
        assert report.skipped_by_reason == {"symbolic links are not followed": 2, "it is a pipe": 1}


class TestSelection:
    async def test_a_key_that_is_not_there_fails(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        with pytest.raises(RequestError, match="there is no object file://.*/in/b"):
            await workshop.plan(data="b")

    async def test_a_pattern_that_matches_nothing_is_nothing_to_do(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        report = await workshop.run(data="*.csv")
        assert (report.state, report.objects_planned) == ("success", 0)

    async def test_a_name_that_looks_like_a_pattern_is_a_name_where_it_exists(self, workshop: Workshop) -> None:
        workshop.put("report[1].csv", b"named")
        workshop.put("report1.csv", b"matched")
        await workshop.run(data="report[1].csv")
        assert workshop.tree(workshop.destination) == {"report[1].csv": b"named"}

    async def test_a_name_that_looks_like_a_pattern_and_matches_nothing_fails(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        with pytest.raises(RequestError, match="there is no object"):
            await workshop.plan(data="report[1].csv")


class TestRecords:
    async def test_ids_of_any_length_and_kind_have_records_of_their_own(self, workshop: Workshop) -> None:
        workshop.put("a", SMALL)
        ids = ["../../etc", "a/b", ".", "ü" * 200, "x" * 1000 + "1", "x" * 1000 + "2"]
        for run_id in ids:
            assert (await workshop.run(run_id)).state == "success"
        assert len([*(workshop.state / "transfer").iterdir()]) == len(ids)
        assert {path.name for path in workshop.state.parent.iterdir()} == {"in", "out", "state"}


class TestBatches:
    async def test_batches_are_cut_by_count_and_bytes(self, workshop: Workshop) -> None:
        for number in range(10):
            workshop.put(f"{number}", b"x" * 400_000)
        by_bytes = await workshop.plan("bytes", batch_bytes=1024**2)
        assert [batch.objects for batch in by_bytes.batches] == [2] * 5
        by_count = await workshop.plan("count", batch_objects=4)
        assert [batch.objects for batch in by_count.batches] == [4, 4, 2]

    async def test_never_more_batches_than_airflow_maps(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skyferry.manifest.MAX_BATCHES", 3)
        for number in range(10):
            workshop.put(f"{number}", SMALL)
        report = await workshop.run(batch_objects=1)
        plan = await workshop.plan("other", batch_objects=1, on_conflict="replace")
        assert [batch.objects for batch in plan.batches] == [4, 3, 3]
        assert report.objects_copied == 10
