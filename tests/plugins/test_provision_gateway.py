"""The API Gateway of a route against moto: closed to those without a key, throttled, made once, and removed whole."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import pytest

from airflow_bridge.stage_failure import StageFailed
from operators.transfer_provision import ProvisionRouteOperator
from tests.faults.proxy import answer, fault_proxy_in_thread
from tests.plugins.test_provision_aws import REGION, Site, TaskInstance, site

__all__ = ["site"]

THINGS = ("API", "usage plan", "API key")
TARGET = "https://airflow.example.com/transfer/v1/events"


class GatewaySite:
    """A site whose route wants a gateway; the route's id is its own, since all of a region share a list."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.route = site.name
        self.client = site.client("apigateway")
        self.write()

    @property
    def name(self) -> str:
        return f"skyferry-{self.route}"

    def write(self, **gateway: Any) -> None:
        values = {"airflow_url": "https://airflow.example.com"} | gateway
        self.site.write(self.route, more=f"provision: {{gateway: {json.dumps(values)}}}")

    def settle(self, action: str = "provision", *, dry_run: bool = False, with_gateway: bool = True) -> dict[str, Any]:
        params = {"id": self.route, "action": action, "dry_run": dry_run, "with_gateway": with_gateway}
        return ProvisionRouteOperator(task_id="provision").execute({"params": params, "ti": TaskInstance()})

    def doings(self, found: dict[str, Any]) -> tuple[str, ...]:
        """What is done to API, plan and key."""
        doings = {step["thing"]: step["doing"] for step in found["steps"]}
        return tuple(doings.get(f"{thing} {self.name}", "") for thing in THINGS)

    def own(self, operation: str) -> list[dict[str, Any]]:
        found = getattr(self.client, operation)(limit=500)["items"]
        return [one for one in found if one["name"] == self.name]

    def everything(self) -> list[Any]:
        return [self.own(operation) for operation in ("get_rest_apis", "get_usage_plans", "get_api_keys")]

    def method(self) -> dict[str, Any]:
        (api,) = self.own("get_rest_apis")
        resources = self.client.get_resources(restApiId=api["id"])["items"]
        (resource,) = [one for one in resources if one["path"] == "/events"]
        return self.client.get_method(restApiId=api["id"], resourceId=resource["id"], httpMethod="POST")


@pytest.fixture
def place(site: Site) -> GatewaySite:
    (site.folder / "routes" / "orders.yaml").unlink()
    return GatewaySite(site)


def test_a_gateway_is_made_only_when_it_is_asked_for(place: GatewaySite) -> None:
    assert place.doings(place.settle(with_gateway=False)) == ("", "", "")
    assert place.doings(place.settle(dry_run=True)) == ("create", "create", "create")
    assert place.everything() == [[], [], []]


def test_the_gateway_wants_a_key_passes_on_and_throttles(place: GatewaySite) -> None:
    place.write(requests_per_second=2.5, burst=7)
    made = place.settle()
    method = place.method()
    assert (method["apiKeyRequired"], method["methodIntegration"]["type"]) == (True, "HTTP_PROXY")
    assert method["methodIntegration"]["uri"] == TARGET
    [[api], [plan], [key]] = place.everything()
    assert all(one["tags"] == {"skyferry:route": place.route} for one in (api, plan, key))
    assert plan["throttle"] == {"rateLimit": 2.5, "burstLimit": 7}
    assert [(one["apiId"], one["stage"]) for one in plan["apiStages"]] == [(api["id"], "v1")]
    assert [one["id"] for one in place.client.get_usage_plan_keys(usagePlanId=plan["id"])["items"]] == [key["id"]]
    (why,) = (step["why"] for step in made["steps"] if step["thing"].startswith("API skyferry"))
    assert f"https://{api['id']}.execute-api.{REGION}.amazonaws.com/v1/events" in why
    again = place.settle()
    assert place.doings(again) == ("keep", "keep", "keep")
    assert len(place.client.get_deployments(restApiId=api["id"])["items"]) == 1


def test_the_key_is_shown_nowhere_not_even_while_debugging(
    place: GatewaySite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="botocore")
    results = [place.settle(), place.settle(), place.settle("deprovision", dry_run=True)]
    shown = caplog.text
    [key] = place.own("get_api_keys")
    value = place.client.get_api_key(apiKey=key["id"], includeValue=True)["value"]
    assert value in caplog.text, "the look of this test itself is logged, so the log is one that debugs"
    assert "CreateApiKey" in shown
    assert value not in shown
    assert value not in json.dumps(results)


def test_what_is_other_than_wanted_is_changed_and_deployed(place: GatewaySite) -> None:
    place.settle()
    place.write(airflow_url="https://elsewhere.example.com/deployment/", requests_per_second=9, burst=90)
    assert place.doings(place.settle()) == ("change", "change", "keep")
    assert place.method()["methodIntegration"]["uri"] == "https://elsewhere.example.com/deployment/transfer/v1/events"
    [[api], [plan], _] = place.everything()
    assert plan["throttle"] == {"rateLimit": 9, "burstLimit": 90}
    assert len(place.client.get_deployments(restApiId=api["id"])["items"]) == 2
    assert place.doings(place.settle()) == ("keep", "keep", "keep")


def test_a_throttle_is_set_to_its_last_digit(place: GatewaySite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would be changed in each run; moto takes no fractions, so what is asked is looked at."""
    place.settle()
    place.write(requests_per_second=1234.5678)
    with fault_proxy_in_thread(place.site.endpoint) as proxy:
        aim_at(proxy.url, monkeypatch)
        proxy.inject(answer(200, body=b"{}"), method="PATCH", target_contains="/usageplans/")
        place.settle()
        (body,) = [one.body for one in proxy.requests if one.method == "PATCH"]
    (operation,) = json.loads(body)["patchOperations"]
    assert (operation["path"], operation["value"]) == ("/throttle/rateLimit", "1234.5678")


def test_a_method_that_was_opened_is_closed_again(place: GatewaySite) -> None:
    place.settle()
    (api,) = place.own("get_rest_apis")
    resources = place.client.get_resources(restApiId=api["id"])["items"]
    where = {"restApiId": api["id"], "resourceId": resources[-1]["id"], "httpMethod": "POST"}
    place.client.delete_method(**where)
    place.client.put_method(**where, authorizationType="NONE", apiKeyRequired=False)
    assert place.doings(place.settle()) == ("change", "keep", "keep")
    assert place.method()["apiKeyRequired"] is True


def test_a_key_that_was_lost_is_made_anew_and_an_api_too(place: GatewaySite) -> None:
    place.settle()
    [[api], _, [key]] = place.everything()
    place.client.delete_api_key(apiKey=key["id"])
    assert place.doings(place.settle()) == ("keep", "keep", "create")
    place.client.delete_rest_api(restApiId=api["id"])
    assert place.doings(place.settle()) == ("create", "change", "keep")
    assert place.doings(place.settle()) == ("keep", "keep", "keep")


def test_all_is_removed_and_what_others_have_of_the_same_name_stays(place: GatewaySite) -> None:
    theirs = place.client.create_rest_api(name=place.name, tags={"skyferry:route": "another"})
    place.settle()
    assert place.doings(place.settle("deprovision", with_gateway=False)) == ("remove", "remove", "remove")
    assert [[one["id"] for one in some] for some in place.everything()] == [[theirs["id"]], [], []]
    assert place.doings(place.settle("deprovision")) == ("keep", "keep", "keep")
    place.client.delete_rest_api(restApiId=theirs["id"])


def test_what_was_made_twice_because_an_answer_was_lost_is_removed_whole(place: GatewaySite) -> None:
    place.settle()
    more = {"name": place.name, "tags": {"skyferry:route": place.route}}
    for create in (place.client.create_rest_api, place.client.create_usage_plan, place.client.create_api_key):
        create(**more)
    assert [len(some) for some in place.everything()] == [2, 2, 2]
    assert place.doings(place.settle("deprovision")) == ("remove", "remove", "remove")
    assert place.everything() == [[], [], []]


def test_too_many_requests_are_no_refusal(place: GatewaySite, monkeypatch: pytest.MonkeyPatch) -> None:
    """API Gateway takes few requests that change something, and deletes one API in half a minute."""
    place.settle()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with fault_proxy_in_thread(place.site.endpoint) as proxy:
        aim_at(proxy.url, monkeypatch)
        slower = answer(429, headers={"x-amzn-ErrorType": "TooManyRequestsException"}, body=b'{"message": "no"}')
        proxy.inject(slower, method="DELETE", target_contains="/restapis/")
        with pytest.raises(StageFailed, match=f"deleting the API {place.name}: the store asks for fewer requests; run"):
            place.settle("deprovision")
        proxy.clear()
        assert place.doings(place.settle("deprovision")) == ("remove", "keep", "keep")


def test_a_plan_is_emptied_before_it_is_deleted(place: GatewaySite, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS deletes no plan that still has a stage; moto does, so what is asked is looked at."""
    with fault_proxy_in_thread(place.site.endpoint) as proxy:
        aim_at(proxy.url, monkeypatch)
        place.settle()
        proxy.clear()
        place.settle("deprovision")
        asked = [(one.method, one.body) for one in proxy.requests if one.target.startswith("/usageplans/")]
    (patch, body), *_, (delete, _) = [one for one in asked if one[0] != "GET"]
    assert (patch, delete) == ("PATCH", "DELETE")
    (operation,) = json.loads(body)["patchOperations"]
    assert (operation["op"], operation["path"]) == ("remove", "/apiStages")


def test_a_missing_permission_midway_says_what_exists_and_a_second_run_finishes(
    place: GatewaySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy_in_thread(place.site.endpoint) as proxy:
        aim_at(proxy.url, monkeypatch)
        refusal = answer(403, headers={"x-amzn-ErrorType": "AccessDeniedException"}, body=b'{"message": "no"}')
        proxy.inject(refusal, method="PUT", target_contains="/integration", times=1)
        with pytest.raises(StageFailed) as failed:
            place.settle()
        text = str(failed.value)
        assert f"changing the API {place.name} was refused (AccessDeniedException); it needs apigateway:POST" in text
        assert f"Not begun: usage plan {place.name}, API key {place.name}" in text
        assert place.doings(place.settle()) == ("change", "create", "create")
        assert place.doings(place.settle()) == ("keep", "keep", "keep")


def test_a_route_that_says_nothing_of_a_gateway_is_told(place: GatewaySite) -> None:
    place.site.write(place.route)
    with pytest.raises(StageFailed, match="says nothing about an API Gateway; set provision.gateway"):
        place.settle()


def aim_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = json.loads(os.environ["AIRFLOW_CONN_AWS_SHOP"])
    shop["extra"]["endpoint_url"] = url
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(shop))
