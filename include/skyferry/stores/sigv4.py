"""AWS Signature Version 4 in the form S3 takes: the key's path encoded once, every header signed that is sent.

Own code, because botocore's signer costs six times as much (0.055 ms; it needs a request object of its own). Tests
compare it with botocore's over hostile keys, and with the examples AWS publishes.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
"""What stands for the body of a request without one."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""What stands for a body that TLS and a checksum protect."""


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """Keys to sign with; `token` is the session's, empty for keys that do not expire."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


def signed_headers(
    keys: AwsKeys,
    method: str,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload: str,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers with those that sign the request.

    Args:
        path: As it stands in the request, encoded once.
        query: Likewise, its parameters in the order of their encoded names.
        headers: Everything that is sent and must not be changed on the way; `Host` among it.
        payload: SHA-256 of the body in hex, or `UNSIGNED_PAYLOAD`.
        now: In UTC; stores refuse requests signed more than 15 minutes off.
    """
    time = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "X-Amz-Content-SHA256": payload, "X-Amz-Date": time}
    if keys.token:
        sent["X-Amz-Security-Token"] = keys.token
    lines = sorted((name.lower(), " ".join(value.split())) for name, value in sent.items())
    names = ";".join(name for name, _ in lines)
    canonical_headers = "".join(f"{name}:{value}\n" for name, value in lines)
    canonical = f"{method}\n{path}\n{query}\n{canonical_headers}\n{names}\n{payload}"
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(keys.secret_key, time[:8], region, service)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """Return the key of one day; a transfer needs one or two of them."""
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
