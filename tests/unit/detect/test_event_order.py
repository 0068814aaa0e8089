"""Order: every row of the table, its mirror image, and that nothing unsure is decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyferry.detect.event_order import Order, event_order, sequencer_order
from skyferry.detect.object_records import ObjectRecord, Producer, RecordKind

TIME = datetime(2026, 11, 21, 3, 56, 1, tzinfo=UTC)
MIRROR = {
    Order.OLDER: Order.NEWER,
    Order.NEWER: Order.OLDER,
    Order.SAME: Order.SAME,
    Order.UNDECIDED: Order.UNDECIDED,
}

LOW, HIGH = "0055AED6DCD90281E5", "006408CAD69598B05E"


def event(
    sequencer: str | None = None,
    *,
    version: str | None = None,
    etag: str | None = "e1",
    at: float | None = 0,
    kind: RecordKind = "created",
    is_marker: bool = False,
    producer: Producer = "aws",
) -> ObjectRecord:
    return ObjectRecord(
        index=0,
        kind=kind,
        event_name="ObjectCreated:Put",
        bucket="abc",
        key="k",
        etag=etag,
        version_id=version,
        sequencer=sequencer,
        event_time=None if at is None else TIME + timedelta(seconds=at),
        is_delete_marker=is_marker,
        producer=producer,
    )


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (LOW, HIGH, Order.OLDER),
        ("617f0837b476e463", "617F0837B476E463", Order.SAME),
        ("617f0837b476e463", "617F0837B476E464", Order.OLDER),
        ("0A", "0A00", Order.UNDECIDED),
        ("0A", "0B00", Order.UNDECIDED),
        ("FF", "100", Order.UNDECIDED),
        ("", "", Order.UNDECIDED),
        ("Happy Sequencer", "Happy Sequences", Order.UNDECIDED),
        ("0A\n", "0B\n", Order.UNDECIDED),
        (None, "0A", Order.UNDECIDED),
        (None, None, Order.UNDECIDED),
    ],
)
def test_sequencers(first: str | None, second: str | None, order: Order) -> None:
    assert sequencer_order(first, second) == order
    assert sequencer_order(second, first) == MIRROR[order]


hex_digits = st.text("0123456789abcdefABCDEF", min_size=1, max_size=20)


@settings(deadline=2_000)
@given(st.integers(1, 20).flatmap(lambda n: st.tuples(*[st.text("0123456789aBcDEf", min_size=n, max_size=n)] * 3)))
def test_sequencers_of_one_length_are_a_strict_weak_order(sequencers: tuple[str, str, str]) -> None:
    for first, second, third in permutations(sequencers):
        by_number = (int(first, 16) > int(second, 16)) - (int(first, 16) < int(second, 16))
        assert sequencer_order(first, second) == {-1: Order.OLDER, 0: Order.SAME, 1: Order.NEWER}[by_number]
        assert sequencer_order(first, first) is Order.SAME
        assert sequencer_order(second, first) is MIRROR[sequencer_order(first, second)]
        for order in (Order.OLDER, Order.SAME):
            if sequencer_order(first, second) is order and sequencer_order(second, third) is order:
                assert sequencer_order(first, third) is order


@settings(deadline=2_000)
@given(hex_digits, hex_digits)
def test_sequencers_of_two_lengths_decide_nothing(first: str, second: str) -> None:
    assert (sequencer_order(first, second) is Order.UNDECIDED) == (len(first) != len(second))


ROWS = [
    # equal sequencers
    (event(LOW), event(LOW), Order.SAME),
    (event(LOW, at=0), event(LOW, at=None), Order.SAME),
    (event(LOW, kind="removed", etag=None), event(LOW, kind="removed", etag=None, at=9), Order.SAME),
    (event(LOW, etag="e1"), event(LOW, etag="e2"), Order.UNDECIDED),
    (event(LOW, etag="e1"), event(LOW, etag="e2", at=9), Order.OLDER),
    (event(LOW), event(LOW, kind="removed"), Order.UNDECIDED),
    (event(LOW, kind="removed", is_marker=True), event(LOW, kind="removed"), Order.UNDECIDED),
    (event(LOW, version="v1"), event(LOW, version="v2", at=-9), Order.NEWER),
    # sequencers that differ
    (event(LOW), event(HIGH), Order.OLDER),
    (event(LOW, at=99), event(HIGH, at=0), Order.OLDER),
    (event(LOW, version="v1", kind="removed"), event(HIGH, version="v1"), Order.OLDER),
    # sequencers of different lengths
    (event("0A", at=0), event("0B00", at=99), Order.UNDECIDED),
    (event("0A", version="v1"), event("0B00", version="v1"), Order.SAME),
    (event("0A", version="v1", kind="removed"), event("0B00", version="v1"), Order.NEWER),
    # version ids
    (event(version="v1", at=50), event(version="v1", kind="removed", at=0), Order.OLDER),
    (
        event(version="v1", kind="removed", is_marker=True, etag=None),
        event(version="v1", kind="removed", etag=None),
        Order.OLDER,
    ),
    (event(version="v1"), event(version="v1", at=99), Order.SAME),
    (event(version="v1", etag=None), event(version="v1", at=None), Order.SAME),
    (event(version="v1", etag="e1"), event(version="v1", etag="e2"), Order.UNDECIDED),
    (event(version="v1", kind="other"), event(version="v1"), Order.UNDECIDED),
    (event(version="v1", kind="restored"), event(version="v1", kind="restored", at=9), Order.OLDER),
    (event(version="null"), event(version="null", at=9), Order.OLDER),
    (event(version="1"), event(version="1", at=9), Order.OLDER),
    (event(version="null", kind="removed", at=0), event(version="null", at=9), Order.OLDER),
    (event(version="v1", at=0), event(version="v2", at=9), Order.OLDER),
    # times
    (event(at=0), event(at=1), Order.OLDER),
    (event(at=0), event(at=0.999), Order.UNDECIDED),
    (event(at=0), event(at=0), Order.SAME),
    (event(at=0, etag="e1"), event(at=0, etag="e2"), Order.UNDECIDED),
    (event(at=0, etag=None), event(at=0, etag=None), Order.UNDECIDED),
    (event(at=0, etag=None, kind="removed"), event(at=0, etag=None, kind="removed"), Order.SAME),
    (event(at=0), event(at=0, kind="removed"), Order.UNDECIDED),
    (event(at=None), event(at=9), Order.UNDECIDED),
    (event(at=None), event(at=None), Order.UNDECIDED),
    (event(LOW, at=0), event(None, at=9), Order.OLDER),
    (event("not hex", at=0), event("not hexadecimal", at=9), Order.OLDER),
    # Ceph: 2024-04-21T10:03:18 and one second later, in the byte order of the machine that wrote them
    (event("66E42466712CA919", producer="ceph", at=0), event("67E4246600000000", producer="ceph", at=1), Order.OLDER),
    (event("FFE42466712CA919", producer="ceph", at=0), event("00E5246600000000", producer="ceph", at=1), Order.OLDER),
    (event("66E42466712CA919", producer="ceph"), event("66E42466712CA919", producer="ceph"), Order.SAME),
    (
        event("FFE42466712CA919", producer="ceph", at=None),
        event("00E5246600000000", producer="ceph", at=None),
        Order.UNDECIDED,
    ),
]


@pytest.mark.parametrize(("first", "second", "order"), ROWS)
def test_the_table(first: ObjectRecord, second: ObjectRecord, order: Order) -> None:
    assert event_order(first, second) is order
    assert event_order(second, first) is MIRROR[order]


def test_events_of_different_objects_have_no_order() -> None:
    other_key = ObjectRecord(index=0, kind="created", event_name="ObjectCreated:Put", bucket="abc", key="other")
    other_bucket = ObjectRecord(index=0, kind="created", event_name="ObjectCreated:Put", bucket="abcd", key="k")
    for other in (other_key, other_bucket):
        with pytest.raises(ValueError, match="different objects"):
            event_order(event(), other)


events = st.builds(
    event,
    st.sampled_from([None, LOW, HIGH, "0A", "x"]),
    version=st.sampled_from([None, "null", "v1", "v2"]),
    etag=st.sampled_from([None, "e1", "e2"]),
    at=st.sampled_from([None, 0, 0.5, 1, 60]),
    kind=st.sampled_from(["created", "removed", "restored", "other"]),
    is_marker=st.booleans(),
    producer=st.sampled_from(["aws", "ceph", "eventbridge"]),
)


@settings(deadline=2_000)
@given(events, events)
def test_two_events_stand_to_each_other_as_in_a_mirror(first: ObjectRecord, second: ObjectRecord) -> None:
    order = event_order(first, second)
    assert event_order(second, first) is MIRROR[order]
    if order is Order.SAME:
        assert first.kind == second.kind
        assert first.version_id == second.version_id
        assert first.etag == second.etag or None in {first.etag, second.etag}


def test_a_delivery_out_of_order_is_put_right() -> None:
    """Put v1, Put v2, Delete arrive as v2, Delete, v1."""
    first, second = event("0C0F6F405D6ED209E1", etag="e1"), event("0C0F6F405D6ED209F2", etag="e2")
    removal = event("0C0F6F405D6ED20A00", etag=None, kind="removed")
    arrived = [second, removal, first]
    newest = next(one for one in arrived if all(event_order(one, two) is not Order.OLDER for two in arrived))
    assert newest is removal
    for older, newer in pairwise([first, second, removal]):
        assert event_order(older, newer) is Order.OLDER
