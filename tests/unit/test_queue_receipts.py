"""Which of the receipts count that the consumers of a queue left for one route."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace

import pytest

from skyferry.detect.mirrored_deletes import ALREADY_GONE
from skyferry.detect.route_worker import SUPERSEDED
from skyferry.queue_receipts import ReceiptChoice
from skyferry.records import Outcome, Receipt


def receipt(outcome: Outcome, reason: str = "new", *, second: int, key: str = "k", etag: str = "v1") -> Receipt:
    at = f"2026-05-04T03:02:{second:02d}.000+00:00"
    return Receipt(
        key=key, destination_key=key, outcome=outcome, reason=reason, size_bytes=1, source_etag=etag, finished_at=at
    )


def chosen(receipts: Iterable[Receipt]) -> list[Receipt]:
    with ReceiptChoice() as choice:
        for one in receipts:
            choice.offer(one.to_json())
        return list(choice.chosen())


COPIED = receipt(Outcome.COPIED, second=10)
IDENTICAL = receipt(Outcome.SKIPPED, "identical", second=20)
FAILED = receipt(Outcome.FAILED, "access denied", second=5)
FAILED_LATER = receipt(Outcome.FAILED, "access denied", second=30, etag="v2")
REFUSED_LATER = receipt(Outcome.REFUSED, "a name it cannot hold", second=30, etag="")
GONE = receipt(Outcome.SKIPPED, SUPERSEDED, second=30, etag="")
DELETED = replace(receipt(Outcome.DELETED, "removed_at_source", second=40, etag=""), destination_etag="copy-1")
MOVED = replace(COPIED, deleted_at_source=True)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([COPIED], [COPIED]),
        ([COPIED, IDENTICAL], [COPIED]),  # a message that was handed out again
        ([COPIED, MOVED], [MOVED]),  # the second receipt of a move
        ([MOVED, IDENTICAL], [MOVED]),
        ([COPIED, GONE], [COPIED]),
        ([GONE], [GONE]),
        ([GONE, replace(GONE, reason=ALREADY_GONE, finished_at=COPIED.finished_at)], [GONE]),
        ([FAILED], [FAILED]),
        ([FAILED, COPIED], [COPIED]),
        ([COPIED, FAILED_LATER], [COPIED, FAILED_LATER]),
        ([COPIED, REFUSED_LATER], [COPIED, REFUSED_LATER]),
        ([FAILED, FAILED_LATER], [FAILED_LATER]),
        ([FAILED, GONE], [GONE]),
        ([COPIED, DELETED], [COPIED, DELETED]),
        ([COPIED, FAILED_LATER, DELETED], [COPIED, DELETED]),
    ],
)
def test_what_counts_does_not_hang_on_the_order_of_the_records(offered: list[Receipt], expected: list[Receipt]) -> None:
    for order in itertools.permutations(offered):
        assert sorted(chosen(order), key=repr) == sorted(expected, key=repr)


def test_of_two_receipts_of_one_moment_the_later_record_counts() -> None:
    kept = replace(COPIED, kept_because="it changed")  # as a move writes it that leaves its source
    assert chosen([COPIED, kept]) == [kept]


def test_every_version_and_every_key_counts() -> None:
    versions = [COPIED, replace(COPIED, source_etag="v2"), replace(COPIED, key="other")]
    assert chosen([*versions, IDENTICAL]) == versions


def test_a_failure_of_one_key_says_nothing_of_another() -> None:
    other = replace(COPIED, key="other", finished_at=FAILED_LATER.finished_at)
    assert chosen([FAILED, other]) == [FAILED, other]


def test_retries_count_once_whatever_counts_otherwise() -> None:
    copied, moved = replace(COPIED, retries={"ThrottledError": 2}), replace(MOVED, retries={"ThrottledError": 2})
    failed = replace(FAILED, retries={"ThrottledError": 1, "ConnectionLostError": 4})
    with ReceiptChoice() as choice:
        for one in (failed, copied, moved):
            choice.offer(one.to_json())
        assert list(choice.chosen()) == [MOVED]
        assert choice.retries == {"ThrottledError": 3, "ConnectionLostError": 4}


def test_a_key_that_is_no_unicode_counts_too() -> None:
    odd = replace(COPIED, key="caf\udce9")
    assert chosen([odd]) == [odd]


def test_memory_does_not_grow_with_the_number_of_receipts() -> None:
    rows = (replace(COPIED, key=f"{number:06d}", source_etag="x" * 200).to_json() for number in range(5_000))
    with ReceiptChoice() as choice:
        tracemalloc.start()
        try:
            for row in rows:
                choice.offer(row)
            count = sum(1 for _ in choice.chosen())
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (count, peak_bytes < 500_000) == (5_000, True)
