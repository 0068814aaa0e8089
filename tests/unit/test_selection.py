"""Selection: what each form of `data` takes, against a plain model, and in bounded time."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skyferry.errors import RequestError
from skyferry.selection import MAX_DATA_CHARACTERS, Selection


@pytest.mark.parametrize(
    ("data", "kind", "literal_prefix"),
    [
        ("", "everything", ""),
        ("2026/", "folder", "2026/"),
        ("2026/may.csv", "key", "2026/may.csv"),
        ("2026", "key", "2026"),
        ("a\\*b", "glob", "a\\"),
        ("**/*.csv", "glob", ""),
        ("2026/0*/x", "glob", "2026/0"),
        ("2026/{05,06}/x", "glob", "2026/0"),
        ("{a,b}", "glob", ""),
        ("report[1].csv", "glob", "report"),
        ("why?", "glob", "why"),
        ("{a", "glob", "{a"),
    ],
)
def test_the_form_of_data_decides_its_kind(data: str, kind: str, literal_prefix: str) -> None:
    selection = Selection.parse(data)
    assert (selection.kind, selection.literal_prefix) == (kind, literal_prefix)


@pytest.mark.parametrize(
    ("data", "taken", "left"),
    [
        ("", ["a", "a/b", "", ".a"], []),
        ("a/", ["a/b", "a/b/c", "a/"], ["a", "ab", "b/a/c"]),
        ("a/b", ["a/b"], ["a/b/", "a/bc", "A/b", "x/a/b"]),
        ("*", ["a", ".a", "a b\n"], ["a/b", "/a"]),
        ("*.csv", ["a.csv", ".csv", "Ä.csv"], ["a.CSV", "a/b.csv", "a.csv2"]),
        ("**", ["a", "a/b", ".a/.b", "a//b", ""], []),
        ("**/*.csv", ["a.csv", "x/a.csv", "x/y/.a.csv"], ["a.txt", "a.csv/b"]),
        ("a/**", ["a/b", "a/b/c", "a/"], ["a", "ab", "b/a/c"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "ab", "a/b/c"]),
        ("**/a/**/b", ["a/b", "x/a/a/b", "a/b/a/x/b"], ["b/a", "a"]),
        ("a**b", ["ab", "axxb"], ["a/b"]),
        ("a?c", ["abc", "aéc"], ["a/c", "ac"]),
        ("[a-c]", ["a", "c"], ["d", "[a-c]"]),
        ("[!a-c]", ["d", "!"], ["a"]),
        ("x[*]y", ["x*y"], ["xzy"]),
        ("{a,b}/*.{csv,txt}", ["a/1.csv", "b/1.txt"], ["c/1.csv", "a/1.bin"]),
        ("day{08..10}", ["day08", "day09", "day10"], ["day11"]),
        ("a\\*", ["a\\x"], ["a*", "a"]),
        ("a/*/b", ["a/x/b", "a//b"], ["a/b", "a/x/y/b"]),
        ("$(rm *)", ["$(rm -rf x)"], []),
    ],
)
def test_globs(data: str, taken: list[str], left: list[str]) -> None:
    selection = Selection.parse(data)
    assert [key for key in taken if not selection.matches(key)] == []
    assert [key for key in left if selection.matches(key)] == []


def test_a_key_with_glob_characters_can_be_named_exactly() -> None:
    selection = Selection.exactly("report[1].csv")
    assert selection.matches("report[1].csv")
    assert not selection.matches("report1.csv")
    assert selection.literal_prefix == "report[1].csv"


def matches_by_trying_everything(pattern: str, key: str) -> bool:
    """The definition of `*`, `?` and `**`, without a thought for time."""

    def elements_match(pattern_elements: list[str], names: list[str]) -> bool:
        if not pattern_elements:
            return not names
        head, *rest = pattern_elements
        if head == "**":
            first = 0 if rest else 1
            return any(elements_match(rest, names[skipped:]) for skipped in range(first, len(names) + 1))
        return bool(names) and characters_match(head, names[0]) and elements_match(rest, names[1:])

    def characters_match(element: str, name: str) -> bool:
        if not element:
            return not name
        if element[0] == "*":
            return any(characters_match(element[1:], name[skipped:]) for skipped in range(len(name) + 1))
        return bool(name) and element[0] in ("?", name[0]) and characters_match(element[1:], name[1:])

    return elements_match(pattern.split("/"), key.split("/"))


@given(
    pattern=st.lists(st.sampled_from(["a", "b", "*", "?", "/", "**", "/**/", "**/"]), max_size=8).map("".join),
    key=st.text(alphabet="ab/", max_size=9),
)
@example(pattern="**/a/**/a", key="a/b/a")
@example(pattern="a/**", key="a")
@example(pattern="**/**", key="a")
def test_globs_match_exactly_what_their_definition_says(pattern: str, key: str) -> None:
    selection = Selection.parse(pattern)
    if selection.kind == "glob":
        assert selection.matches(key) == matches_by_trying_everything(pattern, key)
    if selection.matches(key):
        assert key.startswith(selection.literal_prefix)


@pytest.mark.parametrize(
    "data",
    ["*a" * 500 + "b", "**/a/" * 200 + "b", "?" * 1000 + "b", "[a-z]*" * 170, "*/" * 500 + "b", "{a,b}" * 6 + "*a*b*z"],
)
@pytest.mark.parametrize("key", ["a" * 1024, "a/" * 512, "/" * 1024, "ab" * 512])
def test_hostile_patterns_take_no_time(data: str, key: str) -> None:
    selection = Selection.parse(data)
    started = time.process_time()
    selection.matches(key)
    assert time.process_time() - started < 0.5  # measured: under 0.002 s


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("k" * (MAX_DATA_CHARACTERS + 1), "1,025 characters"),
        ("{a,b}" * 7, "64 alternatives"),
        ("{1..100000000}", "64 alternatives"),
        ("{" * 1000, "32 braces"),
        ("s3://bucket/key", "relative to the source"),
    ],
)
def test_what_is_too_much_is_refused(data: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Selection.parse(data)
