"""What counts as new, against a store that is a list: times, overlaps and numbers no emulator can be made to have."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyferry.detect.new_objects import Detection, find_new_objects, shown_key
from skyferry.detect.seen_objects import MAX_EXACT
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectInfo

START = datetime(2026, 5, 4, tzinfo=UTC)
OVERLAP = 600.0


class Shelf:
    """As much of a store as a look asks for."""

    kind = "s3"

    def __init__(self) -> None:
        self.objects: dict[str, ObjectInfo] = {}
        self.prefixes: list[str] = []

    def url(self, key: str = "") -> str:
        return f"s3://shop/{key}"

    def put(self, key: str, seconds: float | None, *, etag: str = "e", size: int = 1) -> None:
        modified_at = None if seconds is None else START + timedelta(seconds=seconds)
        self.objects[key] = ObjectInfo(key=key, size_bytes=size, etag=etag, modified_at=modified_at)

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        self.prefixes.append(prefix)
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield self.objects[key]

    async def look(self, watermark: str = "", *, at: float = 10_000, **filters: object) -> Detection:
        now = START + timedelta(seconds=at)
        selected = ObjectFilter(**filters)  # type: ignore[arg-type]
        return await find_new_objects(
            self,  # type: ignore[arg-type]
            "in/",
            selected=selected,
            watermark=watermark,
            overlap_seconds=OVERLAP,
            now=now,
        )


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def test_the_first_look_counts_what_is_there_and_the_second_nothing(shelf):
    for number in range(7):
        shelf.put(f"in/{number}", number, size=10)
    shelf.put("elsewhere", 0)
    first = await shelf.look()
    assert (first.objects, first.size_bytes, first.is_exact) == (7, 70, True)
    assert first.first_keys == ("in/0", "in/1", "in/2", "in/3", "in/4")
    second = await shelf.look(first.watermark)
    assert (second.objects, second.size_bytes, second.first_keys) == (0, 0, ())
    assert (await shelf.look(second.watermark)).objects == 0


async def test_a_local_file_counts_however_old_its_time_is(shelf):
    shelf.kind = "file"
    shelf.put("in/a", 5000)
    watermark = (await shelf.look()).watermark
    shelf.put("in/moved/here", 0)
    assert (await shelf.look(watermark)).first_keys == ("in/moved/here",)


async def test_a_younger_object_and_an_overwritten_one_are_new(shelf):
    shelf.put("in/a", 0)
    shelf.put("in/b", 0)
    watermark = (await shelf.look()).watermark
    shelf.put("in/c", 100)
    shelf.put("in/a", 100, etag="other")
    found = await shelf.look(watermark)
    assert found.first_keys == ("in/a", "in/c")
    assert (await shelf.look(found.watermark)).objects == 0


async def test_one_overwritten_within_the_same_second_is_new(shelf):
    shelf.put("in/a", 0)
    watermark = (await shelf.look()).watermark
    shelf.put("in/a", 0, etag="other")
    assert (await shelf.look(watermark)).objects == 1


async def test_a_late_object_with_an_older_time_is_found_inside_the_overlap(shelf):
    shelf.put("in/new", 5_000)
    watermark = (await shelf.look()).watermark
    watermark = (await shelf.look(watermark)).watermark
    shelf.put("in/late", 5_000 - OVERLAP)
    shelf.put("in/too-late", 5_000 - OVERLAP - 1)
    found = await shelf.look(watermark)
    assert found.first_keys == ("in/late",)
    assert (await shelf.look(found.watermark)).objects == 0


async def test_what_ages_out_of_the_overlap_stays_known(shelf):
    shelf.put("in/0", 0)
    watermark = (await shelf.look()).watermark
    for number in range(1, 40):
        shelf.put(f"in/{number}", number * 100)
        found = await shelf.look(watermark)
        assert found.first_keys == (f"in/{number}",)
        watermark = found.watermark
    assert len(json.loads(watermark)["seen"]["exact"]) < 20 * 11, "the memory holds the overlap only"


async def test_too_young_objects_are_found_once_they_are_old_enough(shelf):
    shelf.put("in/a", 0)
    shelf.put("in/b", 100)
    first = await shelf.look(at=60, min_age_seconds=30)
    assert first.first_keys == ("in/a",)
    shelf.put("in/c", 95)
    assert (await shelf.look(first.watermark, at=110, min_age_seconds=30)).objects == 0
    found = await shelf.look(first.watermark, at=130, min_age_seconds=30)
    assert found.first_keys == ("in/b", "in/c")


async def test_a_time_in_the_future_hides_nothing(shelf):
    shelf.put("in/future", 10**8)
    watermark = (await shelf.look(at=0)).watermark
    watermark = (await shelf.look(watermark, at=1)).watermark
    shelf.put("in/now", 2)
    found = await shelf.look(watermark, at=3)
    assert found.first_keys == ("in/now",)
    assert (await shelf.look(found.watermark, at=4)).objects == 0


async def test_a_store_without_times_is_compared_by_versions(shelf):
    shelf.put("in/a", None)
    watermark = (await shelf.look()).watermark
    shelf.put("in/b", None)
    found = await shelf.look(watermark)
    assert found.first_keys == ("in/b",)
    assert (await shelf.look(found.watermark)).objects == 0


async def test_another_filter_or_prefix_looks_anew(shelf):
    shelf.put("in/a", 0)
    watermark = (await shelf.look()).watermark
    assert (await shelf.look(watermark, exclude=["b"])).objects == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"scope": 1}', "x" * 100])
async def test_a_watermark_that_is_none_makes_everything_new(shelf, text):
    shelf.put("in/a", 0)
    assert (await shelf.look(text)).objects == 1


@pytest.mark.parametrize("name", ["floor", "newest", "seen"])
async def test_a_damaged_watermark_makes_everything_new(shelf, name):
    shelf.put("in/a", 0)
    values = json.loads((await shelf.look()).watermark)
    for damaged in ({**values, name: "12"}, {key: value for key, value in values.items() if key != name}):
        assert (await shelf.look(json.dumps(damaged))).objects == 1


async def test_the_listing_is_narrowed_to_the_patterns(shelf):
    shelf.put("in/2026/a.csv", 0)
    assert (await shelf.look(include=["2026/*.csv"])).objects == 1
    assert shelf.prefixes == ["in/2026/"]


async def test_many_are_known_again_and_one_more_is_seen(shelf):
    count = MAX_EXACT * 3
    for number in range(count):
        shelf.put(f"in/{number}", 0)
    first = await shelf.look()
    assert (first.objects, first.is_exact) == (count, True)
    assert len(first.watermark) < 60_000
    second = await shelf.look(first.watermark)
    assert (second.objects, second.is_exact) == (0, False)
    shelf.put("in/late", 0)
    found = await shelf.look(second.watermark)
    assert (found.objects, found.is_exact) == (1, False)
    assert (await shelf.look(found.watermark)).objects == 0
    shelf.put("in/17", 0, etag="other")
    assert (await shelf.look(found.watermark)).objects > 0
    shelf.put("in/younger", 5, size=3)
    found = await shelf.look(found.watermark)
    assert (found.first_keys, found.size_bytes) == (("in/younger",), 3)
    assert (await shelf.look(found.watermark)).objects == 0


async def test_a_removal_among_many_may_ring_once_and_then_is_quiet(shelf):
    for number in range(MAX_EXACT * 2):
        shelf.put(f"in/{number}", 0)
    watermark = (await shelf.look()).watermark
    del shelf.objects["in/17"]
    found = await shelf.look(watermark)
    assert (await shelf.look(found.watermark)).objects == 0


history = st.lists(
    st.tuples(
        st.sampled_from(["put", "late", "overwrite", "remove", "look"]),
        st.integers(min_value=0, max_value=9),
        st.integers(min_value=0, max_value=500),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(history, st.booleans())
async def test_every_new_version_is_seen_by_the_next_look_and_by_no_later_one(steps, is_crowded):
    """A model: whatever is put, late by up to the overlap, overwritten or removed, no look misses a version."""
    shelf = Shelf()
    if is_crowded:
        for number in range(MAX_EXACT + 1):
            shelf.put(f"in/crowd/{number}", 0)
    watermark, clock, pending, newest = (await shelf.look(at=10**6)).watermark, 0.0, set(), 0.0
    for step, (action, number, seconds) in enumerate([*steps, ("look", 0, 0)]):
        key = f"in/{number}"
        clock += seconds / 10
        if action == "look":
            found = await shelf.look(watermark, at=10**6)
            assert bool(found.objects) or not pending
            if found.is_exact:
                assert found.objects == len(pending)
            again = await shelf.look(found.watermark, at=10**6)
            assert again.objects == 0
            watermark, pending = again.watermark, set()
            newest = max([newest, *((one.modified_at - START).total_seconds() for one in shelf.objects.values())])
            clock = max(clock, newest)
        elif action == "remove":
            shelf.objects.pop(key, None)
            pending.discard(key)
        elif action != "overwrite" or key in shelf.objects:
            late = min(seconds, OVERLAP) if action == "late" else 0
            shelf.put(key, max(clock - late, newest - OVERLAP), etag=f"e{step}")
            pending.add(key)


def test_keys_are_shown_on_one_line_and_not_endless():
    assert shown_key("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert len(shown_key("x" * 5_000)) == 200


def test_what_travels_through_airflow_holds_no_key():
    detection = Detection(objects=1, size_bytes=2, first_keys=("secret-name",), watermark="{}")
    assert detection.to_json() == {"objects": 1, "size_bytes": 2, "is_exact": True}
    with pytest.raises(dataclasses.FrozenInstanceError):
        detection.objects = 2  # type: ignore[misc]
