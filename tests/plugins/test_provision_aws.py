"""Provisioning against moto: what is made, that a second run changes nothing, and that only our own is removed."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from operators.transfer_provision import ProvisionRouteOperator
from skyferry.provisioning.route_needs import mark_of
from stack.running import Endpoint
from tests.airflow_home import connection_variables

REGION = "eu-central-1"
ACCOUNT = "123456789012"
_NUMBERS = itertools.count()

ROUTE = """
id: {id}
source: {{url: "s3://{name}-shop/{prefix}", conn_id: aws_shop}}
destination: {{url: "s3://{name}-lake/raw/", conn_id: aws_shop}}
detect: {{kind: sqs, queue_url: "{endpoint}/{account}/{name}-orders", visibility_seconds: 90}}
schedule: event
{more}
"""


class TaskInstance:
    """As much of a task instance as the operator asks for."""

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@dataclass
class Site:
    """A route's surroundings on moto, with names nobody has used."""

    endpoint: str
    folder: Path
    name: str = field(default_factory=lambda: f"site-{os.getpid()}-{next(_NUMBERS)}")
    route: str = "orders"

    @property
    def queue_name(self) -> str:
        return f"{self.name}-orders"

    @property
    def queue_arn(self) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.queue_name}"

    @property
    def shop(self) -> str:
        return f"{self.name}-shop"

    @property
    def lake(self) -> str:
        return f"{self.name}-lake"

    @property
    def mark(self) -> str:
        return mark_of(self.route)

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **keys)

    def write(self, route: str = "orders", *, prefix: str = "orders/", more: str = "") -> None:
        text = ROUTE.format(id=route, name=self.name, prefix=prefix, endpoint=self.endpoint, account=ACCOUNT, more=more)
        (self.folder / "routes").mkdir(parents=True, exist_ok=True)
        (self.folder / "routes" / f"{route}.yaml").write_text(text)

    def settle(self, action: str = "provision", *, dry_run: bool = False, route: str = "") -> dict[str, Any]:
        self.ti = TaskInstance()
        params = {"id": route or self.route, "action": action, "dry_run": dry_run}
        return ProvisionRouteOperator(task_id="provision").execute({"params": params, "ti": self.ti})

    def doings(self, found: dict[str, Any]) -> dict[str, str]:
        return {step["thing"].replace(self.name, "NAME"): step["doing"] for step in found["steps"]}

    def notifications(self) -> dict[str, Any]:
        found = self.client("s3").get_bucket_notification_configuration(Bucket=self.shop)
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def attributes(self, name: str = "") -> dict[str, str]:
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=name or self.queue_name)["QueueUrl"]
        return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def drain(self) -> None:
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=self.queue_name)["QueueUrl"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for one in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])

    def everything(self) -> dict[str, Any]:
        """All that provisioning may touch, for comparing."""
        s3, sqs = self.client("s3"), self.client("sqs")
        buckets = [one["Name"] for one in s3.list_buckets()["Buckets"] if self.name in one["Name"]]
        queues = sqs.list_queues(QueueNamePrefix=self.name).get("QueueUrls", [])
        seen: dict[str, Any] = {"buckets": buckets, "queues": sorted(queues)}
        for bucket in buckets:
            seen[bucket] = [s3.get_bucket_notification_configuration(Bucket=bucket), rules(s3, bucket)]
            seen[bucket][0].pop("ResponseMetadata")
        for queue in queues:
            found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
            seen[queue] = {name: found.get(name) for name in ("Policy", "RedrivePolicy", "VisibilityTimeout")}
        return seen


def rules(s3: Any, bucket: str) -> list[Any]:
    try:
        return s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except s3.exceptions.ClientError:
        return []


@pytest.fixture
def site(moto: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    variables = connection_variables(moto=moto.url, azurite="http://127.0.0.1:1", gcs="http://127.0.0.1:1")
    shop = json.loads(variables["AIRFLOW_CONN_AWS_DEFAULT"])
    shop["extra"]["region_name"] = REGION
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(shop))
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("SKYFERRY_STATE_URL", f"file://{tmp_path}/state")
    site = Site(moto.url, tmp_path / "config")
    site.write()
    return site


ALL = {
    "bucket s3://NAME-shop/": "create",
    "bucket s3://NAME-lake/": "create",
    "dead-letter queue NAME-orders-dead-letter": "create",
    "queue NAME-orders": "create",
    "policy of queue NAME-orders": "create",
    "notification of s3://NAME-shop/": "create",
    "lifecycle rule of s3://NAME-lake/raw/": "create",
}


def test_a_dry_run_names_everything_and_makes_nothing(site: Site) -> None:
    before = site.everything()
    found = site.settle(dry_run=True)
    assert {thing: doing for thing, doing in site.doings(found).items() if doing != "keep"} == ALL
    assert not any(step["is_done"] for step in found["steps"])
    assert site.everything() == before


def test_an_empty_account_becomes_a_running_pipeline(site: Site) -> None:
    found = site.settle()
    assert all(step["is_done"] for step in found["steps"] if step["doing"] == "create")
    s3, sqs = site.client("s3"), site.client("sqs")
    for bucket in (site.shop, site.lake):
        assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == REGION
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "skyferry:route", "Value": "orders"}]
    assert rules(s3, site.lake)[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    attributes = site.attributes()
    assert attributes["VisibilityTimeout"] == "90"
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"] == f"{site.queue_arn}-dead-letter"
    condition = json.loads(attributes["Policy"])["Statement"][0]["Condition"]
    assert condition["ArnEquals"] == {"aws:SourceArn": f"arn:aws:s3:::{site.shop}"}
    # What it is all for: an object that is written is told of, and one of another prefix is not.
    url = sqs.get_queue_url(QueueName=site.queue_name)["QueueUrl"]
    s3.put_object(Bucket=site.shop, Key="elsewhere/1.csv", Body=b"1")
    s3.put_object(Bucket=site.shop, Key="orders/1.csv", Body=b"1")
    bodies = [one["Body"] for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]
    keys = [one["s3"]["object"]["key"] for body in bodies for one in json.loads(body).get("Records", [])]
    assert keys == ["orders%2F1.csv"]


def test_a_second_run_changes_nothing(site: Site) -> None:
    site.settle()
    before = site.everything()
    again = site.settle()
    assert set(site.doings(again).values()) == {"keep"}
    assert site.everything() == before


def test_what_was_made_is_removed_again(site: Site) -> None:
    before = site.everything()
    site.settle()
    # S3 has sent its test event, and no message is ever removed.
    kept = site.doings(site.settle("deprovision", dry_run=True))
    assert {kept["queue NAME-orders"], kept["dead-letter queue NAME-orders-dead-letter"]} == {"leave"}
    site.drain()
    site.settle("deprovision")
    assert site.everything() == before
    assert set(site.doings(site.settle("deprovision")).values()) <= {"keep", "leave"}
    assert list((site.folder.parent / "state").rglob("*.json")) == []
