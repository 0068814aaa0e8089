"""Transfers over HTTP: started once for each key, watched, looked into, cancelled, retried, and added up."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.conftest import Clients, path_of, problem, start, wait_for_dag
from tests.local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

UntilOver = Callable[[dict[str, Any]], dict[str, Any]]

KEY = {"Idempotency-Key": "repeated-1"}
HOSTILE = "<img src=x onerror=alert(1)> {{ 7*7 }} 'a'.txt"


def parameters(airflow: LocalAirflow, name: str, **more: object) -> dict[str, object]:
    source, destination = (airflow.exchange / name / side for side in ("in", "out"))
    places = {"source": f"file://{source}/", "destination": f"file://{destination}/"}
    return {"id": name, **places, "create_destination": True, **more}


def fill(airflow: LocalAirflow, name: str, keys: list[str]) -> None:
    folder = airflow.exchange / name / "in"
    folder.mkdir(parents=True, exist_ok=True)
    for key in keys:
        (folder / key).write_bytes(b"0123456789")


def test_a_transfer_is_started_watched_looked_into_and_added_up(
    clients: Clients, airflow_services: LocalAirflow, until_over: UntilOver
) -> None:
    fill(airflow_services, "looked-into", [HOSTILE, *(f"{number}.txt" for number in range(6))])
    wanted = parameters(airflow_services, "looked-into", batch_objects=3)
    run = until_over(start(clients.user, wanted))
    assert (run["outcome"], run["route"], run["numbers"]["objects_copied"]) == ("success", "looked-into", 7)
    assert run["report"]["bytes_copied"] == run["progress"]["bytes_done"] == 70
    assert run["parameters"] == wanted
    assert {task["task_id"] for task in run["tasks"]} == {"plan", "copy", "report"}

    objects = objects_of(clients, run, limit=2)
    assert sorted(each["key"] for each in objects) == sorted([HOSTILE, *(f"{number}.txt" for number in range(6))])
    assert {(each["outcome"], each["verified_by"], each["size_bytes"]) for each in objects} == {
        ("copied", "readback", 10)
    }
    assert objects_of(clients, run, limit=100, outcome="failed") == []

    again = until_over(start(clients.user, wanted))
    assert {(each["outcome"], each["reason"]) for each in objects_of(clients, again, limit=100)} == {
        ("skipped", "identical")
    }

    listed = clients.viewer.get("/transfers", params={"route": "looked-into"}).raise_for_status().json()["runs"]
    assert [each["run_id"] for each in listed] == [again["run_id"], run["run_id"]]
    sums = clients.viewer.get("/statistics", params={"route": "looked-into", "by": "route"}).json()
    assert (sums["total"]["runs"]["success"], sums["total"]["bytes_copied"]) == (2, 70)
    assert sums["total"]["skipped_by_reason"] == {"identical": 7}
    assert [group["name"] for group in sums["groups"]] == ["looked-into"]


def test_the_tasks_of_a_run_lead_to_it_on_the_page(
    clients: Clients, airflow_services: LocalAirflow, until_over: UntilOver
) -> None:
    fill(airflow_services, "linked", ["a.txt"])
    run = until_over(start(clients.user, parameters(airflow_services, "linked")))
    tasks = f"{airflow_services.url}/api/v2/dags/{run['dag_id']}/dagRuns/{run['run_id']}/taskInstances"
    for task in ("report/links", "copy/links?map_index=0"):
        links = clients.user.get(f"{tasks}/{task}").raise_for_status().json()["extra_links"]
        assert links["Transfer"].startswith(f"/transfer/v1/page/#/runs/{run['dag_id']}/"), links
        assert links["Objects"] == links["Transfer"] + "?at=objects"


def objects_of(clients: Clients, run: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = "0.0"
    while cursor is not None:
        page = (
            clients.viewer.get(f"{path_of(run)}/objects", params={"cursor": cursor, **query}).raise_for_status().json()
        )
        assert len(page["objects"]) <= query["limit"]
        found += page["objects"]
        cursor = page["next_cursor"]
    return found


def test_repeats_of_one_key_are_one_run(
    clients: Clients, airflow_services: LocalAirflow, until_over: UntilOver
) -> None:
    fill(airflow_services, "repeated", ["a.txt"])
    wanted = parameters(airflow_services, "repeated")
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: start(clients.user, wanted, key="repeated-1"), range(6)))
    assert len({run["run_id"] for run in runs}) == 1
    assert clients.user.post("/transfers", json={"parameters": wanted}, headers=KEY).status_code == 200
    other = {"parameters": {**wanted, "data": "b/"}}
    problem(clients.user.post("/transfers", json=other, headers=KEY), 422, "IdempotencyKeyReused")
    elsewhere = start(clients.op, wanted, key="repeated-1")
    assert elsewhere["run_id"] != runs[0]["run_id"], "a key is its caller's own"
    assert until_over(runs[0])["outcome"] == "success"
    until_over(elsewhere)


def test_a_failed_run_says_why_and_is_run_again(
    clients: Clients, airflow_services: LocalAirflow, until_over: UntilOver
) -> None:
    run = until_over(start(clients.user, parameters(airflow_services, "mended")))
    assert run["outcome"] == "failed"
    assert objects_of(clients, run, limit=10) == []
    fill(airflow_services, "mended", ["a.txt"])
    problem(clients.viewer.post(f"{path_of(run)}/retry", json={}), 403, "AirflowRefusedError")
    clients.user.post(f"{path_of(run)}/retry", json={}).raise_for_status()
    run = until_over(run)
    assert (run["outcome"], run["numbers"]["objects_copied"]) == ("success", 1)
    refused = problem(
        clients.user.post(f"{path_of(run)}/retry", json={"only_failed": True}), 409, "AirflowRefusedError"
    )
    assert "--" not in refused["detail"], "options are the command line's"
    problem(clients.user.post(f"{path_of(run)}/cancel"), 409, "AirflowRefusedError")


def test_an_object_that_is_refused_is_listed_with_its_code_and_reason(
    clients: Clients, airflow_services: LocalAirflow, until_over: UntilOver
) -> None:
    fill(airflow_services, "refusing", ["a.txt", "b.txt"])
    there = airflow_services.exchange / "refusing" / "out"
    there.mkdir()
    (there / "b.txt").write_bytes(b"something else")
    run = until_over(start(clients.user, parameters(airflow_services, "refusing", on_conflict="fail")))
    assert (run["outcome"], run["numbers"]["refused_by_reason"]) == ("failed", {"conflict": 1})
    [refused] = objects_of(clients, run, limit=10, outcome="refused")
    assert (refused["key"], refused["refusal"], refused["verified_by"]) == ("b.txt", "conflict", "")
    assert refused["reason"]
    [copied] = objects_of(clients, run, limit=10, outcome="copied")
    assert (copied["key"], copied["refusal"]) == ("a.txt", "")
    assert objects_of(clients, run, limit=10, outcome="deleted") == []


def test_a_run_that_is_not_there_is_named_in_the_words_of_this_api(clients: Clients) -> None:
    for path in ("/transfers/transfer/no-such-run", "/transfers/elsewhere/no-such-run"):
        detail = problem(clients.viewer.get(path), 404, "UnknownRunError")["detail"]
        assert detail.endswith("; see: GET /transfer/v1/transfers")
        assert "transfer status" not in detail


def test_what_is_wrong_with_the_parameters_is_said_before_anything_is_started(clients: Clients) -> None:
    def refused(parameters: dict[str, object], status: int, code: str) -> str:
        return str(problem(clients.user.post("/transfers", json={"parameters": parameters}), status, code)["detail"])

    assert 'did you mean "orders"' in refused({"id": "order"}, 404, "UnknownRouteError")
    assert "source" in refused({"source": "ftp://x", "destination": "s3://shop-a/"}, 422, "RequestError")
    assert "verify" in refused({"id": "orders", "verify": "hope"}, 400, "AirflowRefusedError")
    secret = "s3://key:hunter2@shop-a/"
    assert "hunter2" not in refused({"source": secret, "destination": "s3://shop-b/"}, 422, "RequestError")


CREATED = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "bell-shop"}, "object": {"key": "orders/2026/1.csv"}},
        }
    ]
}
BELL = """\
id: bell
source: {url: "s3://bell-shop/orders/"}
destination: {url: "s3://bell-archive/orders/"}
data: "**/*.csv"
select: {exclude: ["tmp/**"]}
"""


def test_events_ring_once_for_the_routes_they_concern(
    clients: Clients, airflow_services: LocalAirflow, until_over: UntilOver
) -> None:
    clients.op.put("/routes/bell", json={"text": BELL}).raise_for_status()
    try:
        wait_for_dag(clients, "bell")
        # On hold, so that the first ring is still waiting when the others come.
        airflow = clients.op.base_url.join("/api/v2/dags/transfer__bell")
        clients.op.patch(airflow, json={"is_paused": True}).raise_for_status()
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: clients.user.post("/events", json=CREATED).json(), range(6)))
        rings = [ring for answer in answers for ring in answer["rings"]]
        assert sorted(ring["rung"] for ring in rings) == ["already_waiting"] * 5 + ["started"]
        assert {ring["run_id"] for ring in rings} == {rings[0]["run_id"]}
        text = json.dumps(CREATED)
        for other in (
            text.replace("1.csv", "1.txt"),
            text.replace("2026/1.csv", "tmp/1.csv"),
            text.replace("bell-shop", "x-shop"),
            text.replace("Created", "Removed"),
        ):
            answer = clients.user.post("/events", content=other).raise_for_status().json()
            assert (answer["rings"], bool(answer["reason"])) == ([], True)
        clients.user.post(f"/transfers/transfer__bell/{rings[0]['run_id']}/cancel").raise_for_status()
        assert "bell" in problem(clients.viewer.post("/events", json=CREATED), 403, "Forbidden")["detail"]
        problem(clients.user.post("/events", content="no event"), 422, "UnreadableEvent")
    finally:
        clients.op.delete("/routes/bell")


BELT = """\
id: belt
source: {url: "s3://belt-shop/orders/"}
destination: {url: "s3://belt-archive/orders/"}
detect: {kind: sqs, queue_url: "https://sqs.eu-central-1.amazonaws.com/1234/belt"}
"""


def test_an_event_for_a_route_that_a_queue_feeds_rings_what_consumes_the_queue(clients: Clients) -> None:
    clients.op.put("/routes/belt", json={"text": BELT}).raise_for_status()
    try:
        # The DAGs of a file become known together.
        wait_for_dag(clients, "belt")
        airflow = clients.op.base_url.join("/api/v2/dags/consume__belt")
        clients.op.patch(airflow, json={"is_paused": True}).raise_for_status()
        event = json.dumps(CREATED).replace("bell-shop", "belt-shop")
        [ring] = clients.user.post("/events", content=event).raise_for_status().json()["rings"]
        assert (ring["route"], ring["dag_id"], ring["rung"]) == ("belt", "consume__belt", "started")
        clients.user.post(f"/transfers/consume__belt/{ring['run_id']}/cancel").raise_for_status()
        other = BELT.replace("belt", "braces").replace("1234/braces", "1234/belt").replace("sqs,", "sqs, consumers: 7,")
        refused = problem(clients.op.put("/routes/braces", json={"text": other}), 422, "RouteConfigError")
        assert "belt.yaml, which reads the same queue" in refused["detail"]
        verdict = clients.viewer.post("/routes/validate", json={"id": "braces", "text": other}).json()
        assert verdict["valid"] is False
    finally:
        clients.op.delete("/routes/belt")
