"""What is forgotten costs a look; what is wrongly remembered would lose an object."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skyferry.detect.object_records import ObjectRecord
from skyferry.detect.settled_events import SettledEvents

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def record(**values: Any) -> ObjectRecord:
    defaults = {"index": 0, "kind": "created", "event_name": "ObjectCreated:Put", "bucket": "b", "key": "k"}
    return ObjectRecord(**{**defaults, "etag": "e", "event_time": NOON, **values})


def settled(*records: ObjectRecord) -> SettledEvents:
    events = SettledEvents()
    for one in records:
        events.add(one)
    return events


@pytest.mark.parametrize(
    ("known", "other", "is_covered"),
    [
        ({"sequencer": "0002"}, {"sequencer": "0002"}, True),
        ({"sequencer": "0002"}, {"sequencer": "0001", "etag": "older"}, True),
        ({"sequencer": "0002"}, {"sequencer": "0003", "etag": "newer"}, False),
        ({"sequencer": "0002"}, {"sequencer": "01", "etag": "of another length"}, False),
        ({}, {}, True),
        ({}, {"etag": "other"}, False),
        ({}, {"event_time": NOON - timedelta(hours=1), "etag": "older"}, False),
        ({"producer": "ceph", "sequencer": "0002"}, {"producer": "ceph", "sequencer": "0001", "etag": "x"}, False),
        ({}, {"key": "another"}, False),
        ({}, {"bucket": "another"}, False),
    ],
)
def test_only_repeated_and_provably_older_events_are_covered(
    known: dict[str, Any], other: dict[str, Any], is_covered: bool
) -> None:
    assert settled(record(**known)).covers(record(**other)) is is_covered


def test_an_older_event_does_not_take_the_place_of_a_newer_one() -> None:
    events = settled(record(sequencer="0005"), record(sequencer="0002", etag="old"))
    assert events.covers(record(sequencer="0004", etag="x"))


def test_memory_is_bounded_and_the_longest_unheard_of_key_is_forgotten_first() -> None:
    events = SettledEvents(max_remembered=3)
    for key in "abc":
        events.add(record(key=key))
    events.add(record(key="a"))
    events.add(record(key="d"))
    assert [key for key in "abcd" if events.covers(record(key=key))] == ["a", "c", "d"]
