"""Where Airflow is looked for, in which order, and what is said when nothing is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry.errors import AirflowAccessError
from skyferry.history import airflow_access
from skyferry.history.airflow_access import find_access

FILE = "url: {url}\nuser: me\npassword: 12345\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without a stack."""
    monkeypatch.setattr(airflow_access, "project_folder", lambda: tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "project"


@pytest.fixture
def environ(tmp_path: Path, project: Path) -> dict[str, str]:
    """Every place is filled, each with another address."""
    for folder in ("project/.stack", "stack", "config/skyferry"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "airflow.yaml").write_text(FILE.format(url=f"http://{folder.partition('/')[0]}:80/"))
    (tmp_path / "named.yaml").write_text("url: http://named:80\ntoken: sentinel-token\nrecords: /srv/state\n")
    return {
        "TRANSFER_AIRFLOW_URL": "https://variable/airflow/",
        "TRANSFER_AIRFLOW_TOKEN": "sentinel-token",
        "TRANSFER_AIRFLOW_FILE": str(tmp_path / "named.yaml"),
        "SKYFERRY_STACK": str(tmp_path / "stack"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


def test_the_nearest_place_counts(environ: dict[str, str], tmp_path: Path) -> None:
    seen = []
    for name in ("TRANSFER_AIRFLOW_URL", "TRANSFER_AIRFLOW_FILE", "SKYFERRY_STACK", "XDG_CONFIG_HOME", ""):
        seen.append(find_access(environ).url)
        environ.pop(name, None)
        if name == "XDG_CONFIG_HOME":
            environ["XDG_CONFIG_HOME"] = str(tmp_path / "none")
    assert seen == [
        "https://variable/airflow",
        "http://named:80",
        "http://stack:80",
        "http://config:80",
        "http://project:80",
    ]


def test_what_a_file_says_is_taken(environ: dict[str, str]) -> None:
    del environ["TRANSFER_AIRFLOW_URL"]
    found = find_access(environ)
    assert (found.token, found.records, found.found_in) == ("sentinel-token", "/srv/state", "named.yaml")
    del environ["TRANSFER_AIRFLOW_FILE"]
    found = find_access(environ)
    assert (found.user, found.password, found.found_in) == ("me", "12345", "stack/airflow.yaml")
    assert "12345" not in repr(found)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "no Airflow is known; start the local stack with `make up`, or set TRANSFER_AIRFLOW_URL"),
        ({"TRANSFER_AIRFLOW_URL": "sentinel.example"}, "TRANSFER_AIRFLOW_URL is not the URL of an Airflow"),
        ({"TRANSFER_AIRFLOW_URL": "http://me:sentinel@host"}, "without user or password in it"),
        ({"TRANSFER_AIRFLOW_URL": "http://host"}, "no login for http://host in TRANSFER_AIRFLOW_URL; set"),
        ({"TRANSFER_AIRFLOW_URL": "http://host", "TRANSFER_AIRFLOW_USER": "me"}, "no login for http://host"),
        ({"TRANSFER_AIRFLOW_FILE": "gone.yaml"}, "gone.yaml, which TRANSFER_AIRFLOW_FILE names, is not there"),
        ({"TRANSFER_AIRFLOW_FILE": "wrong.yaml"}, 'wrong.yaml:1: "ulr" is not a known name; did you mean "url"?'),
        ({"TRANSFER_AIRFLOW_FILE": "bare.yaml"}, "write token, or user and password, into that file"),
    ],
)
def test_what_is_missing_or_wrong_is_one_message(project: Path, variables: dict[str, str], message: str) -> None:
    Path("wrong.yaml").write_text("ulr: http://x\ntoken: sentinel\n")
    Path("bare.yaml").write_text("url: http://host\n")
    with pytest.raises(AirflowAccessError) as caught:
        find_access({"XDG_CONFIG_HOME": "none", **variables})
    assert message in str(caught.value)
    assert "sentinel" not in str(caught.value)
