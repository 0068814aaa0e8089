"""The variables of a stack: complete, private where they must be, and safe to hand to a shell."""

import json
import runpy
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from skyferry.history.airflow_access import find_access
from stack.components import STACK
from stack.environment import airflow_settings, export_lines, stack_environment, write_login
from stack.layout import Layout


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "stack", {each.port_variable: each.default_port + 1 for each in STACK})


def test_exported_values_reach_a_shell_unchanged():
    hostile = {"A": 'it\'s $HOME `id` "x" \\ ;#', "B": "two\nlines", "C": "", "D": "{{ conn }} %s é"}
    script = export_lines(hostile) + "env -0"
    # An empty environment, so that what env prints can only have come from the exports.
    output = subprocess.run(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    seen = dict(entry.split("=", 1) for entry in output.stdout.decode().split("\0") if entry)
    assert {name: seen[name] for name in hostile} == hostile


def test_connections_point_at_the_chosen_ports(layout):
    variables = stack_environment(layout, {})
    assert json.loads(variables["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]["endpoint_url"] == "http://127.0.0.1:5001"
    azure = json.loads(variables["AIRFLOW_CONN_WASB_DEFAULT"])["extra"]["connection_string"]
    assert "BlobEndpoint=http://127.0.0.1:10001/devstoreaccount1;" in azure
    assert (
        json.loads(variables["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"])["extra"]["endpoint_url"] == "http://127.0.0.1:4444"
    )
    assert variables["STORAGE_EMULATOR_HOST"] == "http://127.0.0.1:4444"
    assert variables["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8081/execution/"


def test_signing_secrets_are_long_private_and_kept(layout):
    first, second = stack_environment(layout, {}), stack_environment(layout, {})
    for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"):
        assert len(first[name]) >= 64
        assert first[name] == second[name]
    assert stat.S_IMODE((layout.state / "secrets.json").stat().st_mode) == 0o600


def test_the_command_transfer_finds_the_login_where_the_stack_leaves_it(layout):
    write_login(layout)
    found = find_access({"SKYFERRY_STACK": str(layout.state)})
    assert (found.url, found.user, found.password) == ("http://127.0.0.1:8081", "admin", "admin")
    assert found.records == f"{layout.state}/skyferry-state"
    assert stat.S_IMODE(layout.access_file.stat().st_mode) == 0o600


def test_search_paths_are_extended_once(layout):
    once = stack_environment(layout, {"PATH": "/bin", "NO_PROXY": "example.org"})
    twice = stack_environment(layout, once)
    assert once["PATH"].endswith(":/bin")
    assert once["NO_PROXY"] == "127.0.0.1,localhost,example.org"
    assert (twice["PATH"], twice["NO_PROXY"]) == (once["PATH"], once["NO_PROXY"])


@pytest.mark.parametrize("executor", ["local", "celery"])
def test_airflow_knows_every_setting(executor):
    # Read from the installed files: importing Airflow takes seconds and would settle its configuration for other tests.
    airflow = Path(find_spec("airflow").origin).parent
    known = yaml.safe_load((airflow / "config_templates/config.yml").read_text())
    for provider in ("openlineage", "celery"):
        told = runpy.run_path(str(airflow / "providers" / provider / "get_provider_info.py"))
        known |= told["get_provider_info"]()["config"]
    for name in airflow_settings(executor):
        _, section, option = name.lower().split("__", 2)
        assert option in known[section]["options"], name
