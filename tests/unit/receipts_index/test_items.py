"""The keys of the index: within DynamoDB's limits, one for each receipt, and found by what they begin with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skyferry.receipts_index.items import HASH_KEY, RANGE_KEY, IndexPlace, item_of, range_prefix, receipt_of
from skyferry.records import Outcome, Receipt
from skyferry.state import Run

RUN = Run(dag_id="transfer__orders", run_id="manual__1", route="orders", started_at="")
PLACE = IndexPlace(route="orders", destination="s3://lake/raw/")

# Names as stores have them: any text, and in local folders bytes that are no UTF-8.
CHARACTERS = st.sampled_from(list("a/%|~u25\n\0é漢😀\udc80\udcff"))
LONG = st.builds(lambda part, times: part * times, st.text(CHARACTERS, min_size=1, max_size=4), st.integers(200, 600))
SHORT = st.text(CHARACTERS, max_size=12)
KEYS = SHORT | st.builds(lambda start, rest: start + rest, LONG, SHORT)


def receipt(key: str, **more: object) -> Receipt:
    values = {
        "key": key,
        "destination_key": f"raw/{key}",
        "outcome": Outcome.COPIED,
        "reason": "new",
        "size_bytes": 3,
        "source_etag": "e1",
        "finished_at": "2026-11-21T16:04:28.123+00:00",
    }
    return Receipt(**(values | more))  # type: ignore[arg-type]


def item(key: str, **more: object) -> dict[str, str]:
    return item_of(receipt(key, **more), place=PLACE, run=RUN)


@given(KEYS)
@example("")
@example("é" * 512)
@example("😀" * 256)
@example("%" * 1024)
@example("a" * 1024)
def test_every_key_fits_and_comes_back(key: str) -> None:
    made = item(key)
    assert 0 < len(made[RANGE_KEY].encode()) <= 1024
    assert receipt_of(made).receipt == receipt(key)
    for value in made.values():
        value.encode()  # DynamoDB takes nothing but UTF-8


@given(KEYS, KEYS, st.integers(0, 1200))
def test_keys_that_begin_so_are_found_and_short_texts_find_no_others(one: str, other: str, cut: int) -> None:
    prefix = one[:cut]
    assert item(one)[RANGE_KEY].startswith(range_prefix(prefix))
    if item(other)[RANGE_KEY].startswith(range_prefix(prefix)) and len(range_prefix(prefix).encode()) < 880:
        assert other.startswith(prefix)


@given(KEYS, KEYS)
@example("a" * 1023 + "1", "a" * 1023 + "2")
@example("a|", "a%7C")
@example("\udc80", "%uDC80")
def test_two_objects_never_share_a_key(one: str, other: str) -> None:
    assert (item(one)[RANGE_KEY] == item(other)[RANGE_KEY]) == (one == other)


def test_the_same_receipt_has_one_key_and_what_came_later_another() -> None:
    assert item("a")[RANGE_KEY] == item("a", deleted_at_source=True)[RANGE_KEY]
    later = item("a", finished_at="2026-11-21T16:05:00.000+00:00")
    assert item("a")[RANGE_KEY] < later[RANGE_KEY]
    others = [item("a", source_etag="e2"), item("a", outcome=Outcome.SKIPPED)]
    others += [item_of(receipt("a"), place=PLACE, run=replace(RUN, run_id="manual__2"))]
    assert len({one[RANGE_KEY] for one in (item("a"), *others)}) == 4


@given(KEYS, KEYS)
def test_hash_keys_fit_and_tell_destinations_apart(one: str, other: str) -> None:
    keys = [IndexPlace(route="r" * 63, destination=f"file:///{text}").hash_key for text in (one, other)]
    assert all(len(key.encode()) <= 2048 for key in keys)
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize(("key", "written"), [("2026/may.csv", "2026/may.csv"), ("50%|a", "50%25%7Ca")])
def test_ordinary_keys_stay_readable(key: str, written: str) -> None:
    assert item(key)[RANGE_KEY].startswith(f"{written}|2026-11-21T16:04:28.123+00:00|")
    assert item(key)[HASH_KEY] == "orders|s3://lake/raw/"
