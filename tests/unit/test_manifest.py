"""Batches that end together: work is shared out by what it is expected to cost."""

from __future__ import annotations

import random

from skyferry.manifest import OrderedOnDisk, Share, share_out
from skyferry.objects import ObjectInfo
from skyferry.records import Action, PlannedObject

GIB = 2**30


def costs(shares: list[Share], batches: list[tuple[int, ...]]) -> list[float]:
    return [sum(shares[record].seconds for record in batch) for batch in batches]


def test_one_huge_object_among_many_tiny_ones_is_a_batch_of_its_own_and_comes_first() -> None:
    shares = [Share(500, 500 * 1024)] * 10 + [Share(1, 10 * GIB)] + [Share(500, 500 * 1024)] * 10
    batches = share_out(shares, batch_objects=1000, batch_bytes=4 * GIB)
    assert batches[0] == (10,)
    assert len(batches) == 11
    rest = costs(shares, batches)[1:]
    assert max(rest) - min(rest) == 0


def test_uneven_records_end_together() -> None:
    numbers = random.Random(7)
    sizes = sorted(min(int(numbers.paretovariate(1.1) * 32 * 2**20), 4 * GIB) for _ in range(400))
    shares = [Share(500, size_bytes) for size_bytes in sizes]
    batches = share_out(shares, batch_objects=2000, batch_bytes=16 * GIB)
    assert sorted(record for batch in batches for record in batch) == list(range(len(shares)))
    seconds = costs(shares, batches)
    longest = max(share.seconds for share in shares)
    assert max(seconds) <= 1.25 * max(sum(seconds) / len(seconds), longest)
    in_key_order = [tuple(range(start, min(start + 4, len(shares)))) for start in range(0, len(shares), 4)]
    assert max(seconds) < 0.7 * max(costs(shares, in_key_order)), "the records' own order would be much worse"


def test_no_batch_is_larger_than_asked_for() -> None:
    numbers = random.Random(3)
    shares = [Share(numbers.randint(1, 500), numbers.randint(1, GIB)) for _ in range(300)]
    batches = share_out(shares, batch_objects=1000, batch_bytes=4 * GIB)
    for batch in batches:
        assert sum(shares[record].objects for record in batch) <= 1000
        assert sum(shares[record].size_bytes for record in batch) <= 4 * GIB


def test_the_number_of_batches_is_bounded() -> None:
    shares = [Share(1, 1)] * 100
    batches = share_out(shares, batch_objects=1, batch_bytes=1, most=8)
    assert sorted(len(batch) for batch in batches) == [12] * 4 + [13] * 4


def test_nothing_makes_no_batch() -> None:
    assert share_out([], batch_objects=1, batch_bytes=1) == []


def test_equal_work_is_shared_out_alike_every_time() -> None:
    shares = [Share(10, 10)] * 57
    first = share_out(shares, batch_objects=20, batch_bytes=GIB)
    assert first == share_out(shares, batch_objects=20, batch_bytes=GIB)
    assert all(batch == tuple(sorted(batch)) for batch in first)


def test_order_of_sizes_is_settled_by_keys() -> None:
    sizes = [("b", 5), ("a", 5), ("\udcff", 7), ("c", 0), ("d", 9)]

    def keys(order: str) -> list[str]:
        ordered = OrderedOnDisk(order)  # type: ignore[arg-type]
        for key, size_bytes in sizes:
            info = ObjectInfo(key=key, size_bytes=size_bytes, etag="e")
            ordered.add(PlannedObject(action=Action.COPY, source=info, destination_key=key, reason="new"))
        return [planned.source.key for planned in ordered.take_all()]

    assert keys("largest_first") == ["d", "\udcff", "a", "b", "c"]
    assert keys("smallest_first") == ["c", "a", "b", "\udcff", "d"]
