"""Signatures are those AWS publishes as examples."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from skyferry.stores.sigv4 import EMPTY_SHA256, AwsKeys, signed_headers

KEYS = AwsKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)
HOST = {"Host": "examplebucket.s3.amazonaws.com"}
PUT_HEADERS = HOST | {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
PUT_PAYLOAD = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()


# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        (
            *("GET", "/test.txt", "", HOST | {"Range": "bytes=0-9"}, EMPTY_SHA256),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            *("PUT", "/test%24file.text", "", PUT_HEADERS, PUT_PAYLOAD),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            *("GET", "/", "lifecycle=", HOST, EMPTY_SHA256),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            *("GET", "/", "max-keys=2&prefix=J", HOST, EMPTY_SHA256),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_published_examples(
    method: str, path: str, query: str, headers: dict[str, str], payload: str, signature: str
) -> None:
    signed = signed_headers(
        KEYS,
        method,
        path=path,
        query=query,
        headers=headers,
        payload=payload,
        region="us-east-1",
        service="s3",
        now=NOW,
    )
    assert signed["Authorization"].endswith(f"Signature={signature}")


def test_keys_are_not_shown() -> None:
    assert repr(AwsKeys("id", "secret", "token")) == "AwsKeys(access_key='id')"
