"""The page on S3 events says what the parser does: its examples and each row of its tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from skyferry.detect.object_records import read_eventbridge_event, read_notification
from skyferry.detect.s3_events import ParsedMessage, parse_message
from tests.docs.pages import Block, blocks, page

PAGE = page("docs/reference/s3-events.md")
EXAMPLES = [block for block in blocks("json") if block.kind.startswith("s3-event")]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = PAGE.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def event(name: str, key: str = "k", source: str = "aws:s3") -> dict[str, object]:
    return {
        "eventName": name,
        "eventSource": source,
        "detail-type": name,
        "s3": {"bucket": {"name": "abc"}, "object": {"key": key}},
        "detail": {"bucket": {"name": "abc"}, "object": {"key": key}},
    }


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_gets_the_verdict_it_is_marked_with(block: Block) -> None:
    assert parse_message(block.text).verdict == block.kind.split()[1]


def test_every_verdict_has_an_example() -> None:
    assert {block.kind.split()[1] for block in EXAMPLES} == {"records", "ignore", "poison"}


def test_the_quoted_reason_is_that_of_the_example() -> None:
    quoted = [block.text.strip() for block in PAGE.blocks if block.kind == "message"]
    reasons = [parse_message(block.text).reason for block in EXAMPLES if block.kind.endswith("poison")]
    assert quoted == reasons


def named_events() -> Iterator[tuple[str, str]]:
    for events, kind in rows("Kinds"):
        for name in re.findall(r"`([^`]+)`", events):
            yield (f"{name}Anything" if name.endswith(":") else name), kind


@pytest.mark.parametrize(("name", "kind"), list(named_events()))
def test_an_event_is_of_the_kind_the_table_says(name: str, kind: str) -> None:
    if " " in name:
        assert read_eventbridge_event(event(name), 0).kind == kind
    else:
        assert read_notification(event(name), 0, keys="by_producer").kind == kind
        assert read_notification(event(f"s3:{name}"), 0, keys="by_producer").kind == kind


def test_keys_are_spelled_as_the_table_says() -> None:
    by_producer = {producer: re.findall(r"`([^`]+)`", key) for producer, _, key in rows("Keys")}
    assert len(by_producer) == 3
    written = "a+b%20c"
    for producer, (key,) in by_producer.items():
        if producer == "EventBridge":
            found = [read_eventbridge_event(event("Object Created", written), 0)]
        else:
            sources = ["ceph:s3"] if producer.startswith("Ceph") else ["aws:s3", "minio:s3", "other:s3"]
            found = [
                read_notification(event("ObjectCreated:Put", written, source), 0, keys="by_producer")
                for source in sources
            ]
        assert {one.key for one in found} == {key}


OUTCOMES: dict[str, list[str]] = {
    "events about objects": [json.dumps({"Records": [event("ObjectCreated:Put")]})],
    "the same with some records": [json.dumps({"Records": [event("ObjectCreated:Put"), {}]})],
    "`s3:TestEvent`; an empty": ['{"Event": "s3:TestEvent"}', '{"Records": []}'],
    "none of its records": [
        '{"Records": [{}]}',
        "{}",
        "hello",
        " " * 2**20 + "{}",
        json.dumps({"Records": [0] * 20_001}),
    ],
    "JSON with a byte order mark": ["\ufeff{}", '{"a": NaN}', r'{"a": "\ud800"}', '{"a": 1, "a": 2}', "[" * 300],
    "SNS `SubscriptionConfirmation`": ['{"Type": "SubscriptionConfirmation"}'],
}


def test_each_row_of_outcomes_has_the_verdict_it_names() -> None:
    table = rows("Outcomes")
    assert len(table) == len(OUTCOMES)
    for (message, verdict), (beginning, bodies) in zip(table, OUTCOMES.items(), strict=True):
        assert message.startswith(beginning)
        for body in bodies:
            found: ParsedMessage = parse_message(body)
            assert verdict.startswith(f"`{found.verdict}`"), body[:80]
            assert ("bad ones are named" in verdict) == (found.verdict == "records" and bool(found.bad_records))
