"""The DynamoDB table around a route that its receipts are written to as well."""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import WaiterError

from airflow_bridge.provision_calls import AwsAccount, NotOfferedError, ask, ask_if_there
from skyferry.errors import ConnectionLostError, RequestError
from skyferry.provisioning.route_needs import MARK_TAG, TableNeed
from skyferry.provisioning.surroundings_plan import Doing, Step
from skyferry.receipts_index.items import HASH_KEY, RANGE_KEY

_MISSING = ("ResourceNotFoundException",)
_NO_BACKUPS_YET = ("ContinuousBackupsUnavailableException",)
"""Of a table that takes items, for the first seconds of its life."""

_WAIT_SECONDS = 2.0
_MAX_WAITS = 60
_KEYS = ((HASH_KEY, "HASH"), (RANGE_KEY, "RANGE"))
_KEPT = "no receipt is ever removed"


class IndexTable:
    """The table of a route's index; a `skyferry.provisioning.surroundings_plan.Thing`.

    Charged by use, so that an idle one costs its storage only. One that was there before is never changed.

    Args:
        used_by: Other routes that write to it.
    """

    def __init__(self, need: TableNeed, *, route_id: str, used_by: tuple[str, ...]) -> None:
        account = AwsAccount(need.conn_id, named_by=f'index of route "{route_id}"', region=need.region)
        self._client = account.client("dynamodb")
        self._table = need.name
        self._route_id = route_id
        self._used_by = used_by
        self.name = f"DynamoDB table {need.name}"

    def plan(self) -> Step:
        """Look at the table.

        Raises:
            RequestError: It has other keys: it is a table for something else.
            ConnectionLostError: It is being deleted.
        """
        found = self._found()
        if found is None:
            why = f"it is missing; created in {self._client.meta.region_name}, charged by use"
            return Step(thing=self.name, doing=Doing.CREATE, why=why)
        if _is_going(found):
            raise ConnectionLostError(f"{self.name} is being deleted", hint="run it again in a minute")
        self._check_keys(found)
        if self._is_marked(found) and self._recovery() == "DISABLED":
            return Step(thing=self.name, doing=Doing.CHANGE, why="it has no point-in-time recovery")
        return Step(thing=self.name, doing=Doing.KEEP, why="it is there")

    def provide(self) -> str:
        """Create the table, wait until it takes items, and let it be restored to any second of the last 35 days."""
        if self._found() is None:
            ask(
                self._client.create_table,
                f"creating {self.name}",
                needs="dynamodb:CreateTable and dynamodb:TagResource",
                TableName=self._table,
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in _KEYS],
                KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in _KEYS],
                BillingMode="PAY_PER_REQUEST",
                Tags=[{"Key": MARK_TAG, "Value": self._route_id}],
            )
        self._wait()
        try:
            self._switch_on_recovery()
        except NotOfferedError as error:
            return str(error)
        return ""

    def _switch_on_recovery(self) -> None:
        for _ in range(_MAX_WAITS):
            answer = ask_if_there(
                self._client.update_continuous_backups,
                f"switching on point-in-time recovery of {self.name}",
                needs="dynamodb:UpdateContinuousBackups",
                absent=_NO_BACKUPS_YET,
                TableName=self._table,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
            if answer is not None:
                return
            time.sleep(_WAIT_SECONDS)
        raise ConnectionLostError(f"{self.name} is there and has no point-in-time recovery yet", hint="run it again")

    def plan_removal(self) -> Step:
        """Look whether the table may go."""
        found = self._found()
        if found is None or _is_going(found):
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone" if found is None else "it is being deleted")
        if not self._is_marked(found):
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was not created for this route")
        if self._used_by:
            return Step(thing=self.name, doing=Doing.LEAVE, why=f"used by {', '.join(self._used_by)} too")
        if self._holds_anything():
            return Step(thing=self.name, doing=Doing.LEAVE, why=f"it holds receipts; {_KEPT}")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route, and is empty")

    def remove(self) -> str:
        """Delete the table, unless something has come in this moment."""
        if self._holds_anything():
            return "receipts have come in this moment"
        ask(
            self._client.delete_table,
            f"deleting {self.name}",
            needs="dynamodb:DeleteTable",
            TableName=self._table,
        )
        return ""

    def _found(self) -> dict[str, Any] | None:
        answer = ask_if_there(
            self._client.describe_table,
            f"looking at {self.name}",
            needs="dynamodb:DescribeTable",
            absent=_MISSING,
            TableName=self._table,
        )
        return None if answer is None else dict(answer["Table"])

    def _check_keys(self, found: dict[str, Any]) -> None:
        types = {one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]}
        keys = tuple((one["AttributeName"], one["KeyType"]) for one in found["KeySchema"])
        if keys != _KEYS or any(types[name] != "S" for name, _ in _KEYS):
            raise RequestError(
                f"{self.name} has the keys {', '.join(name for name, _ in keys)}; expected {HASH_KEY} and {RANGE_KEY},"
                " both of type S; nothing was changed",
                hint="name another table in receipts_index, or leave its creation to transfer provision",
            )

    def _is_marked(self, found: dict[str, Any]) -> bool:
        pages = self._client.get_paginator("list_tags_of_resource").paginate(ResourceArn=found["TableArn"])
        answer = ask(pages.build_full_result, f"reading the tags of {self.name}", needs="dynamodb:ListTagsOfResource")
        return any(tag == {"Key": MARK_TAG, "Value": self._route_id} for tag in answer.get("Tags", []))

    def _recovery(self) -> str:
        """Return ENABLED or DISABLED; empty where point-in-time recovery is not offered."""
        try:
            answer = ask(
                self._client.describe_continuous_backups,
                f"looking at the backups of {self.name}",
                needs="dynamodb:DescribeContinuousBackups",
                TableName=self._table,
            )
        except NotOfferedError:
            return ""
        found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        return str(found.get("PointInTimeRecoveryStatus", ""))

    def _holds_anything(self) -> bool:
        answer = ask(
            self._client.scan,
            f"looking into {self.name}",
            needs="dynamodb:Scan",
            TableName=self._table,
            Limit=1,
            ConsistentRead=True,
        )
        return bool(answer["Items"])

    def _wait(self) -> None:
        try:
            self._client.get_waiter("table_exists").wait(
                TableName=self._table, WaiterConfig={"Delay": int(_WAIT_SECONDS), "MaxAttempts": _MAX_WAITS}
            )
        except WaiterError as error:
            raise ConnectionLostError(f"{self.name} is there and takes no items yet", hint="run it again") from error


def _is_going(found: dict[str, Any]) -> bool:
    return bool(found.get("TableStatus") == "DELETING")
