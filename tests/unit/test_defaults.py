"""Defaults: the file, the environment's additions, and which local folders are allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skyferry.config_folder import project_folder
from skyferry.defaults import check_local_root, load_defaults
from skyferry.errors import RequestError, RouteConfigError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path))
    monkeypatch.delenv("SKYFERRY_LOCAL_ROOTS", raising=False)
    return tmp_path / "defaults.yaml"


def test_the_file_of_the_project_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYFERRY_CONFIG", raising=False)
    monkeypatch.delenv("SKYFERRY_LOCAL_ROOTS", raising=False)
    defaults = load_defaults()
    assert defaults.local_roots == (str(project_folder() / "exchange"),)
    assert defaults.connections == ("aws_default", "wasb_default", "google_cloud_default")
    assert (defaults.state_url, defaults.state_conn_id) == ("", "")


def test_without_a_file_no_local_folder_is_allowed(config: Path) -> None:
    assert not config.exists()
    assert load_defaults().local_roots == ()


def test_the_values_of_a_file(config: Path) -> None:
    config.write_text(
        "state_url: s3://state/x\nstate_conn_id: aws_state\nlocal_roots: [/srv/in, a/../b]\nconnections: [x]\n"
    )
    defaults = load_defaults()
    assert (defaults.state_url, defaults.state_conn_id, defaults.connections) == ("s3://state/x/", "aws_state", ("x",))
    assert defaults.local_roots == ("/srv/in", str(project_folder() / "b"))


def test_the_environment_adds_local_roots(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("local_roots: [/srv/in]\n")
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", os.pathsep.join(["/srv/out", "", "/srv/in"]))
    assert load_defaults().local_roots == ("/srv/in", "/srv/out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("local_root: [/srv]\n", r'defaults.yaml:1: "local_root" is not a known name; did you mean "local_roots"\?'),
        (
            "state_url: ''\nlocal_roots: /srv\n",
            r'defaults.yaml:2: local_roots: found "/srv"; expected a list of folders',
        ),
        ("local_roots: [/srv, 5]\n", "defaults.yaml:1: local_roots.1: found 5; expected a list of folders"),
        ("local_roots: ['']\n", "an empty name"),
        ("connections: aws_default\n", "connections: found .*; expected a list of ids"),
        ("state_url: https://x?sig=1\n", r'state_url: "https://..." has the unknown scheme'),
    ],
)
def test_a_wrong_file_is_an_error_with_file_and_line(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(RouteConfigError, match=message):
        load_defaults()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """root/inside, outside, and links from root to both."""
    for name in ("root/inside", "outside/deep", "root-2"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/link_out").symlink_to(tmp_path / "outside")
    (tmp_path / "root/link_in").symlink_to(tmp_path / "root/inside")
    (tmp_path / "link_to_root").symlink_to(tmp_path / "root")
    return tmp_path


@pytest.mark.parametrize("folder", ["root", "root/inside", "root/link_in", "root/absent/deeper", "link_to_root/inside"])
def test_folders_below_a_root_are_allowed(tree: Path, folder: str) -> None:
    check_local_root(str(tree / folder), [str(tree / "elsewhere"), str(tree / "root")])


@pytest.mark.parametrize(
    "folder",
    ["outside", "root-2", "root/../outside", "root/link_out", "root/link_out/deep", "root/link_out/absent", ""],
)
def test_folders_that_lead_out_are_refused(tree: Path, folder: str) -> None:
    with pytest.raises(RequestError, match=r"outside the allowed roots; allowed: .*/root; .*defaults\.yaml") as caught:
        check_local_root(str(tree / folder), [str(tree / "root")])
    if "link" in folder:
        assert f"which leads to {tree}/outside" in str(caught.value)


def test_a_root_may_itself_be_a_link(tree: Path) -> None:
    check_local_root(str(tree / "root/inside"), [str(tree / "link_to_root")])


def test_without_roots_nothing_is_allowed(tree: Path) -> None:
    with pytest.raises(RequestError, match="allowed: none"):
        check_local_root(str(tree / "root"), [])
