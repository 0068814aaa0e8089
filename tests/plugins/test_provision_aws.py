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

from airflow_bridge.provision_events import BucketNotification
from airflow_bridge.provision_queues import RouteQueue
from airflow_bridge.stage_failure import StageFailed
from operators.transfer_provision import ProvisionRouteOperator
from skyferry.provisioning.route_needs import mark_of
from skyferry.provisioning.shared_documents import filter_text
from stack.running import Endpoint
from tests.airflow_home import connection_variables
from tests.faults.proxy import answer, fault_proxy_in_thread

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


def furnish(site: Site) -> None:
    """Make bucket and queue as somebody else would have them, with settings of their own."""
    s3, sqs = site.client("s3"), site.client("sqs")
    where = {"LocationConstraint": REGION}
    for bucket in (site.shop, site.lake):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    others = sqs.create_queue(QueueName=f"{site.name}-others")["QueueUrl"]
    theirs: dict[str, Any] = {"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "sqs:PurgeQueue"}
    policy = {"Version": "2012-10-17", "Id": "theirs", "Statement": [{**theirs, "Resource": site.queue_arn}]}
    # moto forgets a queue's policy when another attribute is set, so this one has its dead-letter queue already.
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{site.name}-others", "maxReceiveCount": 9}
    sqs.create_queue(
        QueueName=site.queue_name,
        Attributes={
            "Policy": json.dumps(policy),
            "VisibilityTimeout": "31",
            "RedrivePolicy": json.dumps(redrive),
        },
    )
    edges = [{"Name": "prefix", "Value": "logs/"}, {"Name": "suffix", "Value": ".gz"}]
    theirs = {
        "Id": "theirs",
        "QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{others.rpartition('/')[2]}",
        "Events": ["s3:ObjectCreated:Put", "s3:ObjectRemoved:*"],
        "Filter": {"Key": {"FilterRules": edges}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=site.shop, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )
    expiry = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=site.lake, LifecycleConfiguration={"Rules": [expiry]})


def test_what_others_have_survives_both_ways(site: Site) -> None:
    furnish(site)
    before = site.everything()
    found = site.doings(site.settle())
    assert found["bucket s3://NAME-shop/"] == "leave", "it is open to the public, and not ours to close"
    assert found["dead-letter queue NAME-orders-dead-letter"] == "keep", "it has another one"
    assert found["queue NAME-orders"] == "keep"
    during = site.everything()
    theirs = before[site.shop][0]["QueueConfigurations"]
    assert [rule for rule in during[site.shop][0]["QueueConfigurations"] if rule["Id"] != site.mark] == theirs
    assert [rule for rule in during[site.lake][1] if rule["ID"] != site.mark] == before[site.lake][1]
    statements = json.loads(site.attributes()["Policy"])["Statement"]
    assert [one["Sid"] for one in statements] == ["Theirs", site.mark]
    assert site.attributes()["VisibilityTimeout"] == "31"
    removed = site.doings(site.settle("deprovision"))
    assert removed["bucket s3://NAME-shop/"] == "leave"
    site_after = site.everything()
    for changed in (before, site_after):
        for name, one in changed.items():
            if name.endswith(site.queue_name):
                one["Policy"] = json.loads(one["Policy"])
    assert site_after == before


def test_a_queue_of_others_is_lent_a_dead_letter_queue(site: Site) -> None:
    site.client("sqs").create_queue(QueueName=site.queue_name)
    found = site.settle()
    assert site.doings(found)["queue NAME-orders"] == "change"
    assert json.loads(site.attributes()["RedrivePolicy"]) == {
        "deadLetterTargetArn": f"{site.queue_arn}-dead-letter",
        "maxReceiveCount": 5,
    }
    removed = site.doings(site.settle("deprovision"))
    assert removed["queue NAME-orders"] == "change"
    assert removed["dead-letter queue NAME-orders-dead-letter"] == "remove"
    assert not site.attributes().get("RedrivePolicy")


def test_a_rule_that_stands_in_the_way_is_an_error_before_anything_is_changed(site: Site) -> None:
    furnish(site)
    s3 = site.client("s3")
    rule = site.notifications()["QueueConfigurations"][0]
    del rule["Filter"]
    s3.put_bucket_notification_configuration(
        Bucket=site.shop, NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    before = site.everything()
    with pytest.raises(StageFailed, match="already sends .* S3 allows no second rule for these events"):
        site.settle()
    found = site.ti.xcoms["return_value"]
    assert (found["state"], found["steps"]) == ("failed", [])
    assert "nothing was changed" in found["problem"]
    assert site.everything() == before


def test_a_notification_that_changes_between_plan_and_writing_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.settle()
    site.write(prefix="other/")
    s3, provide = site.client("s3"), BucketNotification.provide

    def meddle_and_provide(self: Any) -> str:
        s3.put_bucket_notification_configuration(Bucket=site.shop, NotificationConfiguration={})
        return provide(self)

    monkeypatch.setattr(BucketNotification, "provide", meddle_and_provide)
    with pytest.raises(StageFailed, match="have changed in this moment; they were left alone; run it again"):
        site.settle()
    assert site.notifications() == {}


def test_a_message_that_comes_after_the_plan_keeps_the_queue_and_its_dead_letter_queue(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.settle()
    site.drain()
    sqs, remove = site.client("sqs"), RouteQueue.remove

    def arrive_and_remove(self: Any) -> str:
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=site.queue_name)["QueueUrl"], MessageBody="an event")
        return remove(self)

    with monkeypatch.context() as patched:
        patched.setattr(RouteQueue, "remove", arrive_and_remove)
        found = site.settle("deprovision")
    queues = [step for step in found["steps"] if step["thing"].endswith((site.queue_name, "-dead-letter"))]
    told = {step["thing"].partition(" ")[0]: (step["doing"], step["is_done"]) for step in queues}
    assert told["queue"] == told["dead-letter"] == ("leave", False)
    assert json.loads(site.attributes()["RedrivePolicy"])["deadLetterTargetArn"] == f"{site.queue_arn}-dead-letter"
    site.drain()
    site.settle("deprovision")


def test_a_missing_permission_midway_says_what_exists_and_a_second_run_finishes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    with fault_proxy_in_thread(site.endpoint) as proxy:
        shop = json.loads(os.environ["AIRFLOW_CONN_AWS_SHOP"])
        shop["extra"]["endpoint_url"] = proxy.url
        monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(shop))
        proxy.inject(answer(403, body=refusal), method="PUT", target_contains="publicAccessBlock", times=1)
        with pytest.raises(StageFailed) as failed:
            site.settle()
        text = str(failed.value)
        assert f"closing s3://{site.shop}/ to the public was refused (AccessDenied)" in text
        assert "it needs s3:PutBucketPublicAccessBlock" in text
        assert "Left to do with it: change (public access is not blocked)" in text
        assert f"Not begun: bucket s3://{site.lake}/" in text
        assert "Run `transfer provision --id orders` again" in text
        found = site.doings(site.settle())
        assert found["bucket s3://NAME-shop/"] == "change", "it was created here, so it is closed now"
        assert set(site.doings(site.settle()).values()) == {"keep"}
    s3 = site.client("s3")
    assert all(s3.get_public_access_block(Bucket=site.shop)["PublicAccessBlockConfiguration"].values())


def test_calls_that_a_store_does_not_offer_are_told_and_not_fatal(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = answer(501, body=b"<Error><Code>NotImplemented</Code><Message>no</Message></Error>")
    with fault_proxy_in_thread(site.endpoint) as proxy:
        shop = json.loads(os.environ["AIRFLOW_CONN_AWS_SHOP"])
        shop["extra"]["endpoint_url"] = proxy.url
        monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(shop))
        for call in ("publicAccessBlock", "encryption", "lifecycle", "tagging"):
            proxy.inject(unknown, target_contains=f"?{call}")
        found = site.settle()
        why = {step["thing"]: step["why"] for step in found["steps"]}
        assert (
            f"closing s3://{site.lake}/ to the public: this store does not offer it" in why[f"bucket s3://{site.lake}/"]
        )
        assert site.doings(found)["lifecycle rule of s3://NAME-lake/raw/"] == "leave"
        assert set(site.doings(site.settle()).values()) == {"keep", "leave"}
        site.drain()
        removed = site.doings(site.settle("deprovision"))
    assert removed["bucket s3://NAME-lake/"] == "remove", "it is on record, as it could not be tagged"


def test_objects_messages_and_what_other_routes_use_stay(site: Site) -> None:
    site.settle()
    site.write("refunds", prefix="refunds/")
    site.client("s3").put_object(Bucket=site.lake, Key="raw/1.csv", Body=b"1")
    why = {step["thing"]: step["why"] for step in site.settle("deprovision")["steps"] if step["doing"] == "leave"}
    assert why[f"bucket s3://{site.shop}/"] == "used by refunds too"
    assert why[f"queue {site.queue_name}"] == "used by refunds too"
    (site.folder / "routes" / "refunds.yaml").unlink()
    site.drain()
    why = {step["thing"]: step["why"] for step in site.settle("deprovision")["steps"] if step["doing"] == "leave"}
    assert why[f"bucket s3://{site.lake}/"] == "it is not empty; no object is ever removed"
    assert [one["Name"] for one in site.client("s3").list_buckets()["Buckets"] if site.name in one["Name"]] == [
        site.lake
    ]


def test_a_topic_between_bucket_and_queue(site: Site) -> None:
    site.write(more=f"provision: {{topic: {site.name}-events}}")
    before = site.everything()
    site.settle()
    s3, sqs = site.client("s3"), site.client("sqs")
    assert [rule["TopicArn"] for rule in site.notifications()["TopicConfigurations"]] == [
        f"arn:aws:sns:{REGION}:{ACCOUNT}:{site.name}-events"
    ]
    assert set(site.doings(site.settle()).values()) == {"keep"}
    s3.put_object(Bucket=site.shop, Key="orders/1.csv", Body=b"1")
    url = sqs.get_queue_url(QueueName=site.queue_name)["QueueUrl"]
    bodies = [one["Body"] for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]
    assert any("orders%2F1.csv" in body for body in bodies)
    s3.delete_object(Bucket=site.shop, Key="orders/1.csv")
    site.client("sqs").purge_queue(QueueUrl=url)
    site.settle("deprovision")
    assert site.everything() == before
    topics = site.client("sns").list_topics()["Topics"]
    assert not any(site.name in topic["TopicArn"] for topic in topics)


@pytest.mark.parametrize("prefix", ["a b+c/", "ü*$/", "100%/&<x>/", "'quoted'/"])
def test_hostile_prefixes(site: Site, prefix: str) -> None:
    site.write(prefix=json.dumps(prefix)[1:-1])
    before = site.everything()
    site.settle()
    (rule,) = site.notifications()["QueueConfigurations"]
    assert rule["Filter"]["Key"]["FilterRules"][0]["Value"] == filter_text(prefix)
    assert set(site.doings(site.settle()).values()) == {"keep"}
    site.drain()
    site.settle("deprovision")
    assert site.everything() == before


def test_an_unknown_route_is_told_and_nothing_is_changed(site: Site) -> None:
    with pytest.raises(StageFailed, match='no route "nope"'):
        site.settle(route="nope")
    assert site.ti.xcoms["return_value"]["problem"].startswith("the plan could not be made, and nothing was changed")


def test_a_stand_in_connection_provisions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ADMIN", os.environ["AIRFLOW_CONN_AWS_SHOP"])
    monkeypatch.delenv("AIRFLOW_CONN_AWS_SHOP")
    (site.folder / "defaults.yaml").write_text("provision_connections: {aws_shop: aws_admin}\n")
    assert site.settle()["state"] == "success"
