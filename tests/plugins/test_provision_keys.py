"""Access keys of a route's user, against moto: whatever Airflow answers, no key is lost and none is left over."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_bridge.connected_keys import open_user_keys
from airflow_bridge.provision_identity import Holder
from airflow_bridge.provision_keys import RouteUserKeys
from skyferry.errors import (
    AccessDeniedError,
    AirflowRefusedError,
    AirflowUnreachableError,
    PermanentError,
    RequestError,
)
from skyferry.provisioning.access_keys import AccessKey, HandedKey, KnownConnection, hand_over, open_keys
from skyferry.routes import find_route
from tests.faults.proxy import answer, fault_proxy_in_thread
from tests.plugins.test_provision_aws import ACCOUNT, REGION, Site, site

__all__ = ["site"]

Refuse = Callable[[], None]


@dataclass
class Written:
    """Connections in memory; `before` and `after` are raised when one is written, `asked` when one is read later."""

    known: dict[str, KnownConnection] = field(default_factory=dict)
    secrets: dict[str, AccessKey] = field(default_factory=dict)
    before: Exception | BaseException | None = None
    after: Exception | BaseException | None = None
    asked: Exception | None = None

    def connection(self, conn_id: str) -> KnownConnection | None:
        if self.asked is not None and self.secrets.get("tried"):
            raise self.asked
        return self.known.get(conn_id)

    def write_connection(self, conn_id: str, key: AccessKey, *, description: str, is_new: bool) -> None:
        assert is_new == (conn_id not in self.known)
        self.secrets["tried"] = key
        if self.before is not None:
            raise self.before
        self.known[conn_id] = KnownConnection(login=key.key_id, description=description)
        self.secrets[conn_id] = key
        if self.after is not None:
            raise self.after


@dataclass
class Keyed:
    """A route with a user of its own, and what has its keys."""

    site: Site
    user: str
    iam: Any
    connections: Written

    @property
    def keys(self) -> RouteUserKeys:
        return open_user_keys(find_route("orders"))

    def hand_over(self, conn_id: str = "aws_orders", *, replaces: bool = False) -> HandedKey:
        return hand_over(self.keys, self.connections, route="orders", conn_id=conn_id, replaces=replaces)

    def ids(self) -> set[str]:
        return {one["AccessKeyId"] for one in self.iam.list_access_keys(UserName=self.user)["AccessKeyMetadata"]}

    def tags(self) -> set[str]:
        tags = {one["Key"] for one in self.iam.list_user_tags(UserName=self.user)["Tags"]}
        return {tag.removeprefix("skyferry:access-key/") for tag in tags - {"skyferry:route"}}

    def user_step(self) -> dict[str, Any]:
        steps = self.site.settle("deprovision")["steps"]
        return next(step for step in steps if step["thing"] == f"IAM user {self.user}")


@pytest.fixture
def keyed(site: Site) -> Any:
    user = f"{site.name}-user"
    site.write(more=f"provision: {{identity: {{user: {user}}}}}")
    site.settle()
    found = Keyed(site, user, site.client("iam"), Written())
    yield found
    site.settle("deprovision")


def test_a_connection_gets_a_key_that_signs_in_as_the_user(keyed: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        handed = keyed.hand_over()
    key = keyed.connections.secrets["aws_orders"]
    assert (handed.key_id, handed.conn_id, handed.deleted) == (key.key_id, "aws_orders", ())
    assert {handed.key_id} == keyed.ids() == keyed.tags()
    assert key.extra == {"region_name": REGION, "endpoint_url": keyed.site.endpoint}
    sts = keyed.site.client("sts")
    assert sts.get_access_key_info(AccessKeyId=key.key_id)["Account"] == ACCOUNT
    assert "CreateAccessKey" in caplog.text
    assert "botocore" in {record.name.partition(".")[0] for record in caplog.records}
    assert len(key.secret) > 20
    assert key.secret not in caplog.text
    assert key.secret not in repr(key)


def test_a_connection_that_is_there_gets_no_key_unless_told_to(keyed: Keyed) -> None:
    first = keyed.hand_over()
    with pytest.raises(RequestError, match=f"there already, with the access key {first.key_id}.*--replace-key"):
        keyed.hand_over()
    assert keyed.ids() == {first.key_id}
    second = keyed.hand_over(replaces=True)
    assert second.deleted == (first.key_id,)
    assert {second.key_id} == keyed.ids() == keyed.tags()
    assert keyed.connections.known["aws_orders"].login == second.key_id


def test_a_connection_of_others_is_never_written(keyed: Keyed) -> None:
    keyed.connections.known["aws_orders"] = KnownConnection(login="AKIATHEIRS", description="ours")
    with pytest.raises(RequestError, match="was not made for this user and route; no key was made"):
        keyed.hand_over(replaces=True)
    assert keyed.ids() == set()


def test_a_user_of_others_gets_no_key(site: Site) -> None:
    user = f"{site.name}-theirs"
    iam = site.client("iam")
    iam.create_user(UserName=user)
    site.write(more=f"provision: {{identity: {{user: {user}}}}}")
    keyed = Keyed(site, user, iam, Written())
    with pytest.raises(RequestError, match="was not made by provisioning"):
        keyed.hand_over()
    assert keyed.ids() == set()


def test_no_user_no_key(site: Site) -> None:
    with pytest.raises(RequestError, match='route "orders" has no IAM user'):
        open_keys(find_route("orders"))


def test_the_third_key_is_refused_and_names_the_two(keyed: Keyed) -> None:
    handed = [keyed.hand_over(name).key_id for name in ("aws_1", "aws_2")]
    with pytest.raises(RequestError, match="IAM allows 2 keys a user; no key was made") as refused:
        keyed.hand_over("aws_3")
    assert all(key_id in str(refused.value) for key_id in handed)
    with pytest.raises(RequestError, match="IAM allows 2 keys a user"):
        keyed.hand_over("aws_1", replaces=True)
    assert keyed.ids() == set(handed)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            AirflowRefusedError("Airflow refuses: no"),
            "not written: Airflow refuses: no. The access key .* deleted again$",
        ),
        (AirflowUnreachableError("no answer"), "not written: no answer. The access key .* deleted again$"),
    ],
)
def test_a_key_that_no_connection_took_is_deleted_again(keyed: Keyed, error: Exception, text: str) -> None:
    keyed.connections.before = error
    with pytest.raises(type(error), match=text) as failed:
        keyed.hand_over()
    assert keyed.ids() == keyed.tags() == set()
    assert keyed.connections.secrets["tried"].secret not in str(failed.value)


def test_ctrl_c_leaves_no_key_either(keyed: Keyed) -> None:
    keyed.connections.before = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        keyed.hand_over()
    assert keyed.ids() == set()


def test_a_lost_answer_is_asked_for(keyed: Keyed) -> None:
    keyed.connections.after = AirflowUnreachableError("no answer")
    handed = keyed.hand_over()
    assert keyed.ids() == {handed.key_id}
    assert keyed.connections.known["aws_orders"].login == handed.key_id


def test_a_new_connection_nobody_can_tell_of_has_no_living_key(keyed: Keyed) -> None:
    keyed.connections.before = keyed.connections.asked = AirflowUnreachableError("no answer")
    with pytest.raises(AirflowUnreachableError, match="If Airflow did make connection"):
        keyed.hand_over()
    assert keyed.ids() == set()


def test_a_replaced_key_nobody_can_tell_of_leaves_both_and_the_next_try_clears_up(keyed: Keyed) -> None:
    first = keyed.hand_over()
    keyed.connections.after = keyed.connections.asked = AirflowUnreachableError("no answer")
    keyed.connections.secrets.clear()
    with pytest.raises(AirflowUnreachableError, match="The new key and the old one both work; run the command again"):
        keyed.hand_over(replaces=True)
    assert first.key_id in keyed.ids()
    assert keyed.connections.known["aws_orders"].login in keyed.ids() - {first.key_id}
    keyed.connections.after = keyed.connections.asked = None
    last = keyed.hand_over(replaces=True)
    assert {last.key_id} == keyed.ids() == keyed.tags()


def test_a_key_that_cannot_be_deleted_again_is_named(keyed: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: RouteUserKeys, key_id: str) -> None:
        raise PermanentError(f"deleting {key_id} was refused", hint="it needs iam:DeleteAccessKey")

    keyed.connections.before = AirflowRefusedError("Airflow refuses: no")
    with monkeypatch.context() as patched:
        patched.setattr(RouteUserKeys, "delete", refuse)
        with pytest.raises(
            PermanentError, match="is left, because deleting it failed.*aws iam delete-access-key"
        ) as left:
            keyed.hand_over()
    (key_id,) = keyed.ids()
    assert f"--user-name {keyed.user} --access-key-id {key_id}" in str(left.value)


def test_a_key_that_iam_neither_records_nor_deletes_nor_lists_is_named(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answer(403, body=b"<Response><Error><Code>AccessDenied</Code></Error></Response>")
    with fault_proxy_in_thread(keyed.site.endpoint) as proxy, monkeypatch.context() as patched:
        shop = json.loads(os.environ["AIRFLOW_CONN_AWS_SHOP"])
        shop["extra"]["endpoint_url"] = proxy.url
        patched.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(shop))
        keys = keyed.keys
        for action in (b"Action=TagUser", b"Action=DeleteAccessKey", b"Action=ListAccessKeys"):
            proxy.inject(refusal, matches=lambda request, action=action: action in request.body)
        with pytest.raises(AccessDeniedError, match=r"needs iam:TagUser. Access key .* is left") as left:
            keys.create("aws_orders")
    (key_id,) = keyed.ids()
    assert f"aws iam delete-access-key --user-name {keyed.user} --access-key-id {key_id}" in str(left.value)
    keyed.iam.delete_access_key(UserName=keyed.user, AccessKeyId=key_id)


def test_deprovisioning_deletes_the_keys_and_names_the_connections(keyed: Keyed) -> None:
    handed = keyed.hand_over()
    step = keyed.user_step()
    assert step["doing"] == "remove"
    assert f'with its access key {handed.key_id}. The Airflow connection "aws_orders" is left' in step["why"]
    assert keyed.user not in {one["UserName"] for one in keyed.iam.list_users()["Users"]}


def test_a_user_that_is_given_something_in_this_moment_stays_and_what_was_deleted_of_it_is_told(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed, remove = keyed.hand_over(), Holder.remove
    statement = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::theirs"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def give_and_remove(self: Holder) -> str:
        keyed.iam.put_user_policy(UserName=keyed.user, PolicyName="theirs", PolicyDocument=document)
        return remove(self)

    with monkeypatch.context() as patched:
        patched.setattr(Holder, "remove", give_and_remove)
        step = keyed.user_step()
    told = (step["doing"], step["is_done"], step["why"])
    assert told == ("leave", False, f"others gave it something; deleted of it: access key {handed.key_id}")
    keyed.iam.delete_user_policy(UserName=keyed.user, PolicyName="theirs")


def test_a_key_of_others_keeps_the_user_and_all_its_keys(keyed: Keyed) -> None:
    handed = keyed.hand_over()
    theirs = keyed.iam.create_access_key(UserName=keyed.user)["AccessKey"]["AccessKeyId"]
    step = keyed.user_step()
    assert (step["doing"], step["why"]) == ("leave", "it has access keys that others gave it")
    assert keyed.ids() == {handed.key_id, theirs}
    keyed.iam.delete_access_key(UserName=keyed.user, AccessKeyId=theirs)
    assert keyed.user_step()["doing"] == "remove"
