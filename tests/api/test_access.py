"""Nobody gets in without a login, and nobody gets to do here what Airflow does not let them do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import API, Clients, problem, token
from tests.local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

ANY_RUN = "/transfers/transfer__orders/manual__x"


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(method, path) for path, methods in document["paths"].items() for method in methods]


def test_every_operation_but_health_wants_a_login(clients: Clients) -> None:
    found = operations(clients.nobody.get("/openapi.json").json())
    assert ("get", "/health") in found
    assert len(found) > 10
    for method, path in found:
        if path == "/health":
            continue
        filled = path.format(route_id="orders", dag_id="transfer__orders", run_id="manual__x")
        answer = clients.nobody.request(method.upper(), filled)
        problem(answer, 401, "Unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        problem(
            clients.nobody.request(method.upper(), filled, headers={"Authorization": "Bearer a.b.c"}), 403, "Forbidden"
        )


def test_health_says_that_the_api_is_there_and_no_more(clients: Clients) -> None:
    assert set(clients.nobody.get("/health").raise_for_status().json()) == {"status", "version"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/transfers", {"parameters": {"id": "orders"}}),
        ("PUT", "/routes/mine", {"text": "x"}),
        ("PUT", "/routes/orders?replace=true", {"text": "x"}),
        ("DELETE", "/routes/orders", None),
    ],
)
def test_a_viewer_may_look_and_nothing_else(method: str, path: str, body: Any, clients: Clients) -> None:
    answer = clients.viewer.request(method, path, json=body)
    assert answer.status_code == 403, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    for readable in ("/routes", "/routes/orders", "/transfers", "/statistics"):
        clients.viewer.get(readable).raise_for_status()


def test_who_may_run_dags_may_still_not_write_routes(clients: Clients) -> None:
    found = problem(clients.user.put("/routes/mine", json={"text": "x"}), 403, "Forbidden")
    assert "permission to create connections" in found["detail"]
    problem(clients.user.delete("/routes/orders"), 403, "Forbidden")
    clients.user.get("/routes/orders").raise_for_status()


def test_the_session_of_the_web_ui_works_on_its_own_site_only(airflow_services: LocalAirflow) -> None:
    cookies = {"_token": token(airflow_services, "user")}
    with httpx.Client(base_url=airflow_services.url + API, cookies=cookies, timeout=60, trust_env=False) as client:
        client.get("/routes").raise_for_status()
        body = {"parameters": {"id": "no_such_route"}}
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
        ):
            problem(client.post("/transfers", json=body, headers=headers), 403, "Forbidden")
        own = {"Sec-Fetch-Site": "same-origin", "Origin": airflow_services.url}
        problem(client.post("/transfers", json=body, headers=own), 404, "UnknownRouteError")


def test_the_token_is_sent_to_this_server_whatever_the_caller_says_it_is_called(clients: Clients) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    assert clients.viewer.get("/routes", headers=headers).raise_for_status().json()["total"]


def test_the_name_of_the_session_is_airflow_s() -> None:
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN

    from transfer_api.api_caller import COOKIE_NAME

    assert COOKIE_NAME == COOKIE_NAME_JWT_TOKEN


def test_what_is_wrong_with_a_request_is_said_in_words(clients: Clients) -> None:
    def refused(answer: httpx.Response) -> str:
        return str(problem(answer, 422, "RequestError")["detail"])

    as_json = {"Content-Type": "application/json"}
    broken = clients.user.post("/transfers", content=b'{"parameters": {"id" "orders"}}', headers=as_json)
    assert refused(broken) == "the body is no JSON: Expecting ':' delimiter at character 21"
    assert refused(clients.user.post("/transfers", headers=as_json)) == "the body is missing"
    wrong = refused(clients.user.post("/transfers", json={"parametres": {"source": "s3://key:hunter2@shop/"}}))
    assert "parametres in the body is not a known name" in wrong
    assert "hunter2" not in wrong
    assert refused(clients.user.get("/routes?limit=101")) == (
        "limit in the query: input should be less than or equal to 100"
    )


def test_unknown_paths_and_methods_are_problems_too(clients: Clients) -> None:
    problem(clients.user.get("/nothing"), 404, "NotFound")
    problem(clients.user.patch("/routes"), 405, "MethodNotAllowed")
    problem(clients.user.get("/routes?limit=101"), 422, "RequestError")
    problem(clients.user.get("/transfers/some_other_dag/manual__x"), 404, "UnknownRunError")
    problem(clients.user.get(ANY_RUN), 404, "UnknownRunError")
    problem(clients.user.post("/transfers", content=b"{" + b" " * 2**20 + b"}"), 413, "RequestTooLarge")
