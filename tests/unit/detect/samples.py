"""Events as their producers write them, made by hand: every envelope, every dialect, every way to encode a key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.*")


@dataclass(frozen=True)
class Happening:
    """What really happened in a bucket."""

    kind: str = "created"
    bucket: str = "shop-exports"
    key: str = "orders/2026 week 1.csv"
    size: int | None = 1024
    etag: str | None = "b1946ac92492d2347c6235b4d2611184"
    version_id: str | None = "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
    sequencer: str | None = "0C0F6F405D6ED209E1"
    time: datetime | None = datetime(2026, 11, 21, 3, 56, 1, 250000, tzinfo=UTC)
    is_delete_marker: bool = False


def form_encoded(key: str, *, safe: str = "/", has_upper_case: bool = True) -> str:
    """Encode as S3 does (a slash stays), as MinIO does (`safe=""`), or with lower-case escapes."""
    escape = "%{:02X}" if has_upper_case else "%{:02x}"
    kept = UNRESERVED | set(safe.encode())
    return "".join(
        "+" if byte == 0x20 else chr(byte) if byte in kept else escape.format(byte) for byte in key.encode("utf-8")
    )


def record(happening: Happening = Happening(), *, key: str | None = None, **changes: Any) -> dict[str, Any]:
    """One element of `Records` as S3 writes it.

    Args:
        key: The key as it stands in the event, if not form-encoded as usual.
        changes: Other values of the record's own fields; None leaves a field out.
    """
    names = {"created": "ObjectCreated:Put", "removed": "ObjectRemoved:Delete", "restored": "ObjectRestore:Completed"}
    name = "ObjectRemoved:DeleteMarkerCreated" if happening.is_delete_marker else names[happening.kind]
    values = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": _written(happening.time),
        "eventName": name,
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "skyferry",
            "bucket": {"name": happening.bucket, "arn": f"arn:aws:s3:::{happening.bucket}"},
            "object": _without_none(
                {
                    "key": form_encoded(happening.key) if key is None else key,
                    "size": happening.size,
                    "eTag": happening.etag,
                    "versionId": happening.version_id,
                    "sequencer": happening.sequencer,
                }
            ),
        },
    }
    return _without_none(values | changes)


def record_of(**object_fields: Any) -> dict[str, Any]:
    """A record whose `s3.object` has these fields in place of the usual ones."""
    values = record()
    values["s3"]["object"] |= object_fields
    return values


def message(*records: object) -> str:
    return json.dumps({"Records": records})


def eventbridge(happening: Happening = Happening(), *, detail: dict[str, Any] | None = None, **changes: Any) -> str:
    """An EventBridge event; its key is written as it is."""
    kinds = {"created": "Object Created", "removed": "Object Deleted", "restored": "Object Restore Completed"}
    values = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kinds[happening.kind],
        "source": "aws.s3",
        "account": "111122223333",
        "time": _written(happening.time),
        "region": "ca-central-1",
        "resources": [f"arn:aws:s3:::{happening.bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": happening.bucket},
            "object": _without_none(
                {
                    "key": happening.key,
                    "size": happening.size,
                    "etag": happening.etag,
                    "version-id": happening.version_id,
                    "sequencer": happening.sequencer,
                }
            ),
            "requester": "123456789012",
            **({"deletion-type": "Delete Marker Created"} if happening.is_delete_marker else {}),
            **(detail or {}),
        },
    }
    return json.dumps(_without_none(values | changes))


def in_sns(text: str, kind: str = "Notification") -> str:
    return json.dumps(
        {
            "Type": kind,
            "MessageId": "63a3f6b6-d533-4a47-aef9-fcf5cf758c76",
            "TopicArn": "arn:aws:sns:us-west-2:123456789012:uploads",
            "Subject": "Amazon S3 Notification",
            "Message": text,
            "Timestamp": "2026-11-21T03:56:01.250Z",
            "SignatureVersion": "1",
            "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
        }
    )


def in_lambda(*bodies: str) -> str:
    return json.dumps(
        {"Records": [{"messageId": str(n), "eventSource": "aws:sqs", "body": body} for n, body in enumerate(bodies)]}
    )


TEST_EVENT = json.dumps(
    {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-11-21T03:56:01.250Z",
        "Bucket": "shop-exports",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3e",
    }
)


def _written(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
