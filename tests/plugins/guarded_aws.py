"""moto with IAM enforced, and a route whose rights can be taken away one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import boto3
import httpx

from airflow_bridge.transfer_connections import StoreUse
from skyferry.provisioning.access_rights import rights_of
from skyferry.provisioning.route_needs import route_needs
from skyferry.report import Report
from skyferry.routes import Route
from skyferry.urls import parse_location
from stack.running import Endpoint
from tests.plugins.whole_transfer import transfer_whole

STATE = "s3://platform-state/skyferry/"
ROUTE = {
    "id": "orders",
    "source": {"url": "s3://shop/orders/", "conn_id": "aws_shop"},
    "destination": {"url": "s3://lake/raw/", "conn_id": "aws_shop"},
    "copy": {"keep_source": False},
}
NOT_IN_MOTO = {
    "s3:HeadBucket",
}
"""AWS asks for s3:ListBucket where moto asks for this."""

IDLE = {
    # For sources with versions, which this one has not.
    "s3:GetObjectVersion", "s3:GetObjectVersionTagging",
    # For objects with tags: moto takes tags that come with an object without asking for a right.
    "s3:PutObjectTagging",
    # For a large object that is interrupted.
    "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    # For a copy that turned out wrong, and the records of large uploads.
    "s3:DeleteObject",
}  # fmt: skip
"""Actions that a move of three small objects does not need, by place: see `needed`."""


@dataclass
class Guarded:
    """moto with IAM enforced while the transfer runs."""

    endpoint: str
    keys: dict[str, str]

    def enforce(self, *, on: bool) -> None:
        httpx.post(
            f"{self.endpoint}/moto-api/reset-auth", content="0" if on else "inf", headers={"Content-Type": "text/plain"}
        ).raise_for_status()

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def allow(self, policy: dict[str, Any]) -> None:
        self.client("iam").put_user_policy(UserName="mover", PolicyName="route", PolicyDocument=json.dumps(policy))


def furnished(moto: Endpoint) -> Guarded:
    found = Guarded(moto.url, {})
    iam, s3 = found.client("iam"), found.client("s3")
    for bucket in ("shop", "lake", "platform-state"):
        s3.create_bucket(Bucket=bucket)
    iam.create_user(UserName="mover")
    key = iam.create_access_key(UserName="mover")["AccessKey"]
    found.keys = {"login": key["AccessKeyId"], "password": key["SecretAccessKey"]}
    return found


def policy_of(route: Route) -> dict[str, Any]:
    needs = route_needs(route, state=parse_location(STATE), state_conn_id="aws_shop")
    (found,) = rights_of(needs)
    policy = json.loads(json.dumps(found.document))
    for statement in policy["Statement"]:
        if "s3:ListBucket" in statement["Action"]:
            statement["Action"] += sorted(NOT_IN_MOTO)
    return policy


def move(guarded: Guarded, policy: dict[str, Any], run_id: str) -> Report:
    """Move three objects, one of them tagged, with these rights and no others."""
    route, s3 = Route.model_validate(ROUTE), guarded.client("s3")
    for one in s3.list_objects_v2(Bucket="lake").get("Contents", []):
        s3.delete_object(Bucket="lake", Key=one["Key"])
    for number in range(3):
        s3.put_object(Bucket="shop", Key=f"orders/{number}.csv", Body=b"1", Tagging="a=b" if number else "")
    guarded.allow(policy)
    state = StoreUse(what="state", location=parse_location(STATE), conn_id="aws_shop")
    guarded.enforce(on=True)
    try:
        return transfer_whole(route, state, run_id)
    finally:
        guarded.enforce(on=False)


def needed() -> list[tuple[str, str]]:
    """Each action of each statement that a move of small objects takes."""
    pairs = [
        (statement["Sid"], action)
        for statement in policy_of(Route.model_validate(ROUTE))["Statement"]
        for action in statement["Action"]
    ]
    return [
        (sid, action)
        for sid, action in pairs
        if action not in IDLE | NOT_IN_MOTO or (sid, action) == ("ObjectsSource", "s3:DeleteObject")
    ]
