"""The Lambda function of a route against moto: made once, changed when it has to be, and only ours is removed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from airflow_bridge.stage_failure import StageFailed
from operators.transfer_provision import ProvisionRouteOperator
from skyferry.lambda_forwarder.airflow_address import Login, read_login
from skyferry.lambda_forwarder.http_post import ForwardError
from skyferry.provisioning.forwarder_need import ForwarderNeed, role_rights
from skyferry.provisioning.forwarder_package import code_digest, forwarder_package
from skyferry.provisioning.settings import Forwarder
from tests.faults.lambda_front import lambda_front
from tests.faults.proxy import Fault, FaultProxy, Forward, Request, Response, answer, fault_proxy_in_thread
from tests.plugins.test_provision_aws import ACCOUNT, REGION, Site, TaskInstance, site
from tests.plugins.test_provision_rights import Guarded, guarded

__all__ = ["guarded", "site"]

SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:airflow-ringer-a1b2c3"
ROLE = "skyferry-forwarder"
ROUTE = """
id: orders
source: {{url: "s3://{name}-shop/orders/", conn_id: aws_shop}}
destination: {{url: "s3://{name}-lake/raw/", conn_id: aws_shop}}
provision: {{{provision}}}
"""
FORWARDER = """
  forwarder:
    airflow_url: https://airflow.example.com
    secret: {secret}
    role: arn:aws:iam::{account}:role/{role}
"""
FUNCTION = "skyferry-orders"
THINGS = {
    "queue skyferry-orders-dead-letter": "create",
    "function skyferry-orders": "create",
    "permission of function skyferry-orders": "create",
    "notification of s3://NAME-shop/": "create",
}


class LambdaSite:
    """A site whose route wants a function, behind a front that remembers what moto forgets."""

    def __init__(self, site: Site, proxy: FaultProxy) -> None:
        self.site, self.proxy = site, proxy
        self.write()

    def write(self, *, airflow_url: str = "https://airflow.example.com", more: str = "") -> None:
        forwarder = FORWARDER.format(secret=SECRET, account=ACCOUNT, role=ROLE).replace(
            "https://airflow.example.com", airflow_url
        )
        text = ROUTE.format(name=self.site.name, provision="").replace("{}", forwarder + more)
        (self.site.folder / "routes" / "orders.yaml").write_text(text)

    def settle(self, action: str = "provision", *, dry_run: bool = False, with_lambda: bool = True) -> dict[str, str]:
        params = {"id": "orders", "action": action, "dry_run": dry_run, "with_lambda": with_lambda}
        found = ProvisionRouteOperator(task_id="provision").execute({"params": params, "ti": TaskInstance()})
        return self.site.doings(found)

    def client(self) -> Any:
        return boto3.client(
            "lambda",
            endpoint_url=self.proxy.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def function(self) -> dict[str, Any]:
        return self.client().get_function(FunctionName=FUNCTION)

    def functions(self) -> list[str]:
        return [one["FunctionName"] for one in self.site.client("lambda").list_functions()["Functions"]]


@pytest.fixture
def place(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaSite]:
    iam = site.client("iam")
    if ROLE not in {one["RoleName"] for one in iam.list_roles()["Roles"]}:
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}")
    with fault_proxy_in_thread(site.endpoint, always=lambda_front()) as proxy:
        shop = json.loads(os.environ["AIRFLOW_CONN_AWS_SHOP"])
        shop["extra"]["endpoint_url"] = proxy.url
        monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(shop))
        yield LambdaSite(site, proxy)
        for name in site.client("lambda").list_functions()["Functions"]:
            site.client("lambda").delete_function(FunctionName=name["FunctionName"])
        queues = site.client("sqs")
        for url in queues.list_queues(QueueNamePrefix="skyferry-").get("QueueUrls", []):
            queues.delete_queue(QueueUrl=url)


def seen_with(**values: Any) -> Fault:
    """What Lambda shows of a function, with some of it other than it is; None is left out."""

    async def fault(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        if response.status != 200 or request.target.rstrip("/").endswith("/policy"):
            return response
        found = json.loads(response.body)
        for name, value in values.items():
            holder = found if name == "Tags" else found["Configuration"]
            holder.pop(name, None)
            if value is not None:
                holder[name] = value
        return replace(response, body=json.dumps(found).encode())

    return fault


def changes(doings: dict[str, str]) -> dict[str, str]:
    return {thing: doing for thing, doing in doings.items() if doing in ("create", "change", "remove")}


def test_a_dry_run_names_the_function_and_makes_nothing(place: LambdaSite) -> None:
    found = place.settle(dry_run=True)
    assert THINGS.items() <= found.items()
    assert place.functions() == []


def test_without_being_asked_for_no_function_is_made(place: LambdaSite) -> None:
    assert not THINGS.keys() & place.settle(with_lambda=False).keys()
    assert place.functions() == []


def test_the_function_is_made_with_all_it_needs_and_once(place: LambdaSite) -> None:
    place.settle()
    found = place.function()
    configuration = found["Configuration"]
    assert configuration["CodeSha256"] == code_digest(forwarder_package())
    assert configuration["Environment"]["Variables"] == {
        "TRANSFER_AIRFLOW_URL": "https://airflow.example.com",
        "TRANSFER_AIRFLOW_SECRET": SECRET,
    }
    assert configuration["DeadLetterConfig"]["TargetArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:{FUNCTION}-dead-letter"
    assert (configuration["Handler"], configuration["Timeout"]) == (
        "skyferry.lambda_forwarder.forward_event.handle",
        120,
    )
    assert found["Tags"] == {"skyferry:route": "orders"}
    assert place.site.attributes(f"{FUNCTION}-dead-letter")["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    policy = json.loads(place.site.client("lambda").get_policy(FunctionName=FUNCTION)["Policy"])
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnLike": {"AWS:SourceArn": f"arn:aws:s3:::{place.site.shop}"},
        "StringEquals": {"AWS:SourceAccount": ACCOUNT},
    }
    (rule,) = place.site.notifications()["LambdaFunctionConfigurations"]
    assert (rule["LambdaFunctionArn"], rule["Events"]) == (configuration["FunctionArn"], ["s3:ObjectCreated:*"])
    assert changes(place.settle()) == {}


def test_what_is_other_than_wanted_is_changed_and_variables_of_others_stay(place: LambdaSite) -> None:
    place.settle()
    client = place.site.client("lambda")
    variables = place.function()["Configuration"]["Environment"]["Variables"]
    client.update_function_configuration(
        FunctionName=FUNCTION, Timeout=3, Environment={"Variables": {**variables, "SSL_CERT_FILE": "ca.pem"}}
    )
    client.update_function_code(FunctionName=FUNCTION, ZipFile=forwarder_package() + b"\0")
    client.remove_permission(FunctionName=FUNCTION, StatementId=place.site.mark)
    client.add_permission(
        FunctionName=FUNCTION, StatementId=place.site.mark, Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    place.write(airflow_url="https://elsewhere.example.com")
    assert changes(place.settle()) == {
        "function skyferry-orders": "change",
        "permission of function skyferry-orders": "change",
    }
    found = place.function()["Configuration"]
    assert (found["Timeout"], found["CodeSha256"]) == (120, code_digest(forwarder_package()))
    assert found["Environment"]["Variables"] == {
        **variables,
        "TRANSFER_AIRFLOW_URL": "https://elsewhere.example.com",
        "SSL_CERT_FILE": "ca.pem",
    }
    assert changes(place.settle()) == {}


def test_a_dead_letter_queue_that_was_taken_away_and_a_new_vpc_are_set(place: LambdaSite) -> None:
    place.settle()
    place.client().update_function_configuration(FunctionName=FUNCTION, DeadLetterConfig={"TargetArn": ""})
    more = "    subnets: [subnet-0a1b2c3d4e5f60718]\n    security_groups: [sg-0a1b2c3d4e5f60718]\n"
    place.write(more=more)
    assert changes(place.settle()) == {"function skyferry-orders": "change"}
    found = place.function()["Configuration"]
    assert found["DeadLetterConfig"]["TargetArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:{FUNCTION}-dead-letter"
    assert found["VpcConfig"] == {
        "SubnetIds": ["subnet-0a1b2c3d4e5f60718"],
        "SecurityGroupIds": ["sg-0a1b2c3d4e5f60718"],
    }
    assert changes(place.settle()) == {}


def test_notifications_of_others_survive_both_ways(place: LambdaSite) -> None:
    s3, sqs, site = place.site.client("s3"), place.site.client("sqs"), place.site
    s3.create_bucket(Bucket=site.shop, CreateBucketConfiguration={"LocationConstraint": REGION})
    sqs.create_queue(QueueName=f"{site.name}-others")
    theirs = {
        "Id": "theirs",
        "QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{site.name}-others",
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "logs/"}]}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=site.shop, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )
    before = site.notifications()
    place.settle()
    during = site.notifications()
    assert during["QueueConfigurations"] == before["QueueConfigurations"]
    assert len(during["LambdaFunctionConfigurations"]) == 1
    place.settle("deprovision")
    assert site.notifications() == before


def test_all_that_was_made_is_removed_and_undelivered_events_are_kept(place: LambdaSite) -> None:
    place.settle()
    sqs = place.site.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{FUNCTION}-dead-letter")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="an event")
    removed = place.settle("deprovision", with_lambda=False)
    assert {thing: removed[thing] for thing in THINGS} == dict.fromkeys(THINGS, "remove") | {
        "queue skyferry-orders-dead-letter": "leave"
    }
    assert place.functions() == []
    assert place.site.everything()["buckets"] == []
    sqs.purge_queue(QueueUrl=url)
    assert place.settle("deprovision")["queue skyferry-orders-dead-letter"] == "remove"
    assert set(place.settle("deprovision").values()) <= {"keep", "leave"}


def test_a_function_of_somebody_else_is_an_error_before_anything_is_changed(place: LambdaSite) -> None:
    client = place.site.client("lambda")
    client.create_function(
        FunctionName=FUNCTION,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
        Handler="theirs.handle",
        Code={"ZipFile": b"PK"},
    )
    before = client.get_function(FunctionName=FUNCTION)["Configuration"]
    with pytest.raises(StageFailed, match="skyferry-orders exists, and was not created for this route"):
        place.settle()
    assert place.site.everything()["buckets"] == []
    removed = place.settle("deprovision")
    assert removed["function skyferry-orders"] == "leave"
    assert client.get_function(FunctionName=FUNCTION)["Configuration"] == before


def test_tags_that_may_not_be_seen_make_no_stranger_of_the_function(place: LambdaSite) -> None:
    """Lambda leaves out the tags for those who may not list them."""
    place.settle()
    place.proxy.inject(seen_with(Tags=None), method="GET", target_contains=f"/functions/{FUNCTION}")
    assert changes(place.settle()) == {}
    refusal = answer(403, body=b'{"__type": "AccessDeniedException", "Message": "no"}')
    place.proxy.inject(refusal, method="GET", target_contains="/tags/")
    with pytest.raises(StageFailed, match="reading the tags of function skyferry-orders .* it needs lambda:ListTags"):
        place.settle()


def test_variables_that_cannot_be_read_are_not_overwritten(place: LambdaSite) -> None:
    place.settle()
    variables = place.function()["Configuration"]["Environment"]["Variables"] | {"SSL_CERT_FILE": "ca.pem"}
    place.client().update_function_configuration(FunctionName=FUNCTION, Environment={"Variables": variables})
    hidden = {"Error": {"ErrorCode": "AccessDeniedException", "Message": "no"}}
    place.proxy.inject(seen_with(Environment=hidden), method="GET", target_contains=f"/functions/{FUNCTION}")
    with pytest.raises(StageFailed, match="cannot be read .AccessDeniedException.; it needs kms:Decrypt"):
        place.settle()
    place.proxy.clear()
    assert place.function()["Configuration"]["Environment"]["Variables"] == variables


def test_a_function_that_does_not_come_to_life_says_why(place: LambdaSite) -> None:
    failed = {"State": "Failed", "StateReason": "The subnet has no address left"}
    place.proxy.inject(seen_with(**failed), method="GET", target_contains=f"/functions/{FUNCTION}")
    for _ in range(2):
        with pytest.raises(StageFailed, match="does not work: The subnet has no address left; mend that, delete it"):
            place.settle()
    assert "LambdaFunctionConfigurations" not in place.site.notifications()


def test_a_change_that_is_not_taken_says_why(place: LambdaSite) -> None:
    place.settle()
    place.write(airflow_url="https://elsewhere.example.com")
    failed = {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "The key is disabled"}
    place.proxy.inject(seen_with(**failed), method="GET", target_contains=f"/functions/{FUNCTION}")
    with pytest.raises(StageFailed, match="did not take the change: The key is disabled"):
        place.settle()


def test_a_missing_permission_midway_says_what_exists_and_a_second_run_finishes(place: LambdaSite) -> None:
    refusal = answer(403, body=b'{"__type": "AccessDeniedException", "Message": "no"}')
    place.proxy.inject(refusal, method="POST", target_contains=f"/functions/{FUNCTION}/policy", times=1)
    with pytest.raises(StageFailed) as failed:
        place.settle()
    text = str(failed.value)
    assert "adding the permission of function skyferry-orders was refused" in text
    assert "it needs lambda:AddPermission" in text
    assert f"Not begun: notification of s3://{place.site.shop}/" in text
    assert changes(place.settle()) == {
        "permission of function skyferry-orders": "create",
        "notification of s3://NAME-shop/": "create",
    }


def test_a_role_that_lambda_may_not_take_is_told(place: LambdaSite) -> None:
    text = (place.site.folder / "routes" / "orders.yaml").read_text()
    (place.site.folder / "routes" / "orders.yaml").write_text(text.replace(ROLE, "nobody"))
    with pytest.raises(StageFailed, match="creating function skyferry-orders failed: .*cannot be assumed by Lambda"):
        place.settle()


def test_a_route_that_says_nothing_of_a_function_is_told(place: LambdaSite) -> None:
    place.site.write()
    with pytest.raises(StageFailed, match="says nothing about a Lambda function; set provision.forwarder"):
        place.settle()
    assert place.functions() == []


SETTINGS = Forwarder(
    airflow_url="https://airflow.example.com", secret=SECRET, role=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
)


@pytest.mark.parametrize("lacks", ["", "Login"])
def test_with_the_rights_of_the_role_the_secret_is_read_and_not_without(
    guarded: Guarded, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With IAM enforced, which also checks the signature of the request; moto does not enforce sending to a queue."""
    guarded.enforce(on=False)
    keys = {"region_name": REGION, "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    secrets, iam, sts = (
        boto3.client(service, endpoint_url=guarded.endpoint, **keys) for service in ("secretsmanager", "iam", "sts")
    )
    role = f"forwarder{lacks}"
    login = json.dumps({"user": "ringer", "password": "hunter2"})
    settings = SETTINGS.model_copy(update={"secret": secrets.create_secret(Name=role, SecretString=login)["ARN"]})
    rights = role_rights(ForwarderNeed(route_id="orders", settings=settings, region=REGION))
    # Outside of S3 moto looks at the actions of a policy, and knows no resource but `*`.
    statements = [one | {"Resource": "*"} for one in rights["document"]["Statement"] if one["Sid"] != lacks]
    document = json.dumps(rights["document"] | {"Statement": statements})
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(rights["trust"]))
    iam.put_role_policy(RoleName=role, PolicyName="rights", PolicyDocument=document)
    taken = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="test")["Credentials"]
    for name, value in {
        "AWS_ACCESS_KEY_ID": taken["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": taken["SecretAccessKey"],
        "AWS_SESSION_TOKEN": taken["SessionToken"],
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": guarded.endpoint,
        "TRANSFER_AIRFLOW_SECRET": settings.secret,
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    guarded.enforce(on=True)
    try:
        if lacks:
            with pytest.raises(ForwardError, match=r"was refused .*needs secretsmanager:GetSecretValue"):
                read_login()
        else:
            assert read_login() == Login("ringer", "hunter2")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "forged")
            with pytest.raises(ForwardError, match="was refused"):
                read_login()
    finally:
        guarded.enforce(on=False)
