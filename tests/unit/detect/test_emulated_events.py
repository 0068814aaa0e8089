"""Events as moto really sends them: S3 to SQS, through SNS (wrapped and raw), and through EventBridge."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from skyferry.detect.object_records import ObjectRecord
from skyferry.detect.s3_events import ParsedMessage, parse_message
from stack.running import Endpoint

KEY = "in box/a+b %41 ü{{ x }}.csv"
BODY = b"order,amount\n"


@pytest.fixture(scope="module")
def aws(moto: Endpoint) -> dict[str, Any]:
    return {
        name: boto3.client(
            name,
            endpoint_url=moto.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        for name in ("s3", "sqs", "sns", "events")
    }


def make_queue(aws: dict[str, Any], name: str) -> tuple[str, str]:
    url = aws["sqs"].create_queue(QueueName=name)["QueueUrl"]
    attributes = aws["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return url, attributes["QueueArn"]


def make_topic(aws: dict[str, Any], name: str, queue_arn: str, *, is_raw: bool) -> str:
    topic = str(aws["sns"].create_topic(Name=name)["TopicArn"])
    attributes = {"RawMessageDelivery": "true"} if is_raw else {}
    aws["sns"].subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes)
    return topic


def notify(aws: dict[str, Any], way: str, queue_arn: str) -> dict[str, Any]:
    """Return the bucket's configuration that sends its events this way to the queue."""
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    if way == "queue":
        return {"QueueConfigurations": [{"QueueArn": queue_arn, "Events": events}]}
    if way == "eventbridge":
        pattern = json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [f"emulated-{way}"]}}})
        aws["events"].put_rule(Name="emulated", EventPattern=pattern)
        aws["events"].put_targets(Rule="emulated", Targets=[{"Id": "1", "Arn": queue_arn}])
        return {"EventBridgeConfiguration": {}}
    topic = make_topic(aws, f"emulated-{way}", queue_arn, is_raw=way == "sns-raw")
    return {"TopicConfigurations": [{"TopicArn": topic, "Events": events}]}


def received(aws: dict[str, Any], url: str, is_wanted: Callable[[ParsedMessage], bool]) -> ParsedMessage:
    """Return the first message that is wanted; others are thrown away (moto tells of tags nobody has set)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for one in aws["sqs"].receive_message(QueueUrl=url, MaxNumberOfMessages=1).get("Messages", []):
            aws["sqs"].delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
            found = parse_message(one["Body"])
            assert found.verdict != "poison", found.reason
            if is_wanted(found):
                return found
    raise AssertionError("the message did not arrive")


def record_of_kind(aws: dict[str, Any], url: str, kind: str) -> ObjectRecord:
    found = received(aws, url, lambda one: any(record.kind != "other" for record in one.records))
    (one,) = found.records
    assert (one.kind, found.bad_records) == (kind, ())
    return one


@pytest.mark.parametrize("way", ["queue", "sns", "sns-raw", "eventbridge"])
def test_a_put_and_a_removal_arrive_as_they_happened(aws: dict[str, Any], way: str) -> None:
    bucket = f"emulated-{way}"
    url, arn = make_queue(aws, bucket)
    aws["s3"].create_bucket(Bucket=bucket)
    aws["s3"].put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=notify(aws, way, arn), SkipDestinationValidation=True
    )
    if way != "eventbridge":
        assert received(aws, url, lambda one: one.verdict == "ignore").reason == "s3:TestEvent"
    etag = aws["s3"].put_object(Bucket=bucket, Key=KEY, Body=BODY)["ETag"].strip('"')
    created = record_of_kind(aws, url, "created")
    assert (created.bucket, created.key) == (bucket, KEY)
    assert (created.size_bytes, created.etag) == (len(BODY), etag)
    assert created.producer == ("eventbridge" if way == "eventbridge" else "aws")
    assert created.event_time is not None
    aws["s3"].delete_object(Bucket=bucket, Key=KEY)
    removed = record_of_kind(aws, url, "removed")
    assert (removed.bucket, removed.key) == (bucket, KEY)


def test_the_key_is_one_that_every_wrong_decoding_would_change() -> None:
    assert len({KEY, KEY.replace("+", " "), KEY.replace("%41", "A"), quote(KEY)}) == 4
