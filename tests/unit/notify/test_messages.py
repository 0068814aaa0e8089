"""Messages about arrivals: our own parser of S3 events reads the one shape, and the other is what is documented."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.detect.event_order import Order, event_order, sequencer_order
from skyferry.detect.s3_events import parse_message
from skyferry.notify.messages import Arrival, message_body

ARRIVAL = Arrival(
    store="s3",
    bucket="shop",
    key="in/a b.csv",
    url="s3://shop/in/a b.csv",
    size_bytes=12,
    etag="0123456789abcdef0123456789abcdef",
    version_id=None,
    time="2026-05-04T05:02:01.234+02:00",
)


def test_an_event_in_full() -> None:
    assert json.loads(message_body(ARRIVAL, "s3_event", region="eu-central-1")) == {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "eu-central-1",
                "eventTime": "2026-05-04T03:02:01.234Z",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "skyferry",
                    "bucket": {"name": "shop", "arn": "arn:aws:s3:::shop"},
                    "object": {
                        "key": "in/a+b.csv",
                        "size": 12,
                        "eTag": "0123456789abcdef0123456789abcdef",
                        "sequencer": f"{1777863721234000:024X}",
                    },
                },
            }
        ]
    }


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), size_bytes=st.integers(0, 2**50)
)
def test_our_parser_gives_back_what_was_said(key: str, size_bytes: int) -> None:
    arrival = replace(ARRIVAL, key=key, size_bytes=size_bytes, version_id="v1")
    body = message_body(arrival, "s3_event", region="us-east-1")
    assert body.isascii()
    parsed = parse_message(body)
    (record,) = parsed.records
    assert (parsed.verdict, parsed.bad_records, record.kind) == ("records", (), "created")
    assert (record.bucket, record.key, record.size_bytes) == ("shop", key, size_bytes)
    assert (record.etag, record.version_id) == (arrival.etag, "v1")
    assert record.event_time == datetime(2026, 5, 4, 3, 2, 1, 234000, tzinfo=UTC)


def test_an_object_in_parts_is_named_as_s3_does() -> None:
    body = message_body(replace(ARRIVAL, etag="0123-2"), "s3_event", region="us-east-1")
    assert json.loads(body)["Records"][0]["eventName"] == "ObjectCreated:CompleteMultipartUpload"


def test_later_copies_of_a_key_come_later() -> None:
    times = ("2026-05-04T03:02:01.234+00:00", "2026-05-04T03:02:01.235+00:00")
    bodies = [message_body(replace(ARRIVAL, time=time), "s3_event", region="us-east-1") for time in times]
    first, second = (parse_message(body).records[0] for body in bodies)
    assert event_order(first, second) is Order.OLDER
    assert sequencer_order(first.sequencer, "0055AED6DCD90281E5") is Order.UNDECIDED, "S3's own are never compared"


@pytest.mark.parametrize("store", ["az", "gs", "file"])
def test_a_raw_message_holds_what_an_arrival_holds(store: str) -> None:
    arrival = replace(ARRIVAL, store=store, key="\udcff", url="file:///x/\udcff")
    body = message_body(arrival, "raw", region="")
    assert body.isascii()
    assert json.loads(body) == {name: getattr(arrival, name) for name in Arrival.__slots__}
