"""Which objects a sensor counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from skyferry.detect.object_filter import ObjectFilter, scope_of
from skyferry.errors import RequestError
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
    assert [key for key in taken + left if selected.takes(info(key), key)] == taken
    assert all(key.startswith(selected.literal_prefix) for key in taken)


def test_the_listing_is_narrowed_to_what_all_patterns_share():
    assert ObjectFilter(include=["2026/05/*.csv", "2026/06/"]).literal_prefix == "2026/0"
    assert ObjectFilter(include=["2026/05/*.csv", "**/x"]).literal_prefix == ""
    assert ObjectFilter().literal_prefix == ""


def test_sizes():
    selected = ObjectFilter(min_size_bytes=2, max_size_bytes=4)
    assert [size for size in range(7) if selected.takes(info(size=size), "a.csv")] == [2, 3, 4]
    assert ObjectFilter(min_size_bytes=2).takes(info(size=10**15), "a.csv")


def test_folder_markers_and_links_are_no_work():
    assert not ObjectFilter().takes(info("x/", 0), "x/")
    assert ObjectFilter().takes(info("x/", 1), "x/")
    assert not ObjectFilter().takes(info(unreadable_because="it is a pipe"), "a.csv")


def test_age():
    selected = ObjectFilter(min_age_seconds=30)
    ages = [29, 30, 31]
    old = [age for age in ages if selected.is_old_enough(info(modified_at=NOW - timedelta(seconds=age)), now=NOW)]
    assert old == [30, 31]
    assert selected.is_old_enough(info(), now=NOW)
    assert ObjectFilter().is_old_enough(info(modified_at=NOW + timedelta(days=1)), now=NOW)


def test_the_scope_changes_with_whatever_changes_the_view():
    base = ObjectFilter(include=["a"])
    scopes = {
        scope_of("s3://shop/", base),
        scope_of("s3://shop/x/", base),
        scope_of("s3://shop/", ObjectFilter(exclude=["a"])),
        scope_of("s3://shop/", ObjectFilter(include=["a"], min_size_bytes=1)),
        scope_of("s3://shop/", base, done_suffix=".done"),
    }
    assert len(scopes) == 5
    assert scope_of("s3://shop/", base) == scope_of("s3://shop/", ObjectFilter(include=("a",)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"include": "*.csv"}, r'include is a text; expected a list .*; write \["\*\.csv"\]'),
        ({"exclude": ["s3://shop/x"]}, "exclude: data is a URL"),
        ({"include": ["x"] * 65}, "include has 65 patterns; expected at most 64"),
        ({"min_age_seconds": -1}, "min_age_seconds is -1; expected 0 or more seconds"),
        ({"min_size_bytes": 5, "max_size_bytes": 4}, "min_size_bytes is 5 and max_size_bytes is 4"),
    ],
)
def test_a_wrong_filter_says_so(arguments, message):
    with pytest.raises(RequestError, match=message):
        ObjectFilter(**arguments)
