"""Who signs in for a route on AWS: a policy with exactly its rights, and the user, group or role that has it.

No access key is made here, in a task: `airflow_bridge.provision_keys` does it for the command, and
docs/adr/0022-provisioning.md says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_bridge.provision_calls import AwsAccount, ask, ask_if_there
from airflow_bridge.provision_keys import RouteUserKeys
from airflow_bridge.provision_record import CreationRecord
from skyferry.errors import RequestError
from skyferry.provisioning.identity import Identity
from skyferry.provisioning.route_needs import MARK_TAG
from skyferry.provisioning.surroundings_plan import Doing, Step, Thing

_MISSING = ("NoSuchEntity",)
_IN_USE = ("DeleteConflict",)
_MAX_VERSIONS = 5
"""IAM keeps no more of a policy: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityNeed:
    """What is to be made for one route.

    Attributes:
        policy_arn: Of the policy, whether or not it is there.
        document: The route's rights.
        used_by: Other routes that name the same user, group or role.
    """

    route_id: str
    settings: Identity
    policy_arn: str
    document: dict[str, Any]
    used_by: tuple[str, ...]


def identity_things(account: AwsAccount, need: IdentityNeed, record: CreationRecord) -> Iterator[Thing]:
    """Yield policy, holders and attachment in the order in which they are provided."""
    settings = need.settings
    yield RightsPolicy(account, need)
    if settings.group:
        yield Holder(account, need, record, kind="group", name=settings.group)
    kind, name = ("user", settings.user) if settings.user else ("role", settings.role)
    yield Holder(account, need, record, kind=kind, name=name)
    if settings.group:
        yield Membership(account, need, record)
        kind, name = "group", settings.group
    yield Attachment(account, need, kind=kind, name=name)


class RightsPolicy:
    """The IAM policy with a route's rights; a `skyferry.provisioning.surroundings_plan.Thing`."""

    def __init__(self, account: AwsAccount, need: IdentityNeed) -> None:
        self._client = account.client("iam")
        self._need = need
        self._policy_name = need.policy_arn.rpartition("/")[2]
        self.name = f"IAM policy {self._policy_name}"

    def plan(self) -> Step:
        """Look at the policy.

        Raises:
            RequestError: Somebody else made one of this name: its rights are not ours to give.
        """
        found = self._found()
        if found is None:
            return Step(thing=self.name, doing=Doing.CREATE, why="it is missing; it has the rights of the route")
        if not self._is_marked():
            raise RequestError(
                f"{self.name} is there, and was not created for this route; nothing was changed",
                hint="delete it, or give the route another id",
            )
        if self._document(found) != self._need.document:
            return Step(thing=self.name, doing=Doing.CHANGE, why="the route needs other rights than it has")
        return Step(thing=self.name, doing=Doing.KEEP, why="it is there")

    def provide(self) -> str:
        """Create it, or give it the rights of now."""
        text = json.dumps(self._need.document)
        if self._found() is None:
            ask(
                self._client.create_policy,
                f"creating {self.name}",
                needs="iam:CreatePolicy and iam:TagPolicy",
                PolicyName=self._policy_name,
                Path="/skyferry/",
                PolicyDocument=text,
                Tags=[{"Key": MARK_TAG, "Value": self._need.route_id}],
            )
            return ""
        versions = self._versions()
        if len(versions) >= _MAX_VERSIONS:
            self._delete_version(versions[-1])
        ask(
            self._client.create_policy_version,
            f"changing {self.name}",
            needs="iam:CreatePolicyVersion",
            PolicyArn=self._need.policy_arn,
            PolicyDocument=text,
            SetAsDefault=True,
        )
        return ""

    def plan_removal(self) -> Step:
        """Look whether it may go: not while somebody else has it."""
        if self._found() is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if not self._is_marked():
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was not created for this route")
        settings = self._need.settings
        others = self._holders() - {settings.group or settings.user or settings.role}
        if others:
            return Step(thing=self.name, doing=Doing.LEAVE, why=f"{', '.join(sorted(others))} has it too")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route")

    def remove(self) -> str:
        """Delete it with its versions, unless somebody has it."""
        holders = self._holders()
        if holders:
            return f"{', '.join(sorted(holders))} has it by now"
        for version in self._versions():
            if not version["IsDefaultVersion"]:
                self._delete_version(version)
        ask(
            self._client.delete_policy,
            f"deleting {self.name}",
            needs="iam:DeletePolicy",
            PolicyArn=self._need.policy_arn,
        )
        return ""

    def _found(self) -> dict[str, Any] | None:
        answer = ask_if_there(
            self._client.get_policy,
            f"looking at {self.name}",
            needs="iam:GetPolicy",
            absent=_MISSING,
            PolicyArn=self._need.policy_arn,
        )
        return None if answer is None else dict(answer["Policy"])

    def _document(self, found: dict[str, Any]) -> Any:
        answer = ask(
            self._client.get_policy_version,
            f"reading {self.name}",
            needs="iam:GetPolicyVersion",
            PolicyArn=self._need.policy_arn,
            VersionId=found["DefaultVersionId"],
        )
        return answer["PolicyVersion"]["Document"]

    def _is_marked(self) -> bool:
        answer = ask(
            self._client.list_policy_tags,
            f"reading the tags of {self.name}",
            needs="iam:ListPolicyTags",
            PolicyArn=self._need.policy_arn,
        )
        return {"Key": MARK_TAG, "Value": self._need.route_id} in answer["Tags"]

    def _versions(self) -> list[dict[str, Any]]:
        """Return its versions, the newest first and the default one before all others."""
        answer = ask(
            self._client.list_policy_versions,
            f"looking at the versions of {self.name}",
            needs="iam:ListPolicyVersions",
            PolicyArn=self._need.policy_arn,
        )
        newest_first = sorted(answer["Versions"], key=lambda one: int(one["VersionId"][1:]), reverse=True)
        return sorted(newest_first, key=lambda one: not one["IsDefaultVersion"])

    def _delete_version(self, version: dict[str, Any]) -> None:
        ask(
            self._client.delete_policy_version,
            f"deleting version {version['VersionId']} of {self.name}",
            needs="iam:DeletePolicyVersion",
            PolicyArn=self._need.policy_arn,
            VersionId=version["VersionId"],
        )

    def _holders(self) -> set[str]:
        answer = ask_if_there(
            self._client.list_entities_for_policy,
            f"looking who has {self.name}",
            needs="iam:ListEntitiesForPolicy",
            absent=_MISSING,
            PolicyArn=self._need.policy_arn,
        )
        kinds = {"PolicyUsers": "UserName", "PolicyGroups": "GroupName", "PolicyRoles": "RoleName"}
        return {one[name] for kind, name in kinds.items() for one in (answer or {}).get(kind, [])}


class Holder:
    """A user, a group or a role; a `Thing`. One that was there before is only given the policy, and is not changed.

    Args:
        record: Groups have no tags.
        kind: `user`, `group` or `role`.
    """

    def __init__(
        self, account: AwsAccount, need: IdentityNeed, record: CreationRecord, *, kind: str, name: str
    ) -> None:
        self._client = account.client("iam")
        self._keys = RouteUserKeys(account, user=name, route_id=need.route_id) if kind == "user" else None
        self._need = need
        self._record = record
        self._kind = kind
        self._names = {f"{kind.title()}Name": name}
        self.name = f"IAM {kind} {name}"

    def plan(self) -> Step:
        """Look whether it is there, and whether a role that was created for the route trusts those it is to trust."""
        found = self._found()
        if found is None:
            return Step(thing=self.name, doing=Doing.CREATE, why="it is missing")
        wanted = set(self._need.settings.trusted)
        trusted = _trusted_by(found["Role"]) if self._kind == "role" else wanted
        if trusted == wanted or not self._is_ours():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is there")
        if trusted is None:
            return Step(thing=self.name, doing=Doing.LEAVE, why="others have changed whom it trusts")
        why = f"it trusts {', '.join(sorted(trusted))}; the route names {', '.join(sorted(wanted))}"
        return Step(thing=self.name, doing=Doing.CHANGE, why=why)

    def provide(self) -> str:
        """Create it; nobody can sign in as a new user before somebody makes a key. A role of ours trusts others."""
        if self._kind == "role" and self._found() is not None and self._is_ours():
            ask(
                self._client.update_assume_role_policy,
                f"changing whom {self.name} trusts",
                needs="iam:UpdateAssumeRolePolicy",
                PolicyDocument=json.dumps(_trust_policy(self._need.settings.trusted)),
                **self._names,
            )
            return ""
        more: dict[str, Any] = {}
        if self._kind != "group":
            more["Tags"] = [{"Key": MARK_TAG, "Value": self._need.route_id}]
        if self._kind == "role":
            more["AssumeRolePolicyDocument"] = json.dumps(_trust_policy(self._need.settings.trusted))
        word = self._kind.title()
        tagging = "" if self._kind == "group" else f" and iam:Tag{word}"
        ask(
            self._call("create_{}"),
            f"creating {self.name}",
            needs=f"iam:Create{word}{tagging}",
            **self._names,
            **more,
        )
        if self._kind == "group":
            self._record.add(self.name)
        return ""

    def plan_removal(self) -> Step:
        """Look whether it may go: not while others gave it something, or use it."""
        found = self._found()
        if found is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if not self._is_ours():
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was not created for this route")
        if self._need.used_by:
            return Step(thing=self.name, doing=Doing.LEAVE, why=f"used by {', '.join(self._need.used_by)} too")
        held = self._held(found)
        if held:
            return Step(thing=self.name, doing=Doing.LEAVE, why=f"it has {held} that others gave it")
        return Step(thing=self.name, doing=Doing.REMOVE, why=f"it was created for this route{self._keys_text()}")

    def remove(self) -> str:
        """Delete it, with the access keys that were made for connections; IAM itself refuses while it has more."""
        keys = self._own_keys()
        for key_id in keys:
            assert self._keys is not None
            self._keys.delete(key_id)
        done = ask_if_there(
            self._call("delete_{}"),
            f"deleting {self.name}",
            needs=f"iam:Delete{self._kind.title()}",
            absent=_IN_USE,
            **self._names,
        )
        if done is None:
            return "others gave it something" + (f"; deleted of it: access key {' and '.join(keys)}" if keys else "")
        if self._kind == "group":
            self._record.drop(self.name)
        return ""

    def _found(self) -> dict[str, Any] | None:
        answer = ask_if_there(
            self._call("get_{}"),
            f"looking at {self.name}",
            needs=f"iam:Get{self._kind.title()}",
            absent=_MISSING,
            **self._names,
        )
        return None if answer is None else dict(answer)

    def _is_ours(self) -> bool:
        if self._kind == "group":
            return self._record.holds(self.name)
        answer = ask(
            self._call("list_{}_tags"),
            f"reading the tags of {self.name}",
            needs=f"iam:List{self._kind.title()}Tags",
            **self._names,
        )
        return {"Key": MARK_TAG, "Value": self._need.route_id} in answer["Tags"]

    def _own_keys(self) -> dict[str, str]:
        """Return the access keys that were made for connections: id to connection."""
        known = self._keys.known() if self._keys is not None else {}
        return {key_id: conn_id for key_id, conn_id in known.items() if conn_id}

    def _keys_text(self) -> str:
        return "".join(
            f'; with its access key {key_id}. The Airflow connection "{conn_id}" is left: delete it yourself'
            for key_id, conn_id in self._own_keys().items()
        )

    def _held(self, found: dict[str, Any]) -> str:
        """Return what others gave it, in words; empty for nothing."""
        if self._keys is not None and not all(self._keys.known().values()):
            return "access keys"
        if self._kind == "group" and {one["UserName"] for one in found["Users"]} - {self._need.settings.user}:
            return "members"
        word = self._kind.title()
        attached = self._list(f"list_attached_{self._kind}_policies", f"iam:ListAttached{word}Policies")
        own = self._need.policy_arn
        is_other = any(one["PolicyArn"] != own for one in attached["AttachedPolicies"])
        inline = self._list(f"list_{self._kind}_policies", f"iam:List{word}Policies")["PolicyNames"]
        return "policies" if is_other or inline else ""

    def _list(self, call: str, needs: str) -> Any:
        return ask(getattr(self._client, call), f"looking at what {self.name} has", needs=needs, **self._names)

    def _call(self, pattern: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(self._client, pattern.format(self._kind))
        return call


def _trust_policy(trusted: Sequence[str]) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"AWS": list(trusted)}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _trusted_by(role: Mapping[str, Any]) -> set[str] | None:
    """Return whom a role trusts, by a policy as it is written here; None for any other policy."""
    document = role["AssumeRolePolicyDocument"]
    try:
        (statement,) = document["Statement"]
        named = statement["Principal"]["AWS"]
    except (LookupError, TypeError, ValueError):
        return None
    # IAM shows a single one without its list.
    trusted = [named] if isinstance(named, str) else named
    shown = {**document, "Statement": [{**statement, "Principal": {**statement["Principal"], "AWS": trusted}}]}
    return set(trusted) if shown == _trust_policy(trusted) else None


class Attachment:
    """That a user, group or role has the policy; a `Thing`."""

    def __init__(self, account: AwsAccount, need: IdentityNeed, *, kind: str, name: str) -> None:
        self._client = account.client("iam")
        self._arn = need.policy_arn
        self._kind = kind
        self._names = {f"{kind.title()}Name": name}
        self.name = f"rights of IAM {kind} {name}"

    def plan(self) -> Step:
        """Look whether it has the policy."""
        if self._is_there():
            return Step(thing=self.name, doing=Doing.KEEP, why="it has the policy")
        return Step(thing=self.name, doing=Doing.CREATE, why=f"it has not the policy {self._arn.rpartition('/')[2]}")

    def provide(self) -> str:
        """Attach the policy."""
        self._do("attach", "Attach")
        return ""

    def plan_removal(self) -> Step:
        """Look whether it has the policy."""
        if not self._is_there():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        return Step(thing=self.name, doing=Doing.REMOVE, why="the policy was created for this route")

    def remove(self) -> str:
        """Detach the policy, and no other."""
        self._do("detach", "Detach")
        return ""

    def _do(self, verb: str, word: str) -> None:
        ask(
            getattr(self._client, f"{verb}_{self._kind}_policy"),
            f"changing the {self.name}",
            needs=f"iam:{word}{self._kind.title()}Policy",
            PolicyArn=self._arn,
            **self._names,
        )

    def _is_there(self) -> bool:
        answer = ask_if_there(
            getattr(self._client, f"list_attached_{self._kind}_policies"),
            f"looking at the {self.name}",
            needs=f"iam:ListAttached{self._kind.title()}Policies",
            absent=_MISSING,
            **self._names,
        )
        return any(one["PolicyArn"] == self._arn for one in (answer or {}).get("AttachedPolicies", []))


class Membership:
    """That the user is in the group; a `Thing`. Only what was made here is removed, as the record says."""

    def __init__(self, account: AwsAccount, need: IdentityNeed, record: CreationRecord) -> None:
        self._client = account.client("iam")
        self._record = record
        self._user, self._group = need.settings.user, need.settings.group
        self.name = f"IAM user {self._user} in group {self._group}"

    def plan(self) -> Step:
        """Look whether it is."""
        if self._is_there():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is")
        return Step(thing=self.name, doing=Doing.CREATE, why="it is not")

    def provide(self) -> str:
        """Put the user into the group."""
        ask(
            self._client.add_user_to_group,
            f"adding {self.name}",
            needs="iam:AddUserToGroup",
            UserName=self._user,
            GroupName=self._group,
        )
        self._record.add(self.name)
        return ""

    def plan_removal(self) -> Step:
        """Look whether it is, and was made so here."""
        if not self._is_there():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is not any more")
        if not self._record.holds(self.name):
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was so before")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was made so for this route")

    def remove(self) -> str:
        """Take the user out of the group."""
        ask(
            self._client.remove_user_from_group,
            f"removing {self.name}",
            needs="iam:RemoveUserFromGroup",
            UserName=self._user,
            GroupName=self._group,
        )
        self._record.drop(self.name)
        return ""

    def _is_there(self) -> bool:
        answer = ask_if_there(
            self._client.list_groups_for_user,
            f"looking for {self.name}",
            needs="iam:ListGroupsForUser",
            absent=_MISSING,
            UserName=self._user,
        )
        return any(one["GroupName"] == self._group for one in (answer or {}).get("Groups", []))
