"""The Lambda function that rings for a route, and the bucket's permission to call it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from airflow_bridge.provision_calls import AwsAccount, ask, ask_if_there
from skyferry.errors import AccessDeniedError, PermanentError, RequestError
from skyferry.provisioning.forwarder_need import ForwarderNeed
from skyferry.provisioning.forwarder_package import code_digest, forwarder_package
from skyferry.provisioning.route_needs import MARK_TAG, mark_of
from skyferry.provisioning.surroundings_plan import Doing, Step

_MISSING = ("ResourceNotFoundException",)
_ACTION = "lambda:InvokeFunction"
_SERVICE = "s3.amazonaws.com"
_UNSAID = "Lambda does not say why"


class ForwarderFunction:
    """The function; a `skyferry.provisioning.surroundings_plan.Thing`.

    One that was not created for the route is never changed. Variables that somebody has added to ours stay.
    """

    def __init__(self, account: AwsAccount, need: ForwarderNeed) -> None:
        self._client = account.client("lambda")
        self._need = need
        self._package = forwarder_package()
        self.name = f"function {need.name}"

    def plan(self) -> Step:
        """Look at the function.

        Raises:
            RequestError: There is one of that name which was not created for the route.
            PermanentError: It is the route's, and does not work.
            AccessDeniedError: Its tags or variables cannot be read.
        """
        found = self._found()
        if found is None:
            why = f"it is missing; created in {self._need.region}, and calls {self._need.settings.airflow_url}"
            return Step(thing=self.name, doing=Doing.CREATE, why=why)
        if not self._is_own(found):
            raise RequestError(
                f"{self.name} exists, and was not created for this route; nothing was changed",
                hint="remove or rename that function, or rename the route",
            )
        self._check_works(found["Configuration"])
        missing = [name for name, _ in self._to_set(found["Configuration"])]
        if self._has_other_code(found):
            missing.insert(0, "code")
        if missing:
            return Step(thing=self.name, doing=Doing.CHANGE, why=f"other than wanted: {', '.join(missing)}")
        return Step(thing=self.name, doing=Doing.KEEP, why="it is there, with this code and these settings")

    def provide(self) -> str:
        """Create the function, or give it the code and the settings it has not."""
        found = self._found()
        if found is None:
            self._create()
            return ""
        if self._has_other_code(found):
            self._update("code", self._client.update_function_code, ZipFile=self._package)
        settings = dict(self._to_set(found["Configuration"]))
        if settings:
            self._update("settings", self._client.update_function_configuration, **settings)
        return ""

    def plan_removal(self) -> Step:
        """Look whether the function may go."""
        found = self._found()
        if found is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if not self._is_own(found):
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was not created for this route")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route")

    def remove(self) -> str:
        """Delete the function."""
        ask(
            self._client.delete_function,
            f"deleting {self.name}",
            needs="lambda:DeleteFunction",
            FunctionName=self._need.name,
        )
        return ""

    def _create(self) -> None:
        ask(
            self._client.create_function,
            f"creating {self.name}",
            needs=f"lambda:CreateFunction, lambda:TagResource, and iam:PassRole for {self._need.settings.role}",
            FunctionName=self._need.name,
            Description=f"Rings Airflow for the route {self._need.route_id}; made by Skyferry",
            Code={"ZipFile": self._package},
            Environment={"Variables": self._need.environment},
            Tags={MARK_TAG: self._need.route_id},
            **self._need.configuration,
        )
        self._await("function_active_v2")

    def _update(self, what: str, call: Any, **values: Any) -> None:
        action, needs = (
            f"changing the {what} of {self.name}",
            "lambda:UpdateFunctionCode and UpdateFunctionConfiguration",
        )
        ask(call, action, needs=needs, FunctionName=self._need.name, **values)
        self._await("function_updated_v2")

    def _await(self, state: str) -> None:
        # Until then Lambda refuses the next change, and S3 the notification.
        ask(self._wait, f"waiting for {self.name}", needs="lambda:GetFunction", state=state)

    def _wait(self, *, state: str) -> None:
        try:
            self._client.get_waiter(state).wait(FunctionName=self._need.name)
        except WaiterError as error:
            if "Error" in error.last_response:
                raise ClientError(error.last_response, "GetFunction") from error
            found = error.last_response.get("Configuration", {})
            self._check_works(found)
            if found.get("LastUpdateStatus") == "Failed":
                why = found.get("LastUpdateStatusReason", _UNSAID)
                raise PermanentError(f"{self.name} did not take the change: {why}", hint="mend that") from error
            raise

    def _check_works(self, found: dict[str, Any]) -> None:
        if found.get("State") == "Failed":
            raise PermanentError(
                f"{self.name} is there, and does not work: {found.get('StateReason', _UNSAID)}",
                hint=f"mend that, delete it (aws lambda delete-function --function-name {self._need.name}), and run"
                " this again",
            )

    def _found(self) -> dict[str, Any] | None:
        return ask_if_there(
            self._client.get_function,
            f"looking at {self.name}",
            needs="lambda:GetFunction",
            absent=_MISSING,
            FunctionName=self._need.name,
        )

    def _is_own(self, found: dict[str, Any]) -> bool:
        # Asked for by themselves: without the right to see them, a look at the function leaves them out.
        answer = ask(
            self._client.list_tags,
            f"reading the tags of {self.name}",
            needs="lambda:ListTags",
            Resource=found["Configuration"]["FunctionArn"],
        )
        return bool(answer.get("Tags", {}).get(MARK_TAG) == self._need.route_id)

    def _has_other_code(self, found: dict[str, Any]) -> bool:
        return bool(found["Configuration"]["CodeSha256"] != code_digest(self._package))

    def _to_set(self, found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the settings that are not as wanted; Lambda answers with more than it is given."""
        for name, wanted in self._need.configuration.items():
            if not _holds(found.get(name), wanted):
                yield name, wanted
        environment = found.get("Environment", {})
        if "Error" in environment:
            # To write ours alone would delete those of others.
            raise AccessDeniedError(
                f"the variables of {self.name} cannot be read ({environment['Error'].get('ErrorCode', _UNSAID)})",
                hint="it needs kms:Decrypt for the key that encrypts them",
            )
        variables = environment.get("Variables", {})
        if not _holds(variables, self._need.environment):
            yield "Environment", {"Variables": {**variables, **self._need.environment}}


class ForwarderPermission:
    """What lets the one bucket, of one account, call the function; a `Thing`."""

    def __init__(self, account: AwsAccount, need: ForwarderNeed, *, bucket_arn: str) -> None:
        self._client = account.client("lambda")
        self._need = need
        self._bucket_arn = bucket_arn
        self._id = mark_of(need.route_id)
        self.name = f"permission of function {need.name}"

    def plan(self) -> Step:
        """Look at the function's policy."""
        found = self._found()
        if found is None:
            return Step(thing=self.name, doing=Doing.CREATE, why=f"{self._bucket_arn} may not call the function")
        if not self._is_as_wanted(found):
            return Step(thing=self.name, doing=Doing.CHANGE, why=f"it is not for {self._bucket_arn} alone")
        return Step(thing=self.name, doing=Doing.KEEP, why="the bucket may call the function")

    def provide(self) -> str:
        """Allow the bucket to call the function."""
        if self._found() is not None:
            self._take_away()
        ask(
            self._client.add_permission,
            f"adding the {self.name}",
            needs="lambda:AddPermission",
            FunctionName=self._need.name,
            StatementId=self._id,
            Action=_ACTION,
            Principal=_SERVICE,
            SourceArn=self._bucket_arn,
            SourceAccount=self._need.account,
        )
        return ""

    def plan_removal(self) -> Step:
        """Look whether the permission is there."""
        if self._found() is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        return Step(thing=self.name, doing=Doing.REMOVE, why=f"statement {self._id} is this route's")

    def remove(self) -> str:
        """Take the permission away."""
        self._take_away()
        return ""

    def _take_away(self) -> None:
        ask_if_there(
            self._client.remove_permission,
            f"removing the {self.name}",
            needs="lambda:RemovePermission",
            absent=_MISSING,
            FunctionName=self._need.name,
            StatementId=self._id,
        )

    def _found(self) -> dict[str, Any] | None:
        answer = ask_if_there(
            self._client.get_policy,
            f"looking at the {self.name}",
            needs="lambda:GetPolicy",
            absent=_MISSING,
            FunctionName=self._need.name,
        )
        statements = json.loads(answer["Policy"])["Statement"] if answer else []
        return next((one for one in statements if one.get("Sid") == self._id), None)

    def _is_as_wanted(self, found: dict[str, Any]) -> bool:
        condition = found.get("Condition", {})
        return (
            found.get("Principal") == {"Service": _SERVICE}
            and found.get("Action") == _ACTION
            and condition.get("ArnLike") == {"AWS:SourceArn": self._bucket_arn}
            and condition.get("StringEquals") == {"AWS:SourceAccount": self._need.account}
        )


def _holds(found: Any, wanted: Any) -> bool:
    """Whether a setting is as wanted, whatever else Lambda says about it; nothing is the same as empty."""
    if isinstance(wanted, dict):
        return all(_holds((found or {}).get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return sorted(found or []) == sorted(wanted)
    return bool(found == wanted)
