"""Who signs in for a route, against moto: exactly the route's rights, no keys, and nothing of others is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_bridge.stage_failure import StageFailed
from skyferry.provisioning.access_rights import rights_of
from skyferry.provisioning.route_needs import mark_of, route_needs
from skyferry.routes import find_route
from skyferry.urls import parse_location
from tests.plugins.test_provision_aws import ACCOUNT, REGION, Site, site

__all__ = ["site"]

NAME = mark_of("orders")
ARN = f"arn:aws:iam::{ACCOUNT}:policy/skyferry/{NAME}"
WORKERS = f"arn:aws:iam::{ACCOUNT}:role/workers"


def identity(site: Site, settings: str, more: str = "") -> None:
    site.write(more=f"provision: {{identity: {settings}}}\n{more}")


def things(found: dict[str, Any]) -> dict[str, str]:
    return {step["thing"]: step["doing"] for step in found["steps"] if "IAM" in step["thing"]}


@pytest.fixture
def iam(site: Site) -> Any:
    """IAM, and in the end nothing in it that this file's tests may have left."""
    client = site.client("iam")
    yield client
    site.settle("deprovision")


def everything(iam: Any) -> list[Any]:
    found = [iam.list_users()["Users"], iam.list_groups()["Groups"], iam.list_roles()["Roles"]]
    return [*found, iam.list_policies(Scope="Local")["Policies"]]


def document(iam: Any) -> Any:
    version = iam.get_policy(PolicyArn=ARN)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=ARN, VersionId=version)["PolicyVersion"]["Document"]


def test_a_user_in_a_group_with_the_rights_of_the_route_is_made_and_removed(site: Site, iam: Any) -> None:
    before = everything(iam)
    user, group = f"{site.name}-user", f"{site.name}-group"
    identity(site, f"{{user: {user}, group: {group}}}")
    created = things(site.settle())
    assert set(created.values()) == {"create"}
    assert next(iter(created)) == f"IAM policy {NAME}"
    assert [one["GroupName"] for one in iam.list_groups_for_user(UserName=user)["Groups"]] == [group]
    assert [one["PolicyArn"] for one in iam.list_attached_group_policies(GroupName=group)["AttachedPolicies"]] == [ARN]
    assert iam.list_attached_user_policies(UserName=user)["AttachedPolicies"] == []
    assert iam.list_access_keys(UserName=user)["AccessKeyMetadata"] == [], "keys are nobody's but the user's to make"
    tag = {"Key": "skyferry:route", "Value": "orders"}
    assert iam.list_user_tags(UserName=user)["Tags"] == iam.list_policy_tags(PolicyArn=ARN)["Tags"] == [tag]
    needs = route_needs(find_route("orders"), state=parse_location("file:///state/"), state_conn_id="")
    (rights,) = rights_of(needs, region=REGION)
    assert document(iam) == rights.document
    assert set(things(site.settle()).values()) == {"keep"}
    assert set(things(site.settle("deprovision")).values()) == {"remove"}
    assert everything(iam) == before
    assert set(things(site.settle("deprovision")).values()) == {"keep"}


def test_a_role_is_for_those_who_are_trusted_and_of_this_account(site: Site, iam: Any) -> None:
    before = everything(iam)
    role = f"{site.name}-role"
    identity(site, f'{{role: {role}, trusted: ["arn:aws:iam::999999999999:root"]}}')
    with pytest.raises(StageFailed, match=f"would be in account {ACCOUNT}"):
        site.settle()
    assert everything(iam) == before
    identity(site, f'{{role: {role}, trusted: ["{WORKERS}"]}}')
    site.settle()
    assert [one["Principal"] for one in trust(iam, role)["Statement"]] == [{"AWS": [WORKERS]}]
    assert [one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]] == [ARN]
    site.settle("deprovision")
    assert everything(iam) == before


def test_a_role_of_ours_follows_the_route_and_a_policy_that_others_wrote_stays(site: Site, iam: Any) -> None:
    role, loaders = f"{site.name}-role", f"arn:aws:iam::{ACCOUNT}:role/loaders"
    identity(site, f'{{role: {role}, trusted: ["{WORKERS}", "{loaders}"]}}')
    site.settle()
    assert set(things(site.settle()).values()) == {"keep"}
    identity(site, f'{{role: {role}, trusted: ["{WORKERS}"]}}')
    assert things(site.settle())[f"IAM role {role}"] == "change"
    assert [one["Principal"] for one in trust(iam, role)["Statement"]] == [{"AWS": [WORKERS]}]
    # As IAM shows it: a single principal stands there without a list.
    shown = json.dumps(trust(iam, role)).replace(f'["{WORKERS}"]', f'"{WORKERS}"')
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=shown)
    assert things(site.settle())[f"IAM role {role}"] == "keep"
    theirs = shown.replace('"Action"', '"Condition": {"StringEquals": {"sts:ExternalId": "1"}}, "Action"')
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=theirs)
    assert things(site.settle())[f"IAM role {role}"] == "leave"
    assert trust(iam, role) == json.loads(theirs)


def test_a_role_of_others_may_trust_whom_it_likes(site: Site, iam: Any) -> None:
    role = f"{site.name}-theirs"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    identity(site, f'{{role: {role}, trusted: ["{WORKERS}"]}}')
    assert things(site.settle())[f"IAM role {role}"] == "keep"
    assert trust(iam, role) == {}
    site.settle("deprovision")
    iam.delete_role(RoleName=role)


def trust(iam: Any, role: str) -> Any:
    return iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]


def test_other_rights_are_a_new_version_and_old_ones_make_room(site: Site, iam: Any) -> None:
    settings = f"{{user: {site.name}-user}}"
    for number in range(7):
        identity(site, settings, more=f"receipts_index: {{dynamodb: table-{number}, conn_id: aws_shop}}")
        doing = things(site.settle())[f"IAM policy {NAME}"]
        assert doing == ("change" if number else "create")
        resources = [one["Resource"] for one in document(iam)["Statement"]]
        assert resources[-1] == f"arn:aws:dynamodb:{REGION}:*:table/table-{number}"
    assert len(iam.list_policy_versions(PolicyArn=ARN)["Versions"]) == 5
    for number in range(7):
        site.client("dynamodb").delete_table(TableName=f"table-{number}")


def test_what_others_made_is_given_the_rights_and_nothing_else_is_changed(site: Site, iam: Any) -> None:
    user = f"{site.name}-theirs"
    iam.create_user(UserName=user)
    theirs = iam.create_policy(PolicyName=f"{site.name}-p", PolicyDocument=json.dumps(_EMPTY))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=theirs)
    identity(site, f"{{user: {user}}}")
    assert things(site.settle())[f"IAM user {user}"] == "keep"
    removed = things(site.settle("deprovision"))
    assert (removed[f"IAM user {user}"], removed[f"IAM policy {NAME}"]) == ("leave", "remove")
    assert [one["PolicyArn"] for one in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]] == [theirs]


def test_a_user_of_ours_stays_while_somebody_uses_it(site: Site, iam: Any) -> None:
    user = f"{site.name}-user"
    identity(site, f"{{user: {user}}}")
    site.settle()
    key = iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    why = {step["thing"]: step["why"] for step in site.settle("deprovision")["steps"]}
    assert why[f"IAM user {user}"] == "it has access keys that others gave it"
    iam.delete_access_key(UserName=user, AccessKeyId=key)
    assert things(site.settle("deprovision"))[f"IAM user {user}"] == "remove"


def test_a_policy_of_others_is_never_taken_for_ours(site: Site, iam: Any) -> None:
    iam.create_policy(PolicyName=NAME, Path="/skyferry/", PolicyDocument=json.dumps(_EMPTY))
    identity(site, f"{{user: {site.name}-user}}")
    with pytest.raises(StageFailed, match="was not created for this route; nothing was changed"):
        site.settle()
    assert things(site.settle("deprovision"))[f"IAM policy {NAME}"] == "leave"
    iam.delete_policy(PolicyArn=ARN)


_EMPTY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::theirs"}],
}
