"""JSON from strangers: what is read, what is refused and with which words, and that refusing is cheap."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyferry.detect.untrusted_json import JsonRefusedError, read_json

LIMIT = 2**20


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, -2.5, true, null, "x"]}', {"a": [1, -2.5, True, None, "x"]}),
        (b'"\xc3\xbc"', "ü"),
        (r'"\ud83d\ude00\u0000\n"', "😀\x00\n"),
        ("[" * 100 + "]" * 100, None),
        (" \n\t[] ", []),
        ('{"a": {"b": 1}, "c": {"b": 2}}', {"a": {"b": 1}, "c": {"b": 2}}),
    ],
)
def test_json_is_read(text: str | bytes, value: object) -> None:
    found = read_json(text, max_bytes=LIMIT)
    assert value is None or found == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("nothing", "is not JSON (at line 1 column 2)"),
        ('{"a": 1,}', "is not JSON"),
        ("{} {}", "is not JSON"),
        ("{'a': 1}", "is not JSON"),
        ('"a\nb"', "is not JSON"),
        ("NaN", "is not JSON"),
        ('{"a": NaN}', "is not JSON"),
        ("[Infinity]", "is not JSON"),
        ("[-Infinity]", "is not JSON"),
        (r'"\ud800"', "is not JSON"),
        (r'{"\udc00": 1}', "is not JSON"),
        ('"\ud800"', "holds a lone surrogate"),
        (b'"\xed\xa0\x80"', "is not JSON"),
        (b'"\xe9"', "is not JSON"),
        (b'"\xc0\xaf"', "is not JSON"),
        ('{"a": 1}'.encode("utf-16"), "is not JSON"),
        ("\ufeff{}", "begins with a byte order mark"),
        (b"\xef\xbb\xbf", "begins with a byte order mark"),
        ('{"a": 1, "a": 1}', "is JSON with a name given twice in one object"),
        (r'{"a": 1, "\u0061": 2}', "is JSON with a name given twice in one object"),
        ('[{"b": {"a": 1, "a": 2}}]', "is JSON with a name given twice in one object"),
        ("[" * 100_000, "is JSON nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "is JSON nested too deeply"),
        ('{"a":' * 100_000, "is JSON nested too deeply"),
        ("9" * 100_000, "is not JSON"),
    ],
)
def test_text_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(JsonRefusedError) as refused:
        read_json(text, max_bytes=LIMIT)
    assert str(refused.value).startswith(reason)


def test_deep_nesting_is_refused_wherever_the_caller_stands() -> None:
    """The standard parser spends the caller's stack; close to its end a shallow text is too deep."""

    def descend(levels: int) -> str:
        if levels:
            return descend(levels - 1)
        try:
            read_json("[" * 190 + "]" * 190, max_bytes=LIMIT)
        except JsonRefusedError as error:
            return str(error)
        return "read"

    assert descend(100) == "read"
    frame, depth = sys._getframe(), 0
    while frame := frame.f_back:  # type: ignore[assignment]
        depth += 1
    assert descend(sys.getrecursionlimit() - depth - 60) == "is JSON nested too deeply"


@pytest.mark.parametrize(("length", "is_read"), [(100, True), (101, False)])
def test_the_limit_counts_bytes(length: int, *, is_read: bool) -> None:
    ascii_text, wide_text = '"' + "a" * (length - 2) + '"', '"' + "é" * ((length - 2) // 2) + "a" * (length % 2) + '"'
    for text in (ascii_text, wide_text, ascii_text.encode()):
        assert len(text.encode() if isinstance(text, str) else text) == length
        if is_read:
            assert read_json(text, max_bytes=100)
        else:
            with pytest.raises(JsonRefusedError, match="is longer than 100 bytes"):
                read_json(text, max_bytes=100)


def test_a_refusal_quotes_nothing() -> None:
    for text in ('{"password": "hunter2" hunter2}', '{"hunter2": 1, "hunter2": 2}', "hunter2", '"\\hunter2"'):
        with pytest.raises(JsonRefusedError) as refused:
            read_json(text, max_bytes=LIMIT)
        assert "hunter" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize("unit", ["[", '{"a":', "[]," * 3, '"\\u0041",', "1e9,", "-", "\\", "0.", "{}"])
def test_a_huge_text_takes_no_time(unit: str) -> None:
    text = "[" + unit * (LIMIT // len(unit) - 1)
    begin = time.process_time()
    with pytest.raises(JsonRefusedError):
        read_json(text, max_bytes=LIMIT)
    assert time.process_time() - begin < 30, "0.1 s, unless it grows with the square"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=2_000)
@given(json_values, st.booleans())
def test_whatever_json_writes_is_read_back(value: Any, is_ascii: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=is_ascii), max_bytes=LIMIT) == value


@settings(deadline=2_000)
@given(st.binary() | st.text())
def test_anything_is_read_or_refused(text: str | bytes) -> None:
    try:
        value = read_json(text, max_bytes=LIMIT)
    except JsonRefusedError:
        return
    assert not (isinstance(value, float) and math.isnan(value))
    assert json.loads(text) == value
