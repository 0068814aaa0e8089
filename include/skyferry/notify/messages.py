"""What a message about an arrived object says, in two shapes.

`s3_event` is the notification that S3 itself sends (version 2.1), so that whatever reads S3's events reads it too. It
differs in what S3 alone knows: `userIdentity`, `requestParameters` and `responseElements` are missing, and the
sequencer is made from the time at which the copy was finished. It has another length than S3's own, so nobody takes
one for the other; later copies of a key have the greater one.

`raw` is one flat object with the names of `Arrival`, for consumers of one's own and for stores other than S3.

Both are ASCII, whatever the key holds. Source of the first shape:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote_plus

from skyferry.objects import json_line

Shape = Literal["s3_event", "raw"]

CONFIGURATION_ID = "skyferry"
"""The `configurationId` of our notifications, by which a consumer can tell them from S3's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One object that is at its destination, proven.

    Attributes:
        store: `s3`, `az`, `gs` or `file`.
        bucket: Bucket, container, or the absolute path of the folder.
        url: Full URL of the object.
        etag: The destination's version token.
        time: When the copy was finished, ISO 8601 with time zone.
    """

    store: str
    bucket: str
    key: str
    url: str
    size_bytes: int
    etag: str
    version_id: str | None
    time: str


def message_body(arrival: Arrival, shape: Shape, *, region: str) -> str:
    """Return the text of a message.

    Args:
        region: The queue's region, which `s3_event` states for the bucket: S3 notifies queues of its own region only.
    """
    return json_line(asdict(arrival) if shape == "raw" else {"Records": [_s3_record(arrival, region)]})


def _s3_record(arrival: Arrival, region: str) -> dict[str, Any]:
    finished_at = datetime.fromisoformat(arrival.time).astimezone(UTC)
    # An etag of S3 with a hyphen belongs to an object that was uploaded in parts.
    action = "CompleteMultipartUpload" if "-" in arrival.etag else "Put"
    version = {"versionId": arrival.version_id} if arrival.version_id else {}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": finished_at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{finished_at.microsecond // 1000:03d}Z",
        "eventName": f"ObjectCreated:{action}",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": CONFIGURATION_ID,
            "bucket": {"name": arrival.bucket, "arn": f"arn:aws:s3:::{arrival.bucket}"},
            "object": {
                # As S3 does it: a space becomes +, and everything but letters, digits and -._~/ is percent-encoded.
                "key": quote_plus(arrival.key, safe="/"),
                "size": arrival.size_bytes,
                "eTag": arrival.etag,
                **version,
                "sequencer": f"{int(finished_at.timestamp() * 1_000_000):024X}",
            },
        },
    }
