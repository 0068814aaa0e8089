"""Which objects count: names, sizes, age, and a narrowed listing that misses none of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.detect.watch_scope import scope_of
from skyferry.errors import RequestError
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectInfo

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def info(key: str = "a.csv", size: int = 5, **more: object) -> ObjectInfo:
    return ObjectInfo(key=key, size_bytes=size, etag="e", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("include", "exclude", "taken", "left"),
    [
        ([], [], ["a", "x/b"], []),
        (["**/*.csv"], [], ["a.csv", "x/b.csv"], ["a.txt"]),
        (["x/", "one"], ["x/tmp/"], ["x/b", "one"], ["one2", "x/tmp/b", "y"]),
        (["report[1].csv"], [], ["report[1].csv", "report1.csv"], ["report2.csv"]),
        ([], ["**/.*", "*.part"], ["a"], [".hidden", "x/.hidden", "a.part"]),
    ],
)
def test_names(include, exclude, taken, left):
    selected = ObjectFilter(include=include, exclude=exclude)
    assert [key for key in taken + left if selected.names(key)] == taken
    assert [key for key in taken + left if selected.includes(key)] == taken
    assert all(key.startswith(selected.literal_prefix) for key in taken)


def test_data_narrows_before_the_lists_do():
    selected = ObjectFilter(data="2026/", include=["**/*.csv"], exclude=["2026/tmp/"])
    keys = ["2026/a.csv", "2026/x/a.csv", "2026/tmp/a.csv", "2026/a.txt", "2025/a.csv"]
    assert [key for key in keys if selected.names(key)] == keys[:2]
    assert [key for key in keys if selected.includes(key)] == [*keys[:2], "2025/a.csv"]


def test_the_listing_is_narrowed_to_what_all_patterns_share():
    assert ObjectFilter(include=["2026/05/*.csv", "2026/06/"]).literal_prefix == "2026/0"
    assert ObjectFilter(include=["2026/05/*.csv", "**/x"]).literal_prefix == ""
    assert ObjectFilter(data="2026/", include=["2026/05/*.csv"]).literal_prefix == "2026/05/"
    assert ObjectFilter(data="2026/05/", include=["2026/"]).literal_prefix == "2026/05/"
    assert ObjectFilter().literal_prefix == ""


PATTERNS = st.lists(st.text(alphabet="ab/.*?[]{},!", min_size=1, max_size=8), max_size=3)


def filter_of(**values: object) -> ObjectFilter | None:
    try:
        return ObjectFilter(**values)  # type: ignore[arg-type]
    except RequestError:
        return None


@given(
    data=st.text(alphabet="ab/*?[]{},", max_size=6),
    include=PATTERNS,
    exclude=PATTERNS,
    key=st.text(alphabet="ab/.[]{},*", min_size=1, max_size=8),
)
def test_a_narrowed_listing_misses_nothing(data, include, exclude, key):
    selected = filter_of(data=data, include=include, exclude=exclude)
    # The pattern itself may be the name of an object, whatever it means as a pattern.
    for name in (key, data, *include):
        if selected is not None and name and selected.names(name):
            assert name.startswith(selected.literal_prefix)
            assert name.startswith(selected.included_prefix)
            assert selected.includes(name)


def test_sizes():
    selected = ObjectFilter(min_size_bytes=2, max_size_bytes=4)
    reasons = [selected.unwanted_because(info(size=size), now=NOW) for size in range(7)]
    assert reasons == ["too_small"] * 2 + [""] * 3 + ["too_large"] * 2
    assert not ObjectFilter(min_size_bytes=2).unwanted_because(info(size=10**15), now=NOW)
    assert ObjectFilter(max_size_bytes=0).unwanted_because(info(size=1), now=NOW) == "too_large"
    assert not ObjectFilter(max_size_bytes=0).unwanted_because(info(size=0), now=NOW)


def test_folder_markers_and_links_are_no_work():
    assert not ObjectFilter().counts(info("x/", 0), "x/", now=NOW)
    assert ObjectFilter().counts(info("x/", 1), "x/", now=NOW)
    assert not ObjectFilter().counts(info(unreadable_because="it is a pipe"), "a.csv", now=NOW)


def test_age():
    selected = ObjectFilter(min_age_seconds=30)
    assert selected.seconds_too_young(info(modified_at=NOW - timedelta(seconds=9)), now=NOW) == 21.0
    assert selected.seconds_too_young(info(modified_at=NOW - timedelta(seconds=31)), now=NOW) == 0.0
    at_age = info(modified_at=NOW - timedelta(seconds=30))
    assert not selected.unwanted_because(at_age, now=NOW)
    assert selected.unwanted_because(at_age, now=NOW - timedelta(seconds=1)) == "too_young"
    assert not selected.unwanted_because(info(), now=NOW)
    assert not ObjectFilter().unwanted_because(info(modified_at=NOW + timedelta(days=1)), now=NOW)


def test_an_object_counts_when_name_size_and_age_agree():
    selected = ObjectFilter(include=["*.csv"], min_size_bytes=5, min_age_seconds=30)
    old = NOW - timedelta(hours=1)
    assert selected.counts(info(modified_at=old), "a.csv", now=NOW)
    assert not selected.counts(info(modified_at=old), "a.txt", now=NOW)
    assert not selected.counts(info(modified_at=old, size=4), "a.csv", now=NOW)
    assert not selected.counts(info(modified_at=NOW), "a.csv", now=NOW)


def test_the_scope_changes_with_whatever_changes_the_view():
    base = ObjectFilter(include=["a"])
    scopes = {
        scope_of("s3://shop/", base),
        scope_of("s3://shop/x/", base),
        scope_of("s3://shop/", ObjectFilter(exclude=["a"])),
        scope_of("s3://shop/", ObjectFilter(data="a")),
        scope_of("s3://shop/", ObjectFilter(include=["a"], min_size_bytes=1)),
        scope_of("s3://shop/", base, done_suffix=".done"),
    }
    assert len(scopes) == 6
    assert scope_of("s3://shop/", base) == scope_of("s3://shop/", ObjectFilter(include=("a",)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"include": "*.csv"}, r'include is a text; expected a list .*; write \["\*\.csv"\]'),
        ({"exclude": ["s3://shop/x"]}, "a pattern of exclude is a URL; expected a key, a folder or a glob"),
        ({"include": ["x"] * 65}, "include has 65 patterns; expected at most 64"),
        ({"include": ["x", ""]}, "include holds an empty pattern"),
        ({"min_age_seconds": -1}, "min_age_seconds is -1; expected 0 or more seconds"),
        ({"min_size_bytes": 5, "max_size_bytes": 4}, "min_size_bytes is 5 and max_size_bytes is 4"),
    ],
)
def test_a_wrong_filter_says_so(arguments, message):
    with pytest.raises(RequestError, match=message):
        ObjectFilter(**arguments)
