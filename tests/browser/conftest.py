"""A real browser on the Transfers page of a real Airflow; left out where no Chromium is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.api.conftest import API, Clients, clients, start, token, until_over, wait_for_dag
from tests.local_airflow import LocalAirflow

__all__ = ["clients", "until_over"]

HOSTILE = "<img src=x onerror=document.title='owned'> {{ 7*7 }}.txt"
PAGE = f"{API}/page/"
WAIT_MILLISECONDS = 60_000


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed; on Debian: apt install chromium")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser; gone after its module, because while it is there no test of the session could run an event loop."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=arguments)


@dataclass
class Visit:
    """A page, and what went on behind it."""

    page: Page
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, view: str) -> None:
        self.page.goto(f"{self.url}{PAGE}{view}")
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_selector("main[aria-busy=false]", state="attached")


@pytest.fixture
def visit(browser: Browser, airflow_services: LocalAirflow) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def make(*, user: str = "user", **options: Any) -> Visit:
        context = browser.new_context(**options)
        contexts.append(context)
        if user:
            session = {"name": "_token", "value": token(airflow_services, user), "url": airflow_services.url}
            context.add_cookies([{**session, "httpOnly": True}])
        page = context.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        made = Visit(page, airflow_services.url)
        page.on("request", lambda request: made.requests.append(request.url))
        page.on("pageerror", lambda error: made.complaints.append(str(error)))
        page.on("console", lambda said: made.complaints.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: made.complaints.append(dialog.message))
        return made

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def held_run(clients: Clients, airflow_services: LocalAirflow) -> Iterator[dict[str, Any]]:
    """A run that waits, because its DAG is paused."""
    folder = f"file://{airflow_services.exchange}/held"
    text = f'id: held\nsource: {{url: "{folder}/in/"}}\ndestination: {{url: "{folder}/out/"}}\n'
    clients.op.put("/routes/held", json={"text": text}).raise_for_status()
    wait_for_dag(clients, "held")
    dag = f"{airflow_services.url}/api/v2/dags/transfer__held"
    clients.op.patch(dag, json={"is_paused": True}).raise_for_status()
    yield clients.op.post(f"{dag}/dagRuns", json={"logical_date": None}).raise_for_status().json()
    clients.op.delete("/routes/held")


@pytest.fixture
def paused_route(clients: Clients, airflow_services: LocalAirflow) -> Iterator[str]:
    """A route with a schedule, whose DAG is paused; Airflow keeps a next time for it."""
    folder = f"file://{airflow_services.exchange}/paused"
    text = f'id: paused\nsource: {{url: "{folder}/in/"}}\ndestination: {{url: "{folder}/out/"}}\nschedule: "@daily"\n'
    clients.op.put("/routes/paused", json={"text": text}).raise_for_status()
    wait_for_dag(clients, "paused")
    dag = f"{airflow_services.url}/api/v2/dags/transfer__paused"
    clients.op.patch(dag, json={"is_paused": True}).raise_for_status()
    assert clients.op.get("/routes/paused").json()["next_run_after"]
    yield "paused"
    clients.op.delete("/routes/paused")


@pytest.fixture(scope="session")
def run(
    chromium: str, airflow_services: LocalAirflow, until_over: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """A finished run with an object whose key is hostile."""
    folder = airflow_services.exchange / "seen" / "in"
    folder.mkdir(parents=True)
    (folder / HOSTILE).write_bytes(b"0123456789")
    places = {"source": f"file://{folder}/", "destination": f"file://{folder.parent}/out/", "create_destination": True}
    login = {"Authorization": f"Bearer {token(airflow_services, 'user')}"}
    with httpx.Client(base_url=airflow_services.url + API, headers=login, timeout=60, trust_env=False) as client:
        return until_over(start(client, {"id": "seen", **places}))
