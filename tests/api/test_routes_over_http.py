"""Route files over HTTP: seen, checked, written and removed."""

from __future__ import annotations

import pytest

from tests.api.conftest import Clients, problem
from tests.local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

ROUTE = """\
id: {id}  # kept
source: {{url: "file://{exchange}/from/"}}
destination: {{url: "file://{exchange}/to/", create: true}}
"""


def test_routes_are_listed_with_what_airflow_makes_of_them(clients: Clients) -> None:
    found = clients.viewer.get("/routes").raise_for_status().json()
    orders = next(route for route in found["routes"] if route["id"] == "orders")
    assert (orders["dag_id"], orders["is_known_to_airflow"], orders["is_paused"]) == ("transfer__orders", True, False)
    detail = clients.viewer.get("/routes/orders").raise_for_status().json()
    assert detail["parameters"]["source"] == orders["source"]
    assert detail["definition"]["copy"]["keep_source"] is True
    assert clients.viewer.get("/routes?limit=1&offset=1000").json()["routes"] == []
    assert "did you mean" in problem(clients.op.get("/routes/order"), 404, "UnknownRouteError")["detail"]
    problem(clients.viewer.get("/routes/order"), 404, "UnknownRouteError")


def test_a_route_is_registered_once_replaced_on_purpose_and_removed(
    clients: Clients, airflow_services: LocalAirflow
) -> None:
    file = airflow_services.config / "routes" / "over_http.yaml"
    text = ROUTE.format(id="over_http", exchange=airflow_services.exchange)
    made = clients.op.put("/routes/over_http", json={"text": text})
    assert made.status_code == 201
    assert made.json()["id"] == "over_http"
    assert file.read_text() == text
    problem(clients.op.put("/routes/over_http", json={"text": text + "data: a/\n"}), 409, "RouteExistsError")
    assert file.read_text() == text
    replaced = clients.op.put("/routes/over_http?replace=true", json={"text": text + "data: a/\n"})
    assert (replaced.status_code, replaced.json()["parameters"]["data"]) == (200, "a/")
    assert clients.op.delete("/routes/over_http").status_code == 204
    assert not file.exists()
    problem(clients.op.delete("/routes/over_http"), 404, "UnknownRouteError")


def test_a_wrong_route_is_refused_with_its_lines_and_not_written(
    clients: Clients, airflow_services: LocalAirflow
) -> None:
    text = ROUTE.format(id="wrong", exchange=airflow_services.exchange) + "shedule: none\n"
    found = problem(clients.op.put("/routes/wrong", json={"text": text}), 422, "RouteConfigError")
    assert 'wrong.yaml:4: "shedule" is not a known name; did you mean "schedule"?' in found["detail"]
    verdict = clients.viewer.post("/routes/validate", json={"id": "wrong", "text": text}).raise_for_status().json()
    assert verdict["valid"] is False
    assert (verdict["problems"][0]["file"], verdict["problems"][0]["line"]) == ("wrong.yaml", 4)
    good = {"id": "right", "text": ROUTE.format(id="right", exchange=airflow_services.exchange)}
    assert clients.viewer.post("/routes/validate", json=good).json() == {"valid": True, "problems": []}
    written = {each.stem for each in (airflow_services.config / "routes").glob("*.yaml")}
    assert not written & {"wrong", "right"}


@pytest.mark.parametrize("route_id", ["..%2Forders", "ORDERS", "a.b", "x" * 64])
def test_what_is_no_id_reaches_no_file(route_id: str, clients: Clients) -> None:
    for answer in (clients.op.put(f"/routes/{route_id}", json={"text": "x"}), clients.op.delete(f"/routes/{route_id}")):
        assert answer.status_code in {404, 405, 422}, answer.text


def test_files_that_are_no_routes_are_shown_to_those_who_may_write_them(
    clients: Clients, airflow_services: LocalAirflow
) -> None:
    file = airflow_services.config / "routes" / "broken.yaml"
    file.write_text("id: [")
    try:
        assert "this is not YAML" in clients.op.get("/routes").json()["problems"][0]["message"]
        assert clients.user.get("/routes").json()["problems"] == []
    finally:
        file.unlink()
