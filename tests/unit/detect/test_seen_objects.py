"""The bounded memory: exact for few, never forgetting for many, and small."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.detect.seen_objects import GROUPS, MAX_EXACT, SeenObjects, version_token
from skyferry.objects import ObjectInfo

tokens = st.integers(min_value=0, max_value=2**64 - 1)


def round_trip(seen: SeenObjects) -> SeenObjects:
    return SeenObjects.from_json(json.loads(json.dumps(seen.to_json())))


def many(count: int, start: int = 0) -> set[int]:
    return {
        version_token(ObjectInfo(key=f"k{number}", size_bytes=1, etag="e")) for number in range(start, start + count)
    }


def test_a_token_stands_for_key_and_etag():
    made = {
        version_token(ObjectInfo(key=key, size_bytes=1, etag=etag)) for key in ("a", "\udcff", "ä") for etag in "xy"
    }
    assert len(made) == 6
    assert version_token(ObjectInfo(key="a", size_bytes=1, etag="x")) == version_token(
        ObjectInfo(key="a", size_bytes=2, etag="x")
    )


@given(st.sets(tokens, max_size=50))
def test_few_are_remembered_one_by_one(given_tokens):
    seen = round_trip(SeenObjects(given_tokens))
    assert seen.is_exact
    assert set(seen.units()) == given_tokens
    assert all(token in seen for token in given_tokens)
    assert 17 in SeenObjects({17})
    assert 18 not in SeenObjects({17})


def test_the_limit_is_where_it_says():
    assert SeenObjects(many(MAX_EXACT)).is_exact
    assert not SeenObjects(many(MAX_EXACT + 1)).is_exact


def test_many_are_remembered_by_groups_and_each_addition_shows():
    before = many(5_000)
    seen = round_trip(SeenObjects(before))
    assert not seen.is_exact
    assert seen.units() == SeenObjects(before).units() == SeenObjects(many(5_000)).units()
    for token in many(100, start=5_000):
        changed = SeenObjects(before | {token}).units()
        assert [group for group in changed if changed[group] != seen.units()[group]] == [token % GROUPS]
    with pytest.raises(ValueError, match="cannot tell single versions"):
        assert 1 in seen


@given(st.sets(tokens, max_size=50))
def test_folding_agrees_with_growing_out_of_exactness(few):
    base = many(MAX_EXACT + 1)
    grown = SeenObjects(base)
    for token in few - base:
        grown.add(token)
    expected = SeenObjects(base | few).units()
    assert grown.units() == grown.folded().units() == expected
    assert SeenObjects.from_units(expected, is_exact=False).units() == expected


@pytest.mark.parametrize("count", [0, MAX_EXACT, 100_000])
def test_it_is_small_however_many_there_are(count):
    assert len(json.dumps(SeenObjects(many(count)).to_json())) < 22_000


@pytest.mark.parametrize("values", [{"groups": ""}, {"groups": "AAAA"}, {"exact": "***"}, {}])
def test_what_is_no_memory_is_refused(values):
    with pytest.raises(ValueError, match="sums|base64|Only"):
        SeenObjects.from_json(values)
