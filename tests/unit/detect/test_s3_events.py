"""Messages: the verdict on each, one bad record among good ones, and that nothing a stranger sends can do harm."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skyferry.detect.s3_events import MAX_BODY_BYTES, MAX_RECORDS, BadRecord, ParsedMessage, parse_message
from tests.unit.detect.samples import (
    TEST_EVENT,
    Happening,
    eventbridge,
    form_encoded,
    in_lambda,
    in_sns,
    message,
    record,
)


def test_a_message_of_several_records_keeps_their_order() -> None:
    found = parse_message(message(*(record(Happening(key=f"k{n}")) for n in range(5))))
    assert (found.verdict, found.bad_records, found.reason) == ("records", (), "")
    assert [(one.index, one.key) for one in found.records] == [(n, f"k{n}") for n in range(5)]


def test_good_records_are_used_and_the_bad_one_is_named() -> None:
    found = parse_message(message(record(Happening(key="a")), {"s3": {}}, record(key="%"), record(Happening(key="d"))))
    assert found.verdict == "records"
    assert [(one.index, one.key) for one in found.records] == [(0, "a"), (3, "d")]
    assert [one.index for one in found.bad_records] == [1, 2]
    assert found.bad_records[0] == BadRecord(index=1, reason="eventName is missing")
    assert found.reason == ""


def test_a_message_of_bad_records_only_is_poison() -> None:
    found = parse_message(message(5, {}))
    assert found == ParsedMessage(
        verdict="poison",
        bad_records=(
            BadRecord(index=0, reason="the record is not a JSON object"),
            BadRecord(index=1, reason="eventName is missing"),
        ),
        reason="2 of 2 records cannot be used; record 0: the record is not a JSON object",
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (TEST_EVENT, "s3:TestEvent"),
        (in_sns(TEST_EVENT), "s3:TestEvent"),
        (in_lambda(TEST_EVENT, TEST_EVENT), "s3:TestEvent"),
        (message(), "no records"),
        (in_sns(message()), "no records"),
        (in_lambda(message()), "no records"),
    ],
)
def test_what_asks_for_nothing_is_ignored(body: str, reason: str) -> None:
    assert parse_message(body) == ParsedMessage(verdict="ignore", reason=reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("Message Body", "the message is not JSON (at line 1 column 1)"),
        (b"\xff", "the message is not JSON (at line 1 column 1)"),
        ("{}", "the message is a JSON object, but not an S3 event"),
        ("[" * 100_000, "the message is JSON nested too deeply"),
        ("\ufeff" + message(record()), "the message begins with a byte order mark"),
        ('{"a": NaN}', "the message is not JSON (at line 1 column 7)"),
        (message(record())[:-1] + ', "Records": []}', "the message is JSON with a name given twice in one object"),
        (message(record()).replace("orders", r"\ud800"), None),
        (message(record(eventVersion="3.0")), None),
        (in_lambda("oops"), "1 of 1 records cannot be used; record 0: is not JSON (at line 1 column 1)"),
        (in_lambda(TEST_EVENT, "oops"), "1 of 2 records cannot be used; record 1: is not JSON (at line 1 column 1)"),
    ],
)
def test_what_cannot_be_read_is_poison(body: str | bytes, reason: str | None) -> None:
    found = parse_message(body)
    assert (found.verdict, found.records) == ("poison", ())
    assert reason is None or found.reason == reason


def test_an_unknown_event_is_a_record_that_asks_for_nothing() -> None:
    found = parse_message(message(record(eventName="ObjectFrozen:Solid")))
    assert found.verdict == "records"
    assert [one.kind for one in found.records] == ["other"]


def test_the_way_keys_are_spelled_can_be_told() -> None:
    body = message(record(key="a+b"))
    assert [parse_message(body, keys=keys).records[0].key for keys in ("by_producer", "encoded", "raw")] == [
        "a b",
        "a b",
        "a+b",
    ]
    bridge = eventbridge(Happening(key="a+b"))
    assert {parse_message(bridge, keys=keys).records[0].key for keys in ("by_producer", "encoded", "raw")} == {"a+b"}


# Limits.


def test_a_message_of_the_largest_size_is_read_and_a_larger_one_is_poison() -> None:
    body = message(record())
    whole = body + " " * (MAX_BODY_BYTES - len(body))
    assert parse_message(whole).verdict == "records"
    assert parse_message(whole + " ") == ParsedMessage(
        verdict="poison", reason="the message is longer than 1,048,576 bytes"
    )
    assert parse_message(body, max_body_bytes=len(body)).verdict == "records"
    assert parse_message(body, max_body_bytes=len(body) - 1).verdict == "poison"


def test_as_many_records_of_objects_as_fit_are_read() -> None:
    shortest = {"eventName": "ObjectCreated:", "s3": {"bucket": {"name": "abc"}, "object": {"key": "k"}}}
    one = json.dumps(shortest, separators=(",", ":"))
    count = (MAX_BODY_BYTES - len('{"Records":[]}')) // (len(one) + 1)
    assert count < MAX_RECORDS
    found = parse_message('{"Records":[' + ",".join([one] * count) + "]}")
    assert len(found.records) == count


def test_more_records_than_that_are_poison() -> None:
    assert parse_message(message(*[0] * MAX_RECORDS)).reason.startswith("20,000 of 20,000 records cannot be used")
    assert parse_message(message(*[0] * (MAX_RECORDS + 1))).reason == "the message has more than 20,000 records"
    spread = in_lambda(*[message(*[0] * 1001)] * 20)
    assert parse_message(spread).reason == "the message has more than 20,000 records"


WORST = {
    "brackets": "[" * MAX_BODY_BYTES,
    "names": "{" + ",".join(f'"{n:x}":0' for n in range(110_000)) + "}",
    "junk": '{"Records":[' + ",".join("0" * 500_000) + "]}",
    "bad records": '{"Records":[' + ",".join(['{"eventName":"A","s3":{"bucket":{"name":"/"}}}'] * 19_000) + "]}",
    "lambda": '{"Records":[' + ",".join([r'{"body":"{\"Records\":[]}"}'] * 37_000) + "]}",
    "escapes": message(record(key="%41" * 340_000)),
    "event name": message(record(eventName="A" * 1_000_000)),
    "time": message(record(eventTime="1" * 1_000_000)),
    "size": message(record()).replace("1024", "9" * 1_000_000),
    "sns in sns": in_sns(in_sns(in_sns(message(record(key="a" * 100_000))))),
}


@pytest.mark.parametrize("body", WORST.values(), ids=WORST.keys())
def test_the_worst_message_takes_no_time(body: str) -> None:
    """Measured at 0.25 s and less; the bound leaves room for a busy machine and finds anything that grows faster."""
    assert len(body) <= MAX_BODY_BYTES
    begin = time.perf_counter()
    parse_message(body)
    assert time.perf_counter() - begin < 5


# Anything.

ANY_TEXT = st.characters()
FIELDS = st.sampled_from(
    ["Records", "Type", "Message", "source", "detail-type", "detail", "Event", "s3", "bucket", "name", "object", "key",
     "size", "eTag", "versionId", "sequencer", "eventName", "eventTime", "eventSource", "eventVersion", "body"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["Notification", "SubscriptionConfirmation", "aws.s3", "aws:s3", "s3:TestEvent", "Object Created", "abc", "2.1",
     "ObjectCreated:Put", "%", "%41", "{}", '{"Records": []}', "{{ x }}", "\x00", "2026-11-21T03:56:01Z"]
)  # fmt: skip
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANY_TEXT) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(ANY_TEXT, max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)


def check_is_harmless(found: ParsedMessage) -> None:
    assert (found.verdict == "records") == bool(found.records)
    assert (found.reason == "") == (found.verdict == "records")
    assert found.verdict != "ignore" or not found.bad_records
    for reason in (found.reason, *(one.reason for one in found.bad_records)):
        assert len(reason) < 200
        assert reason.isascii()
        assert reason.isprintable()
    places = [one.index for one in (*found.records, *found.bad_records)]
    assert len(places) == len(set(places))
    for one in found.records:
        assert one.key or one.kind == "other"
        assert one.event_name.isprintable()
        one.key.encode("utf-8")


@settings(deadline=2_000)
@given(st.binary(max_size=500) | st.text(ANY_TEXT, max_size=500))
def test_any_text_gets_a_verdict(body: str | bytes) -> None:
    check_is_harmless(parse_message(body))


@settings(deadline=2_000, max_examples=300)
@given(json_values, st.booleans(), st.sampled_from([str, in_sns, in_lambda]))
def test_any_json_gets_a_verdict(value: Any, is_ascii: bool, wrap: Any) -> None:
    check_is_harmless(parse_message(wrap(json.dumps(value, ensure_ascii=is_ascii))))


@settings(deadline=2_000, max_examples=300)
@given(st.data())
def test_any_damage_to_a_real_message_gets_a_verdict(data: st.DataObject) -> None:
    """One field of a real message, anywhere, holds anything or is gone."""
    values = data.draw(st.sampled_from([json.loads(message(record())), json.loads(eventbridge())]))
    spot: Any = values
    while True:
        step = data.draw(st.sampled_from(range(len(spot)) if isinstance(spot, list) else sorted(spot)))
        if not isinstance(spot[step], dict | list) or not spot[step] or data.draw(st.booleans()):
            break
        spot = spot[step]
    if data.draw(st.booleans()):
        spot[step] = data.draw(json_values)
    else:
        del spot[step]
    check_is_harmless(parse_message(json.dumps(values)))


@settings(deadline=2_000)
@given(st.data())
def test_any_byte_of_a_real_message_may_be_wrong(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from([message(record()), in_sns(message(record())), eventbridge()])).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    check_is_harmless(parse_message(bytes(body)))


def test_a_reason_quotes_nothing_of_the_message() -> None:
    secret = "hunter2"
    bodies = [
        secret,
        f'{{"{secret}": "{secret}"}}',
        f'{{"{secret}": 1, "{secret}": 2}}',
        message(secret, {secret: secret}, record(eventName=f"{secret}\n"), record(key=f"%{secret}")),
        message(record(Happening(bucket=f"{{{secret}}}"))),
        in_sns(secret),
        in_sns(secret, "SubscriptionConfirmation"),
        in_lambda(secret),
        eventbridge(source=secret),
        eventbridge(detail={"event-version": secret}),
    ]
    for body in bodies:
        found = parse_message(body)
        assert found.verdict == "poison"
        assert secret not in f"{found.reason}{found.bad_records}"


# Round trips: one happening, told in every envelope, is one record.

key_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.sampled_from(
    ["a+b", "a%2Bb", "100%", "%E9", "{{ x }}", "../up", "a\r\nb", "ü😀", "\\", '"', "%25252B"]
)
happenings = st.builds(
    Happening,
    kind=st.sampled_from(["created", "removed", "restored"]),
    bucket=st.from_regex(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", fullmatch=True),
    key=key_texts,
    size=st.none() | st.integers(0, 50 * 2**40),
    etag=st.none() | st.from_regex(r"[0-9a-f]{32}(-[0-9]{1,4})?", fullmatch=True),
    version_id=st.none() | st.from_regex(r"[A-Za-z0-9._]{32}", fullmatch=True) | st.just("null"),
    sequencer=st.none() | st.from_regex(r"[0-9A-F]{16,18}", fullmatch=True),
    time=st.none() | st.datetimes(datetime(2006, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


@settings(deadline=2_000)
@given(happenings, st.booleans())
def test_every_envelope_tells_the_same(happening: Happening, is_marker: bool) -> None:
    assume(not is_marker or happening.kind == "removed")
    happening = replace(happening, is_delete_marker=is_marker)
    direct = message(record(happening))
    minio = message(
        record(happening, key=form_encoded(happening.key, safe=""), eventSource="minio:s3", eventVersion="2.0")
    )
    ceph = message(record(happening, key=happening.key, eventSource="ceph:s3"))
    bridge = eventbridge(happening)
    bodies = [
        direct, direct.encode(), in_sns(direct), in_sns(in_sns(direct)), in_lambda(direct), in_lambda(in_sns(direct)),
        minio, in_sns(minio), ceph, bridge, in_sns(bridge), in_lambda(in_sns(bridge)),
    ]  # fmt: skip
    for body in bodies:
        found = parse_message(body)
        assert (found.verdict, found.bad_records) == ("records", ())
        (one,) = found.records
        told = Happening(
            kind=one.kind,
            bucket=one.bucket,
            key=one.key,
            size=one.size_bytes,
            etag=one.etag,
            version_id=one.version_id,
            sequencer=one.sequencer,
            time=one.event_time,
            is_delete_marker=one.is_delete_marker,
        )
        assert told == happening


@settings(deadline=2_000)
@given(st.lists(happenings, max_size=5))
def test_several_records_in_every_envelope_tell_the_same(happenings: list[Happening]) -> None:
    direct = message(*(record(one) for one in happenings))
    expected = parse_message(direct)
    assert [one.key for one in expected.records] == [one.key for one in happenings]
    assert parse_message(in_sns(direct)) == expected
    assert parse_message(in_lambda(*(message(record(one)) for one in happenings))) == expected
