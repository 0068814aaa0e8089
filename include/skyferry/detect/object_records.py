"""Event records: what one S3 event says about one object, whoever sent it.

| producer | spelling | key |
|---|---|---|
| `aws`, SNS, Lambda | `eventName` `ObjectCreated:Put`, `eTag`, `versionId` | form-encoded |
| `minio` | `eventName` `s3:ObjectCreated:Put`, `eventVersion` 2.0 | form-encoded |
| `ceph` | `eventName` with `s3:` in old releases; its pages show `size` as a text | as it is |
| `eventbridge` | `detail-type` `Object Created`, `etag`, `version-id` (moto: `eTag`) | as it is |

An event must say what happened, in which bucket and to which key. Everything else is a hint that saves work: a hint
that is missing or unusable (MinIO's page shows a time with en dashes) is None and costs no event, because the object is
looked at again before it is copied. Fields nobody knows are ignored, and so are minor versions, as the vendor asks.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html,
https://docs.ceph.com/en/latest/radosgw/notifications/ (and src/rgw/rgw_pubsub.cc: the key is written unchanged),
https://github.com/minio/minio/blob/master/cmd/event-notification.go (`url.QueryEscape`)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar
from urllib.parse import unquote_plus

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from skyferry.validation_text import reason_error

RecordKind = Literal["created", "removed", "restored", "other"]
Producer = Literal["aws", "minio", "ceph", "eventbridge", "other"]
KeySpelling = Literal["by_producer", "encoded", "raw"]

_MAX_SIZE_BYTES = 2**63 - 1
# Today's rules and those of before March 2018, which Ceph's relaxed mode shares; templates that were never filled in
# (`{{{bucket}}}`) are neither. https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_EVENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:*._ -]{0,99}")
_EVENT_SOURCE = re.compile(r"[a-z]{1,20}:s3")
_VERSION = re.compile(r"(\d{1,3})\.\d{1,9}", re.ASCII)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DECIMAL = re.compile(r"\d{1,19}", re.ASCII)


class RecordError(ValueError):
    """The record is not usable; `str()` is the reason, short, and safe to log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRecord:
    """What one event says.

    Attributes:
        index: Place of the event in its message, from 0, however deep it was wrapped.
        kind: `created` (any way of writing), `removed` (by a request or a lifecycle rule, perhaps only one version or
            under a delete marker), `restored` (an archived object can be read now), `other` (nothing to copy).
        event_name: As the producer wrote it, without `s3:`; 100 harmless characters at most.
        bucket: A bucket name by its characters; whether anybody may read from it is for others to say.
        key: The object's key, decoded exactly once. Data from strangers: never a template, a path or a log line as it
            is. Empty only for `other` events, which may be about a bucket.
        etag: Without quotes.
        version_id: As sent; `null` is the name of a real version. None where the producer says "" or nothing.
        sequencer: As sent; see `skyferry.detect.event_order`.
        event_time: In UTC.
        is_delete_marker: The removal left a delete marker: the version before it is still there.
        producer: Who wrote the event, from `eventSource`.
    """

    index: int
    kind: RecordKind
    event_name: str
    bucket: str
    key: str
    size_bytes: int | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    event_time: datetime | None = None
    is_delete_marker: bool = False
    producer: Producer = "aws"


def _text_hint(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _etag_hint(value: object) -> str | None:
    return _text_hint(value.strip('"')) if isinstance(value, str) else None


def _size_hint(value: object) -> int | None:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    is_size = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_SIZE_BYTES
    return value if is_size else None  # type: ignore[return-value]  # narrowed by is_size


def _time_hint(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        # A time without a zone could be anybody's.
        return time.astimezone(UTC) if time is not None and time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _matching(pattern: re.Pattern[str], reason: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise reason_error(reason)
        return value

    return check


def _of_major(expected: str, name: str) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        found = _VERSION.fullmatch(value) if value is not None else None
        if value is not None and found is None:
            raise reason_error(f"{name} is not a version")
        if found is not None and found[1] != expected:
            raise reason_error(f"{name} has the major version {found[1]}; expected {expected}")
        return value

    return check


_TextHint = Annotated[str | None, BeforeValidator(_text_hint)]
_TimeHint = Annotated[datetime | None, BeforeValidator(_time_hint)]
_BucketName = Annotated[str, AfterValidator(_matching(_BUCKET_NAME, "the bucket's name cannot be one"))]
_EventName = Annotated[str, AfterValidator(_matching(_EVENT_NAME, "the event's name cannot be one"))]
_EventSource = Annotated[str, AfterValidator(_matching(_EVENT_SOURCE, "eventSource is not an S3"))]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)


_Model = TypeVar("_Model", bound=_Shape)


class _Bucket(_Shape):
    name: _BucketName


class _Object(_Shape):
    key: str = ""
    size: Annotated[int | None, BeforeValidator(_size_hint)] = None
    etag: Annotated[str | None, BeforeValidator(_etag_hint)] = Field(
        default=None, validation_alias=AliasChoices("eTag", "etag")
    )
    version_id: _TextHint = Field(default=None, validation_alias=AliasChoices("versionId", "version-id"))
    sequencer: _TextHint = None


class _S3(_Shape):
    bucket: _Bucket
    object: _Object = _Object()


class _Notification(_Shape):
    version: Annotated[str | None, AfterValidator(_of_major("2", "eventVersion"))] = Field(
        default=None, validation_alias="eventVersion"
    )
    source: _EventSource = Field(default="aws:s3", validation_alias="eventSource")
    name: _EventName = Field(validation_alias="eventName")
    time: _TimeHint = Field(default=None, validation_alias="eventTime")
    s3: _S3


class _Detail(_S3):
    # The `version` beside it is EventBridge's own and says nothing about the schema.
    version: Annotated[str | None, AfterValidator(_of_major("1", "event-version"))] = Field(
        default=None, validation_alias="event-version"
    )
    deletion_type: _TextHint = Field(default=None, validation_alias="deletion-type")


class _EventBridgeEvent(_Shape):
    name: _EventName = Field(validation_alias="detail-type")
    time: _TimeHint = None
    detail: _Detail


def read_notification(values: object, index: int, *, keys: KeySpelling) -> ObjectRecord:
    """Return what one element of `Records` says.

    Args:
        keys: How the key is spelled: `by_producer` (Ceph as it is, all others form-encoded), or always one of the two.

    Raises:
        RecordError: What happened, the bucket or the key is missing or cannot be; trying again will not help.
    """
    event = _checked(_Notification, values)
    producer = _producer(event.source)
    is_raw = keys == "raw" or (keys == "by_producer" and producer == "ceph")
    name = event.name.removeprefix("s3:")
    return _record(
        event.s3,
        index=index,
        kind=_kind(name),
        event_name=name,
        key=event.s3.object.key if is_raw else _decoded(event.s3.object.key),
        event_time=event.time,
        is_delete_marker=name.endswith(":DeleteMarkerCreated"),
        producer=producer,
    )


def read_eventbridge_event(values: object, index: int) -> ObjectRecord:
    """Return what an EventBridge event of S3 says; its key is never decoded, because it was never encoded.

    Raises:
        RecordError: See `read_notification`.
    """
    event = _checked(_EventBridgeEvent, values)
    return _record(
        event.detail,
        index=index,
        kind=_EVENTBRIDGE_KINDS.get(event.name, "other"),
        event_name=event.name,
        key=event.detail.object.key,
        event_time=event.time,
        is_delete_marker=event.detail.deletion_type == "Delete Marker Created",
        producer="eventbridge",
    )


_EVENTBRIDGE_KINDS: dict[str, RecordKind] = {
    "Object Created": "created",
    "Object Deleted": "removed",
    "Object Restore Completed": "restored",
}
# Lifecycle rules remove objects too, under names of their own; `ObjectSynced` is Ceph's for an object that arrived from
# another zone.
_KINDS: tuple[tuple[str, RecordKind], ...] = (
    ("ObjectCreated:", "created"),
    ("ObjectSynced:Create", "created"),
    ("ObjectRemoved:", "removed"),
    ("LifecycleExpiration:", "removed"),
    ("ObjectLifecycle:Expiration:Current", "removed"),
    ("ObjectRestore:Completed", "restored"),
)


def _kind(event_name: str) -> RecordKind:
    return next((kind for beginning, kind in _KINDS if event_name.startswith(beginning)), "other")


def _producer(event_source: str) -> Producer:
    match event_source.removesuffix(":s3"):
        case "aws":
            return "aws"
        case "minio":
            return "minio"
        case "ceph":
            return "ceph"
    return "other"


def _record(
    s3: _S3,
    *,
    index: int,
    kind: RecordKind,
    event_name: str,
    key: str,
    event_time: datetime | None,
    is_delete_marker: bool,
    producer: Producer,
) -> ObjectRecord:
    if not key and kind != "other":
        raise RecordError("the key is missing")
    return ObjectRecord(
        index=index,
        kind=kind,
        event_name=event_name,
        bucket=s3.bucket.name,
        key=key,
        size_bytes=s3.object.size,
        etag=s3.object.etag,
        version_id=s3.object.version_id,
        sequencer=s3.object.sequencer,
        event_time=event_time,
        is_delete_marker=is_delete_marker,
        producer=producer,
    )


def _decoded(key: str) -> str:
    """Return the key behind its form encoding; what is no form encoding is refused, because it could be two keys."""
    if _BROKEN_ESCAPE.search(key):
        raise RecordError("the key is not form-encoded; if its producer never encodes, read it with raw keys")
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise RecordError("the key is not UTF-8 behind its form encoding") from None


def _checked(model: type[_Model], values: object) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RecordError(_reason(error.errors(include_url=False, include_input=False)[0])) from None


def _reason(detail: ErrorDetails) -> str:
    """Return what is wrong. Names in it are ours: a model that ignores other fields never quotes them."""
    if "reason" in detail.get("ctx", {}):
        return str(detail["ctx"]["reason"])
    name = ".".join(str(part) for part in detail["loc"]) or "the record"
    return {
        "missing": f"{name} is missing",
        "string_type": f"{name} is not a text",
        "model_type": f"{name} is not a JSON object",
    }.get(detail["type"], f"{name} is not what it should be")
