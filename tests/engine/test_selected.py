"""Which objects a transfer takes: the plan and the sensors agree, whatever is asked for, and each listed one counts."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyferry.checksums import digest
from skyferry.detect.new_objects import find_new_objects
from skyferry.detect.settled_files import find_settled_files
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.records import Action
from skyferry.stores.local import LocalStore
from skyferry.urls import parse_location
from tests.engine.conftest import Workshop
from tests.engine.test_pairs import Stores, contents, new_url, run, stores

__all__ = ["stores"]

HOUR = 3600
trees = st.dictionaries(
    st.sampled_from(["a", "a.csv", "a-b", "x/a.csv", "x/b", "x/tmp/a.csv", "y/{a,b}", "y/a", "é.csv", "[1]"]),
    # Length and age; nothing is near a bound, so it does not matter how long the test takes.
    st.tuples(st.integers(0, 6), st.sampled_from([0, 2 * HOUR])),
    max_size=5,
)
patterns = st.lists(
    st.sampled_from(["*", "**/*.csv", "x/", "x/tmp/", "y/{a,b}", "{x,y}/**", "a", "[!a]*", "é.csv", "none/", "**/a*"]),
    max_size=2,
)
filters = st.fixed_dictionaries(
    {
        "data": st.sampled_from(["", "x/", "**/*.csv", "*", "{x,y}/*"]),
        "include": patterns,
        "exclude": patterns,
        "min_age_seconds": st.sampled_from([0, HOUR]),
        "min_size_bytes": st.integers(0, 3),
        "max_size_bytes": st.none() | st.integers(3, 6),
    }
)


class Dated:
    """A local store whose objects are as old as their modification time, which a test can set."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for info in self._store.list_objects(prefix, start_after=start_after):
            yield self._dated(info)

    async def stat(self, key: str) -> ObjectInfo | None:
        info = await self._store.stat(key)
        return info and self._dated(info)

    def _dated(self, info: ObjectInfo) -> ObjectInfo:
        written_at = (Path(self._store.bucket) / info.key).stat().st_mtime
        return replace(info, modified_at=datetime.fromtimestamp(written_at, UTC))


async def detected(folder: Path, selected: ObjectFilter) -> list[set[str]]:
    store: Any = Dated(LocalStore(folder))
    looks = [
        await find_new_objects(store, "", selected=selected),
        await find_settled_files(store, selected=selected, settle_seconds=0),
    ]
    assert all(len(look.first_keys) == look.objects for look in looks)
    return [set(look.first_keys) for look in looks]


@settings(max_examples=150, deadline=None)
@given(tree=trees, values=filters)
def test_the_plan_takes_what_the_sensors_count(tree: dict[str, tuple[int, int]], values: dict[str, object]) -> None:
    selected = ObjectFilter(**values)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        workshop.wrap_source = Dated  # type: ignore[assignment]
        for key, (size_bytes, age_seconds) in tree.items():
            at = time.time() - age_seconds
            os.utime(workshop.put(key, b"x" * size_bytes), (at, at))
        plan = asyncio.run(workshop.plan(**values))
        looks = asyncio.run(detected(workshop.source, selected))

    taken = {one.source.key for one in plan.preview if one.action is Action.COPY}
    assert looks == [taken, taken]
    named = {key for key in tree if selected.names(key)}
    assert {one.source.key for one in plan.preview} == named
    assert plan.totals["objects_planned"] == len(named)
    assert plan.totals["objects_to_copy"] == len(taken)
    assert plan.totals["skipped_by_reason"] == Counter(expected_reason(tree[key], values) for key in named - taken)


def expected_reason(measures: tuple[int, int], values: dict[str, object]) -> str:
    size_bytes, age_seconds = measures
    if size_bytes < values["min_size_bytes"]:  # type: ignore[operator]
        return "too_small"
    if values["max_size_bytes"] is not None and size_bytes > values["max_size_bytes"]:  # type: ignore[operator]
        return "too_large"
    assert age_seconds < values["min_age_seconds"]  # type: ignore[operator]
    return "too_young"


async def test_a_move_leaves_what_is_not_selected_at_the_source(workshop: Workshop) -> None:
    workshop.wrap_source = Dated  # type: ignore[assignment]
    for key in ("a.csv", "a.part", "young.csv", "empty.csv"):
        path = workshop.put(key, b"" if key == "empty.csv" else b"x")
        if key != "young.csv":
            os.utime(path, (1, 1))
    conf = {"include": ["*.csv"], "min_age_seconds": HOUR, "min_size_bytes": 1, "copy": False}
    report = await workshop.run(**conf)
    assert sorted(workshop.tree(workshop.source)) == ["a.part", "empty.csv", "young.csv"]
    assert sorted(workshop.tree(workshop.destination)) == ["a.csv"]
    assert report.state == "success"
    assert (report.objects_planned, report.objects_copied, report.objects_skipped) == (3, 1, 2)
    assert report.skipped_by_reason == {"too_young": 1, "too_small": 1}


async def test_a_key_that_is_named_must_be_included_too(workshop: Workshop) -> None:
    workshop.put("a.csv", b"x")
    report = await workshop.run(data="a.csv", exclude=["*.csv"])
    assert (report.state, report.objects_planned) == ("success", 0)
    assert workshop.tree(workshop.destination) == {}


@pytest.mark.parametrize("kind", ["s3", "az", "gs", "file"])
async def test_every_store_tells_age_and_size(kind: str, stores: Stores, tmp_path: Path) -> None:
    source, destination = new_url(kind, tmp_path), new_url("file", tmp_path)
    location = parse_location(source)
    async with stores(location, "") as store:
        await store.create_bucket()
        for key, body in {"a/1.csv": b"1", "a/22.csv": b"22", "a/333.csv": b"333", "b/1.csv": b"1"}.items():
            digests = await digest(body, store.capabilities.digests)
            await store.put_object(
                location.prefix + key, body, metadata=ObjectMetadata(), digests=digests, replaces=None
            )
    conf = {"source": source, "destination": destination, "create_destination": True, "include": ["a/*.csv"]}
    young = await run(stores, tmp_path / "state", "young", min_age_seconds=HOUR, **conf)
    assert (young.objects_planned, young.skipped_by_reason) == (3, {"too_young": 3})
    sized = await run(stores, tmp_path / "state", "sized", min_size_bytes=2, max_size_bytes=2, **conf)
    assert sized.skipped_by_reason == {"too_small": 1, "too_large": 1}
    assert await contents(stores, destination) == {"a/22.csv": b"22"}
