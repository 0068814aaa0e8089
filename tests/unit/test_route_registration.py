"""Route files are checked before they are written, appear whole, and replace others only when told to."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skyferry.errors import RouteConfigError, RouteExistsError, UnknownRouteError
from skyferry.route_registration import check_route, register_route, remove_route
from skyferry.routes import find_route

ROUTE = """\
# Ask the shop's team.
id: orders
source: {url: "s3://shop/orders/"}
destination: {url: "gs://archive/orders/"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "routes"


def test_a_route_is_written_as_it_was_given(folder: Path) -> None:
    route = register_route("orders", ROUTE, folder=folder)
    assert route == find_route("orders", folder)
    file = folder / "orders.yaml"
    assert file.read_text() == ROUTE
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(folder.iterdir()) == [file]


def test_a_wrong_route_is_not_written_and_named_by_its_file(folder: Path) -> None:
    with pytest.raises(RouteConfigError, match=r'routes/orders\.yaml:1: .*did you mean "source"'):
        register_route("orders", ROUTE.replace("source:", "sorce:").split("\n", 1)[1], folder=folder)
    assert list(folder.iterdir()) == []


QUEUE_ROUTE = """\
id: {id}
source: {{url: "s3://shop/{id}/"}}
destination: {{url: "gs://archive/{id}/"}}
detect: {{kind: sqs, queue_url: "https://sqs.eu-central-1.amazonaws.com/1234/shop", consumers: {consumers}}}
schedule: event
"""


@pytest.mark.parametrize("second", ["later", "earlier"])
def test_routes_of_one_queue_have_to_say_the_same_of_it(
    folder: Path, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYFERRY_CONFIG", str(folder.parent))
    register_route("first", QUEUE_ROUTE.format(id="first", consumers=2), folder=folder)
    other = QUEUE_ROUTE.format(id=second, consumers=3)
    with pytest.raises(RouteConfigError, match=rf"{second}\.yaml:4: detect.consumers is .*first\.yaml"):
        register_route(second, other, folder=folder)
    assert [problem.line for problem in check_route(second, other)[1]] == [4]
    assert not (folder / f"{second}.yaml").exists()
    register_route(second, other.replace("consumers: 3", "consumers: 2"), folder=folder)
    with pytest.raises(RouteConfigError, match="detect.consumers"):
        register_route(second, other, folder=folder, replace_existing=True)


def test_another_route_is_kept_unless_it_is_to_be_replaced(folder: Path) -> None:
    register_route("orders", ROUTE, folder=folder)
    newer = ROUTE + "data: 2026/\n"
    with pytest.raises(RouteExistsError, match=r"already, in .*orders\.yaml; it was not changed"):
        register_route("orders", newer, folder=folder)
    assert (folder / "orders.yaml").read_text() == ROUTE
    assert register_route("orders", newer, replace_existing=True, folder=folder).data == "2026/"
    assert (folder / "orders.yaml").read_text() == newer


def test_of_many_who_register_one_id_at_once_one_gets_it(folder: Path) -> None:
    def register(number: int) -> bool:
        try:
            register_route("orders", f"{ROUTE}description: number {number}\n", folder=folder)
        except RouteExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(register, range(16)))
    assert won.count(True) == 1
    assert find_route("orders", folder).description == f"number {won.index(True)}"


@pytest.mark.parametrize("route_id", ["", "../orders", "a/b", "Orders", "orders.yaml", "x" * 64, "orders\n"])
def test_what_cannot_be_an_id_names_no_file(route_id: str, folder: Path) -> None:
    for act in (lambda: check_route(route_id, ROUTE), lambda: register_route(route_id, ROUTE, folder=folder)):
        with pytest.raises(RouteConfigError, match="cannot be the id of a route"):
            act()
    with pytest.raises(UnknownRouteError):
        remove_route(route_id, folder=folder)
    assert not folder.exists()


def test_checking_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYFERRY_CONFIG", str(folder.parent))
    route, problems = check_route("orders", ROUTE)
    assert route is not None
    assert problems == []
    route, problems = check_route("invoices", ROUTE)
    assert route is None
    assert [problem.line for problem in problems] == [2]
    assert problems[0].file == "invoices.yaml"
    assert not folder.exists()


@pytest.mark.parametrize("text", ["\ud800", "id: orders\n\tx: y", "x" * 70_000, "", "!!python/object:os.system {}"])
def test_any_text_is_only_ever_an_error(text: str, folder: Path) -> None:
    with pytest.raises(RouteConfigError):
        register_route("orders", text, folder=folder)
    assert check_route("orders", text)[0] is None


def test_a_removed_route_is_gone_even_if_its_file_was_wrong(folder: Path) -> None:
    register_route("orders", ROUTE, folder=folder)
    (folder / "broken.yaml").write_text("id: [")
    remove_route("broken", folder=folder)
    remove_route("orders", folder=folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(UnknownRouteError, match='no route "orders"'):
        remove_route("orders", folder=folder)


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RouteConfigError, match="cannot be written: .*nothing was changed"):
        register_route("orders", ROUTE, folder=blocked / "routes")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
