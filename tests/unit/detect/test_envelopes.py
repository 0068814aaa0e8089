"""Envelopes: each is taken off, alone and one in another, as deep as agreed and not deeper."""

from __future__ import annotations

import json
import socket

import pytest

from skyferry.detect.envelopes import MAX_ENVELOPES, EnvelopeError, NotAnEvent, Part, RawRecord, UnreadablePart, unwrap
from skyferry.detect.s3_events import MAX_BODY_BYTES
from tests.unit.detect.samples import TEST_EVENT, eventbridge, in_lambda, in_sns, message, record


def parts(body: str) -> list[Part]:
    return list(unwrap(body, max_bytes=MAX_BODY_BYTES))


def refusal(body: str) -> str:
    with pytest.raises(EnvelopeError) as refused:
        parts(body)
    return str(refused.value)


ONE = record()
BRIDGE = json.loads(eventbridge())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (message(ONE), [RawRecord(ONE)]),
        (message(ONE, 5, None), [RawRecord(ONE), RawRecord(5), RawRecord(None)]),
        (message(), []),
        (json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": "b/k", "Records": [ONE]}), [RawRecord(ONE)]),
        (in_sns(message(ONE)), [RawRecord(ONE)]),
        (in_sns(in_sns(message(ONE))), [RawRecord(ONE)]),
        (eventbridge(), [RawRecord(BRIDGE, is_eventbridge=True)]),
        (in_sns(eventbridge()), [RawRecord(BRIDGE, is_eventbridge=True)]),
        (TEST_EVENT, [NotAnEvent("s3:TestEvent")]),
        (in_sns(TEST_EVENT), [NotAnEvent("s3:TestEvent")]),
        (in_lambda(message(ONE), in_sns(eventbridge())), [RawRecord(ONE), RawRecord(BRIDGE, is_eventbridge=True)]),
        (in_lambda(TEST_EVENT, message(ONE)), [NotAnEvent("s3:TestEvent"), RawRecord(ONE)]),
        (in_sns(in_lambda(message(ONE))), [RawRecord(ONE)]),
        (in_lambda("oops", message(ONE)), [UnreadablePart("is not JSON (at line 1 column 1)"), RawRecord(ONE)]),
        (in_lambda(in_lambda(message(ONE))), [UnreadablePart("is a Lambda envelope inside another one")]),
        (in_lambda(in_sns(in_lambda(message(ONE)))), [UnreadablePart("is a Lambda envelope inside another one")]),
    ],
)
def test_an_envelope_is_taken_off(body: str, expected: list[Part]) -> None:
    assert parts(body) == expected


def test_a_record_with_s3_is_an_event_whatever_else_it_has() -> None:
    assert parts(message({**ONE, "body": "{}"})) == [RawRecord({**ONE, "body": "{}"})]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{}", "is a JSON object, but not an S3 event"),
        ("[]", "is JSON, but not an object"),
        ('"text"', "is JSON, but not an object"),
        ("null", "is JSON, but not an object"),
        ("nothing", "is not JSON"),
        ('{"Records": {}}', "has Records that are not a list"),
        ('{"Records": null}', "has Records that are not a list"),
        ('{"Type": "Notification"}', "is a JSON object, but not an S3 event"),
        ('{"Type": "Notification", "Message": {"Records": []}}', "is a JSON object, but not an S3 event"),
        ('{"Type": ["Notification"], "Message": "{}"}', "is a JSON object, but not an S3 event"),
        (eventbridge(source="aws.ec2"), "is a JSON object, but not an S3 event"),
        (eventbridge(source=["aws.s3"]), "is a JSON object, but not an S3 event"),
        ('{"source": "aws.s3"}', "is a JSON object, but not an S3 event"),
        ('{"Event": "s3:SomethingElse"}', "is a JSON object, but not an S3 event"),
        (in_sns("hello"), "is not JSON"),
        (in_sns("{}"), "is a JSON object, but not an S3 event"),
        (in_sns('{"a": 1, "a": 2}'), "is JSON with a name given twice"),
        (in_sns("[" * 100_000), "is JSON nested too deeply"),
        (in_sns("{}", "SubscriptionConfirmation"), "is an SNS SubscriptionConfirmation, whose URLs are never fetched"),
        (in_sns("{}", "UnsubscribeConfirmation"), "is an SNS UnsubscribeConfirmation, whose URLs are never fetched"),
        (in_sns(in_sns("{}", "SubscriptionConfirmation")), "is an SNS SubscriptionConfirmation"),
    ],
)
def test_what_is_no_envelope_is_refused(body: str, reason: str) -> None:
    assert refusal(body).startswith(reason)


def test_nesting_ends_at_the_agreed_depth() -> None:
    body = message(ONE)
    for _ in range(MAX_ENVELOPES - 1):
        body = in_sns(body)
    assert parts(body) == [RawRecord(ONE)]
    assert refusal(in_sns(body)) == f"has more than {MAX_ENVELOPES} envelopes one inside the other"


def test_a_lambda_envelope_counts_as_one() -> None:
    body = message(ONE)
    for _ in range(MAX_ENVELOPES - 2):
        body = in_sns(body)
    assert parts(in_lambda(body)) == [RawRecord(ONE)]
    assert parts(in_lambda(in_sns(body))) == [
        UnreadablePart(f"has more than {MAX_ENVELOPES} envelopes one inside the other")
    ]


def test_no_url_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    confirmation = json.loads(in_sns("visit the SubscribeURL", "SubscriptionConfirmation"))
    confirmation |= {"SubscribeURL": "http://127.0.0.1:9/", "SigningCertURL": "http://127.0.0.1:9/"}
    assert "127.0.0.1" not in refusal(json.dumps(confirmation))
    assert parts(in_sns(message(ONE))) == [RawRecord(ONE)]


def test_parts_are_read_only_as_far_as_somebody_asks() -> None:
    found = unwrap(in_lambda(message(ONE), "oops"), max_bytes=MAX_BODY_BYTES)
    assert next(found) == RawRecord(ONE)
