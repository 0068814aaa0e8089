"""The Transfers page as people see it: light and dark, by keyboard and on a phone, and no key is ever read as HTML."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.airflow_home import PROJECT
from tests.browser.conftest import HOSTILE, PAGE, Visit

pytestmark = pytest.mark.slow

VIEWS = ["#/routes", "#/runs", "#/statistics"]
PHONE = {"viewport": {"width": 390, "height": 844}}


def view_of(run: dict[str, Any]) -> str:
    return f"#/runs/{run['dag_id']}/{run['run_id']}"


def test_a_run_shows_every_object_with_its_proof_and_takes_no_key_for_html(
    visit: Callable[..., Visit], run: dict[str, Any]
) -> None:
    seen = visit()
    seen.open(view_of(run))
    page = seen.page
    expect(page.locator("main code", has_text=HOSTILE).first).to_be_visible()
    assert page.locator("main img").count() == 0
    assert page.title() == "Transfers"
    expect(page.get_by_role("table", name="Objects")).to_contain_text("readback")
    expect(page.get_by_role("table", name="Tasks")).to_contain_text("batch 1 of 1")
    page.get_by_label("Outcome").select_option("failed")
    expect(page.locator("main")).to_contain_text("None.")
    assert seen.complaints == []


def test_nothing_is_loaded_from_elsewhere_and_nothing_inline_would_run(
    visit: Callable[..., Visit], run: dict[str, Any]
) -> None:
    seen = visit()
    for view in [*VIEWS, view_of(run)]:
        seen.open(view)
    assert all(url.startswith(seen.url + "/transfer/v1/") for url in seen.requests), seen.requests
    answer = seen.page.request.get(seen.url + PAGE)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    seen.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s)"
    )
    assert seen.page.evaluate("window.owned") is None
    assert all("Content Security Policy" in complaint for complaint in seen.complaints)
    assert seen.complaints


CHARTS = PROJECT / "plugins/transfer_api/page/node_modules/uplot"


@pytest.mark.skipif(not CHARTS.exists(), reason="the charts are not installed; run: make install")
def test_statistics_are_drawn_and_listed(visit: Callable[..., Visit], run: dict[str, Any]) -> None:
    seen = visit()
    seen.open("#/statistics")
    assert seen.page.locator("figure canvas").count() == 5
    expect(seen.page.get_by_role("table", name="Route")).to_contain_text("seen")
    seen.page.get_by_label("Route", exact=True).select_option("seen")
    expect(seen.page.locator("dl.facts")).to_contain_text("10 B")
    assert "route=seen" in seen.page.url
    assert seen.complaints == []


@pytest.mark.parametrize("view", VIEWS)
def test_dark_is_dark_and_light_is_light(view: str, visit: Callable[..., Visit], run: dict[str, Any]) -> None:
    def brightness(scheme: str) -> int:
        seen = visit(color_scheme=scheme)
        seen.open(view)
        colour = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert brightness("dark") < 150 < 600 < brightness("light")


@pytest.mark.parametrize(
    "options", [PHONE, {"viewport": {"width": 320, "height": 600}}, {}], ids=["phone", "small", "desk"]
)
def test_nothing_sticks_out_of_the_window(
    options: dict[str, Any], visit: Callable[..., Visit], run: dict[str, Any]
) -> None:
    seen = visit(**options)
    for view in [*VIEWS, view_of(run)]:
        seen.open(view)
        width = seen.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert width[0] <= width[1], view


def test_everything_is_reached_by_keyboard(visit: Callable[..., Visit], run: dict[str, Any]) -> None:
    seen = visit()
    seen.open("#/routes")
    page = seen.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for name in ("Routes", "Runs", "Statistics"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("navigation").get_by_role("link", name=name)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Runs", level=2)).to_be_visible()
    expect(page.get_by_role("link", name="Runs")).to_have_attribute("aria-current", "page")


def test_it_stands_in_airflow_s_navigation_and_leads_back_into_airflow(
    visit: Callable[..., Visit], run: dict[str, Any]
) -> None:
    seen = visit()
    seen.page.goto(seen.url)
    seen.page.get_by_role("link", name="Transfers").first.click()
    frame = seen.page.frame_locator("iframe")
    frame.get_by_role("link", name="active").first.click()
    seen.page.wait_for_url(re.compile(r"/dags/transfer__\w+"))


def test_a_run_under_way_is_shown_with_its_progress_and_can_be_cancelled(
    visit: Callable[..., Visit], run: dict[str, Any], held_run: dict[str, Any]
) -> None:
    seen = visit()
    seen.open("#/routes")
    under_way = seen.page.get_by_role("table", name="Under way")
    expect(under_way.get_by_role("row", name="held")).to_contain_text("queued")
    expect(under_way.get_by_role("progressbar").first).to_be_visible()
    under_way.get_by_role("link", name="held").click()
    seen.page.get_by_role("button", name="Cancel").click()
    expect(seen.page.get_by_role("button", name="Retry what failed")).to_be_visible()
    expect(seen.page.locator("main")).to_contain_text("cancelled by user")
    seen.open("#/runs?route=held")
    row = seen.page.get_by_role("row", name="held no report")
    # Outcome, route, began, took; then copied, skipped, refused and failed, bytes.
    assert row.get_by_role("cell").all_inner_texts()[4:] == ["-"] * 4, "what it did is not known"
    assert seen.complaints == []


def test_who_is_not_logged_in_is_told_so(visit: Callable[..., Visit]) -> None:
    seen = visit(user="")
    seen.open("#/routes")
    expect(seen.page.get_by_role("alert")).to_contain_text("You are not logged in to Airflow")
    assert seen.page.locator("table").count() == 0


def test_a_paused_route_has_no_next_run(visit: Callable[..., Visit], paused_route: str) -> None:
    seen = visit()
    seen.open("#/routes")
    row = seen.page.get_by_role("table", name="Routes").get_by_role("row").filter(has_text=paused_route)
    expect(row.get_by_role("cell").nth(3)).to_have_text("none while paused")
