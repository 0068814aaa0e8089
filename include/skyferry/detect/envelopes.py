"""The envelopes in which S3 events travel, taken off until the events themselves are reached.

    {"Records": [{... "s3": {...}}]}              S3 itself, SNS with raw delivery, MinIO, Ceph
    {"Records": [{... "body": "<envelope>"}]}     what Lambda gets from SQS, forwarded by somebody; one level
    {"Type": "Notification", "Message": "<envelope>"}                   SNS
    {"source": "aws.s3", "detail-type": "...", "detail": {...}}         EventBridge
    {"Event": "s3:TestEvent", ...}                sent when a notification is set up

Nothing here looks into an event, and no URL that an envelope carries (SNS: SubscribeURL, UnsubscribeURL,
SigningCertURL) is ever fetched.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html,
https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from skyferry.detect.untrusted_json import JsonRefusedError, read_json

MAX_ENVELOPES = 5
"""How many envelopes may be one inside the other. The longest real chain has four: Lambda, SNS, EventBridge, event."""

_SNS_HANDSHAKES = frozenset({"SubscriptionConfirmation", "UnsubscribeConfirmation"})


class EnvelopeError(ValueError):
    """The message holds no S3 event; `str()` is the reason, short, and safe to log."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One event as its producer wrote it."""

    values: object
    is_eventbridge: bool = False


@dataclass(frozen=True, slots=True)
class NotAnEvent:
    """Something that belongs into the queue and asks for nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnreadablePart:
    """One part of a message whose other parts may be read."""

    reason: str


Part = RawRecord | NotAnEvent | UnreadablePart


def unwrap(body: str | bytes, *, max_bytes: int) -> Iterator[Part]:
    """Yield the parts of a message in their order; at least one, except for an empty `Records`.

    Lazy: whoever stops asking stops the work.

    Raises:
        EnvelopeError: The message as a whole cannot be read, or is not about objects in S3.
    """
    return _unwrap(body, max_bytes=max_bytes, envelopes_left=MAX_ENVELOPES, may_be_lambda=True)


def _unwrap(text: str | bytes, *, max_bytes: int, envelopes_left: int, may_be_lambda: bool) -> Iterator[Part]:
    if envelopes_left == 0:
        raise EnvelopeError(f"has more than {MAX_ENVELOPES} envelopes one inside the other")
    envelope = _envelope(text, max_bytes)
    if "Records" in envelope:
        records = envelope["Records"]
        if not isinstance(records, list):
            raise EnvelopeError("has Records that are not a list")
        for record in records:
            if not _is_from_lambda(record):
                yield RawRecord(record)
            elif not may_be_lambda:
                yield UnreadablePart("is a Lambda envelope inside another one")
            else:
                yield from _unwrap_lambda_record(record["body"], max_bytes, envelopes_left - 1)
    elif _is_sns_notification(envelope):
        message = str(envelope["Message"])
        yield from _unwrap(message, max_bytes=max_bytes, envelopes_left=envelopes_left - 1, may_be_lambda=may_be_lambda)
    else:
        yield _single_event(envelope)


def _unwrap_lambda_record(body: str, max_bytes: int, envelopes_left: int) -> Iterator[Part]:
    """Yield the parts of one of several messages: if it cannot be read, the others still can."""
    try:
        yield from _unwrap(body, max_bytes=max_bytes, envelopes_left=envelopes_left, may_be_lambda=False)
    except EnvelopeError as error:
        yield UnreadablePart(str(error))


def _envelope(text: str | bytes, max_bytes: int) -> Mapping[str, object]:
    try:
        value = read_json(text, max_bytes=max_bytes)
    except JsonRefusedError as error:
        raise EnvelopeError(str(error)) from None
    if not isinstance(value, dict):
        raise EnvelopeError("is JSON, but not an object")
    return value


def _is_from_lambda(record: object) -> bool:
    return isinstance(record, dict) and "s3" not in record and isinstance(record.get("body"), str)


def _is_sns_notification(envelope: Mapping[str, object]) -> bool:
    kind = envelope.get("Type")
    if isinstance(kind, str) and kind in _SNS_HANDSHAKES:
        raise EnvelopeError(f"is an SNS {kind}, whose URLs are never fetched; confirm it yourself if it is yours")
    return kind == "Notification" and isinstance(envelope.get("Message"), str)


def _single_event(envelope: Mapping[str, object]) -> Part:
    if envelope.get("source") == "aws.s3" and "detail-type" in envelope:
        return RawRecord(envelope, is_eventbridge=True)
    if envelope.get("Event") == "s3:TestEvent":
        return NotAnEvent("s3:TestEvent")
    raise EnvelopeError("is a JSON object, but not an S3 event")
