"""An API Gateway in front of `POST /transfer/v1/events`: the API, a usage plan with a throttle, and a key.

The key is made by AWS, and its value read by nobody here: whoever may ask AWS for it, can. AWS sends it along all the
same with answers about keys, so those are kept out of the clients' own debug log.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from airflow_bridge.provision_calls import TALKATIVE, AwsAccount, ask, ask_if_there
from airflow_bridge.silenced_loggers import silenced
from skyferry.errors import PermanentError
from skyferry.provisioning.route_needs import MARK_TAG, partition_of
from skyferry.provisioning.settings import Gateway
from skyferry.provisioning.surroundings_plan import Doing, Step

STAGE = "v1"
_PART = "events"
_PATH = f"/{_PART}"
_MISSING = ("NotFoundException",)
_TIMEOUT_MS = 29_000
"""The longest API Gateway waits for an answer unless its quota is raised."""


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """What a route has at API Gateway: found by name and tag, since names there are not unique."""

    account: AwsAccount
    route_id: str
    settings: Gateway

    @property
    def client(self) -> Any:
        """Of API Gateway."""
        return self.account.client("apigateway")

    @property
    def name(self) -> str:
        """Of the API, the usage plan and the key."""
        return f"skyferry-{self.route_id}"

    @property
    def target(self) -> str:
        """Where requests are passed on to."""
        return f"{self.settings.airflow_url.rstrip('/')}/transfer/v1/events"

    def find(self, operation: str, what: str) -> dict[str, Any] | None:
        """Return the route's own API, plan or key; None if there is none."""
        return next(iter(self.find_all(operation, what)), None)

    def find_all(self, operation: str, what: str) -> list[dict[str, Any]]:
        """Return all of them: a request to create one, sent again because its answer was lost, may have made two.

        Args:
            operation: That lists them, as `get_rest_apis`.
            what: For messages.
        """
        pages = self.client.get_paginator(operation).paginate()
        with silenced(TALKATIVE):
            answer = ask(pages.build_full_result, f"looking for the {what} {self.name}", needs="apigateway:GET")
        own = {MARK_TAG: self.route_id}
        found = [one for one in answer.get("items", ()) if one.get("name") == self.name]
        return [one for one in found if own.items() <= one.get("tags", {}).items()]

    def api_id(self) -> str:
        """Return the id of the route's API.

        Raises:
            PermanentError: There is none.
        """
        found = self.find("get_rest_apis", "API")
        if found is None:
            raise PermanentError(f"the API {self.name} is gone", hint="run it again")
        return str(found["id"])


class GatewayApi:
    """The API with its one method, deployed; a `skyferry.provisioning.surroundings_plan.Thing`."""

    def __init__(self, access: GatewayAccess) -> None:
        self._access = access
        self._client = access.client
        self.name = f"API {access.name}"

    def plan(self) -> Step:
        """Look at the API."""
        found = self._found()
        if found is None:
            why = f"it is missing; passes POST {_PATH} on to {self._access.target}, for those with a key"
            return Step(thing=self.name, doing=Doing.CREATE, why=why)
        if not self._is_deployed(found["id"]):
            why = f"it does not pass POST {_PATH} on to {self._access.target}, for those with a key"
            return Step(thing=self.name, doing=Doing.CHANGE, why=why)
        return Step(thing=self.name, doing=Doing.KEEP, why=f"it is there: POST {self._address(found['id'])}")

    def provide(self) -> str:
        """Create what is missing of the API, and deploy it; returns its address."""
        found = self._found() or self._ask(
            "creating",
            self._client.create_rest_api,
            name=self._access.name,
            endpointConfiguration={"types": ["REGIONAL"]},
            tags={MARK_TAG: self._access.route_id},
        )
        api_id = str(found["id"])
        where = {"restApiId": api_id, "resourceId": self._resource(api_id), "httpMethod": "POST"}
        method = self._ask_if_there(self._client.get_method, **where)
        if method is not None and not method.get("apiKeyRequired"):
            self._ask("changing", self._client.delete_method, **where)
            method = None
        if method is None:
            self._ask("changing", self._client.put_method, **where, authorizationType="NONE", apiKeyRequired=True)
        self._ask("changing", self._client.put_integration, **where, **self._integration())
        self._ask(
            "deploying",
            self._client.create_deployment,
            restApiId=api_id,
            stageName=STAGE,
            description=self._digest(),
        )
        return f"its address: POST {self._address(api_id)}"

    def plan_removal(self) -> Step:
        """Look whether the API is there."""
        if self._found() is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route")

    def remove(self) -> str:
        """Delete the API with all that is in it."""
        for found in self._access.find_all("get_rest_apis", "API"):
            self._ask("deleting", self._client.delete_rest_api, restApiId=found["id"])
        return ""

    def _found(self) -> dict[str, Any] | None:
        return self._access.find("get_rest_apis", "API")

    def _resource(self, api_id: str) -> str:
        """Return the id of the resource of the path, created if it is missing."""
        paths = self._resources(api_id)
        if _PATH in paths:
            return paths[_PATH]
        create = self._client.create_resource
        made = self._ask("changing", create, restApiId=api_id, parentId=paths["/"], pathPart=_PART)
        return str(made["id"])

    def _resources(self, api_id: str) -> dict[str, str]:
        pages = self._client.get_paginator("get_resources").paginate(restApiId=api_id)
        answer = self._ask("looking at", pages.build_full_result)
        return {one["path"]: str(one["id"]) for one in answer["items"]}

    def _integration(self) -> dict[str, Any]:
        return {
            "type": "HTTP_PROXY",
            "integrationHttpMethod": "POST",
            "uri": self._access.target,
            "timeoutInMillis": _TIMEOUT_MS,
        }

    def _is_deployed(self, api_id: str) -> bool:
        """Whether the method is as wanted, and so was what was deployed last."""
        resource = self._resources(api_id).get(_PATH)
        if resource is None:
            return False
        method = self._ask_if_there(self._client.get_method, restApiId=api_id, resourceId=resource, httpMethod="POST")
        stage = self._ask_if_there(self._client.get_stage, restApiId=api_id, stageName=STAGE)
        if method is None or stage is None or not method.get("apiKeyRequired"):
            return False
        found = method.get("methodIntegration", {})
        deployment = self._ask_if_there(
            self._client.get_deployment, restApiId=api_id, deploymentId=stage.get("deploymentId", "")
        )
        return (
            (found.get("type"), found.get("uri")) == ("HTTP_PROXY", self._access.target)
            and deployment is not None
            and deployment.get("description") == self._digest()
        )

    def _digest(self) -> str:
        """Return what tells from a deployment what was deployed: what is set up counts only from then on."""
        text = json.dumps([STAGE, _PATH, self._integration()], sort_keys=True)
        return f"skyferry {hashlib.sha256(text.encode()).hexdigest()[:32]}"

    def _address(self, api_id: str) -> str:
        region = self._access.account.region
        domain = "amazonaws.com.cn" if partition_of(region) == "aws-cn" else "amazonaws.com"
        return f"https://{api_id}.execute-api.{region}.{domain}/{STAGE}{_PATH}"

    def _ask(self, doing: str, call: Any, **parameters: Any) -> Any:
        return ask(call, f"{doing} the {self.name}", needs=_NEEDS[doing], **parameters)

    def _ask_if_there(self, call: Any, **parameters: Any) -> Any | None:
        action = f"looking at the {self.name}"
        return ask_if_there(call, action, needs="apigateway:GET", absent=_MISSING, **parameters)


_NEEDS = {
    "looking at": "apigateway:GET",
    "creating": "apigateway:POST, and apigateway:PUT for its tag",
    "changing": "apigateway:POST, apigateway:PUT, apigateway:PATCH and apigateway:DELETE",
    "deploying": "apigateway:POST",
    "deleting": "apigateway:DELETE",
}


class GatewayPlan:
    """The usage plan that throttles the API; a `Thing`."""

    def __init__(self, access: GatewayAccess) -> None:
        self._access = access
        self._client = access.client
        self.name = f"usage plan {access.name}"
        self._throttle = {"rateLimit": access.settings.requests_per_second, "burstLimit": access.settings.burst}

    def plan(self) -> Step:
        """Look at the plan."""
        found = self._found()
        limits = f"{self._throttle['rateLimit']:g} requests a second, {self._throttle['burstLimit']} at once"
        if found is None:
            return Step(thing=self.name, doing=Doing.CREATE, why=f"it is missing; {limits}")
        api = self._access.find("get_rest_apis", "API")
        if api is None or self._changes(found, api["id"]):
            return Step(thing=self.name, doing=Doing.CHANGE, why=f"it is not for this API with {limits}")
        return Step(thing=self.name, doing=Doing.KEEP, why=limits)

    def provide(self) -> str:
        """Create the plan, or give it the API and the throttle it has not."""
        found = self._found()
        if found is None:
            ask(
                self._client.create_usage_plan,
                f"creating the {self.name}",
                needs=_NEEDS["creating"],
                name=self._access.name,
                apiStages=[{"apiId": self._access.api_id(), "stage": STAGE}],
                throttle=self._throttle,
                tags={MARK_TAG: self._access.route_id},
            )
        else:
            self._update(found, self._changes(found, self._access.api_id()))
        return ""

    def plan_removal(self) -> Step:
        """Look whether the plan is there."""
        if self._found() is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route")

    def remove(self) -> str:
        """Delete the plan, which AWS does only when no stage is in it."""
        for found in self._access.find_all("get_usage_plans", "usage plan"):
            stages = [f"{one['apiId']}:{one['stage']}" for one in found.get("apiStages", ())]
            self._update(found, [{"op": "remove", "path": "/apiStages", "value": stage} for stage in stages])
            delete = self._client.delete_usage_plan
            ask(delete, f"deleting the {self.name}", needs=_NEEDS["deleting"], usagePlanId=found["id"])
        return ""

    def _found(self) -> dict[str, Any] | None:
        return self._access.find("get_usage_plans", "usage plan")

    def _changes(self, found: dict[str, Any], api_id: str) -> list[dict[str, str]]:
        """Return what has to be done to the plan."""
        changes = [
            {"op": "replace", "path": f"/throttle/{name}", "value": f"{wanted:.15g}"}
            for name, wanted in self._throttle.items()
            if found.get("throttle", {}).get(name) != wanted
        ]
        if {"apiId": api_id, "stage": STAGE} not in [_stage(one) for one in found.get("apiStages", ())]:
            changes.append({"op": "add", "path": "/apiStages", "value": f"{api_id}:{STAGE}"})
        return changes

    def _update(self, found: dict[str, Any], operations: list[dict[str, str]]) -> None:
        if operations:
            ask(
                self._client.update_usage_plan,
                f"changing the {self.name}",
                needs=_NEEDS["changing"],
                usagePlanId=found["id"],
                patchOperations=operations,
            )


def _stage(found: dict[str, Any]) -> dict[str, str]:
    """Return which stage of which API an entry of a plan is for; it may hold a throttle of its own, too."""
    return {"apiId": found["apiId"], "stage": found["stage"]}


class GatewayKey:
    """The key of those who may call the API; a `Thing`."""

    def __init__(self, access: GatewayAccess) -> None:
        self._access = access
        self._client = access.client
        self.name = f"API key {access.name}"

    def plan(self) -> Step:
        """Look at the key."""
        how = f"shown by: aws apigateway get-api-keys --name-query {self._access.name} --include-values"
        found = self._found()
        if found is None:
            return Step(thing=self.name, doing=Doing.CREATE, why=f"it is missing; {how}")
        if not self._is_in_plan(found):
            return Step(thing=self.name, doing=Doing.CHANGE, why="it is not in the usage plan")
        return Step(thing=self.name, doing=Doing.KEEP, why=how)

    def provide(self) -> str:
        """Create the key and put it into the plan."""
        with silenced(TALKATIVE):
            found = self._found() or ask(
                self._client.create_api_key,
                f"creating the {self.name}",
                needs=_NEEDS["creating"],
                name=self._access.name,
                enabled=True,
                tags={MARK_TAG: self._access.route_id},
            )
            plan = self._plan()
            if plan is None:
                raise PermanentError(f"the usage plan {self._access.name} is gone", hint="run it again")
            ask(
                self._client.create_usage_plan_key,
                f"putting the {self.name} into its usage plan",
                needs=_NEEDS["changing"],
                usagePlanId=plan["id"],
                keyId=found["id"],
                keyType="API_KEY",
            )
        return ""

    def plan_removal(self) -> Step:
        """Look whether the key is there."""
        if self._found() is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route; who has it is locked out")

    def remove(self) -> str:
        """Delete the key."""
        delete = self._client.delete_api_key
        for found in self._access.find_all("get_api_keys", "API key"):
            ask(delete, f"deleting the {self.name}", needs=_NEEDS["deleting"], apiKey=found["id"])
        return ""

    def _found(self) -> dict[str, Any] | None:
        return self._access.find("get_api_keys", "API key")

    def _plan(self) -> dict[str, Any] | None:
        return self._access.find("get_usage_plans", "usage plan")

    def _is_in_plan(self, found: dict[str, Any]) -> bool:
        plan = self._plan()
        if plan is None:
            return False
        pages = self._client.get_paginator("get_usage_plan_keys").paginate(usagePlanId=plan["id"])
        with silenced(TALKATIVE):
            answer = ask(
                pages.build_full_result, f"looking into the usage plan {self._access.name}", needs="apigateway:GET"
            )
        return any(one["id"] == found["id"] for one in answer.get("items", ()))
