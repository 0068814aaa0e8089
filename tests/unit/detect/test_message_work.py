"""The table of what becomes of a message, row by row, and which objects a route names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyferry.detect.consumption import ConsumeOptions, Consumption, ConsumptionTotals, options_from
from skyferry.detect.message_work import Fate, ObjectTrouble, decide_fate, read_message
from skyferry.detect.queue_route import QueueRoute
from skyferry.detect.sqs_queue import QueueMessage
from skyferry.errors import PermanentError, RequestError, SourceChangedError, ThrottledError
from skyferry.request import request_from_conf
from tests.queues.yard import event

CONF = {"id": "orders", "source": "s3://bucket/in/", "destination": "file:///out", "data": "*.csv"}
ROUTE = QueueRoute(request=request_from_conf(CONF))
MINE = {"key": "in/a.csv"}
STRANGE = {"key": "out/a.csv"}
RETRYABLE = ObjectTrouble(error=ThrottledError("slow down"), is_final=False)
FINAL = ObjectTrouble(error=PermanentError("no such name"), is_final=True)


def message(body: str, received_count: int = 1) -> QueueMessage:
    return QueueMessage(message_id="m", receipt_handle="r", body=body, received_count=received_count)


@pytest.mark.parametrize(
    ("records", "trouble", "received_count", "unmatched", "fate"),
    [
        ([], None, 1, "leave", Fate.DELETE),
        ([MINE], None, 1, "leave", Fate.DELETE),
        ([{**MINE, "name": "ObjectRemoved:Delete"}], None, 1, "leave", Fate.DELETE),
        ([MINE], RETRYABLE, 1, "leave", Fate.RETURN),
        ([MINE], RETRYABLE, 3, "leave", Fate.DEAD_LETTER),
        ([MINE], FINAL, 1, "leave", Fate.DEAD_LETTER),
        ([MINE, {}], None, 1, "leave", Fate.DEAD_LETTER),
        ([MINE, {}], RETRYABLE, 1, "leave", Fate.RETURN),
        ([STRANGE], None, 1, "leave", Fate.LEAVE),
        ([STRANGE], None, 9, "leave", Fate.LEAVE),
        ([MINE, STRANGE], None, 1, "leave", Fate.LEAVE),
        ([STRANGE], None, 1, "dead_letter", Fate.DEAD_LETTER),
        ([MINE, STRANGE], RETRYABLE, 1, "dead_letter", Fate.RETURN),
    ],
)
def test_every_row_of_the_table(
    records: list[dict[str, Any]], trouble: ObjectTrouble | None, received_count: int, unmatched: Any, fate: Fate
) -> None:
    work = read_message(message(event("bucket", *records), received_count), [ROUTE])
    troubles = {("orders", "in/a.csv"): trouble} if trouble else {}
    decided, reason = decide_fate(work, troubles, unmatched=unmatched, max_receives=3)
    assert decided is fate
    assert bool(reason) == (fate in (Fate.DEAD_LETTER, Fate.RETURN))


@pytest.mark.parametrize(("moved", "count"), [("**", "ignored"), ("*.txt", "matched")])
def test_what_one_route_moves_away_is_not_removed_for_another(moved: str, count: str) -> None:
    mirror = QueueRoute(request=request_from_conf(CONF), mirror_deletes=True)
    mover = QueueRoute(request=request_from_conf({**CONF, "id": "mover", "data": moved, "copy": False}))
    work = read_message(message(event("bucket", {**MINE, "name": "ObjectRemoved:Delete"})), [mirror, mover])
    assert work.counts == {count: 1}
    assert [one.route for one in work.records] == (["orders"] if count == "matched" else [])


def test_poison_is_set_aside_with_a_reason_that_quotes_nothing() -> None:
    work = read_message(message('{"secret": "value"}'), [ROUTE])
    assert work.is_poison
    fate, reason = decide_fate(work, {}, unmatched="leave", max_receives=3)
    assert (fate, reason) == (Fate.DEAD_LETTER, "the message is a JSON object, but not an S3 event")


def test_a_test_event_is_deleted() -> None:
    work = read_message(message(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})), [ROUTE])
    assert decide_fate(work, {}, unmatched="dead_letter", max_receives=3) == (Fate.DELETE, "")


@pytest.mark.parametrize(
    ("bucket", "key", "is_named"),
    [
        ("bucket", "in/a.csv", True),
        ("bucket", "in/a.txt", False),
        ("bucket", "in/deep/a.csv", False),
        ("bucket", "in", False),
        ("bucket", "int/a.csv", False),
        ("bucket", "a.csv", False),
        ("Bucket", "in/a.csv", False),
        ("bucket-2", "in/a.csv", False),
    ],
)
def test_a_route_names_what_is_below_its_source_and_selected(bucket: str, key: str, is_named: bool) -> None:
    work = read_message(message(event("bucket", {"bucket": bucket, "key": key})), [ROUTE])
    assert (len(work.records), work.counts.get("unmatched", 0)) == ((1, 0) if is_named else (0, 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_messages": 0},
        {"visibility_seconds": 43_201},
        {"wait_seconds": 0},
        {"back_off_seconds": -1},
        {"unmatched": "delete"},
        {"budget": 3},
    ],
)
def test_options_that_cannot_be_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        options_from(wrong)


def test_options_have_defaults() -> None:
    assert options_from({}) == ConsumeOptions()


def failed_with(*errors: Any) -> Consumption:
    totals = ConsumptionTotals()
    for error in errors:
        totals.add_failure(error)
    return totals.result("empty")


def test_the_most_retryable_error_is_raised() -> None:
    with pytest.raises(ThrottledError, match="2 of 0 objects were not copied: no; slow"):
        failed_with(PermanentError("no"), ThrottledError("slow")).raise_if_failed()
    with pytest.raises(PermanentError):
        failed_with(SourceChangedError("changed")).raise_if_failed()
    failed_with().raise_if_failed()


def test_a_retryable_failure_is_kept_among_very_many() -> None:
    result = failed_with(*(PermanentError(str(number)) for number in range(100)), ThrottledError("slow"))
    assert (len(result.failures), result.failure_count) == (20, 101)
    with pytest.raises(ThrottledError):
        result.raise_if_failed()
