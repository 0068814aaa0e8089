"""docker-compose.yaml runs what the local stack runs, and holds no secret."""

import importlib.metadata
import json
import re

import pytest
import yaml

from stack.components import AIRFLOW_COMMANDS, AZURITE, STACK
from stack.layout import ROOT


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yaml").read_text())


def test_the_airflow_commands_are_those_of_the_local_stack(compose):
    for name, arguments in AIRFLOW_COMMANDS.items():
        assert compose["services"][name]["command"] == ["airflow", *arguments]
    assert {each.name for each in STACK if each.kind == "airflow"} == set(AIRFLOW_COMMANDS)


def test_the_settings_are_those_of_the_local_stack(compose):
    for name in [*AIRFLOW_COMMANDS, "init"]:
        service = compose["services"][name]
        assert service["env_file"][0] == "stack/airflow.env"
        # A setting repeated here would win over the shared file, and the two could drift apart.
        shared = (ROOT / "stack" / "airflow.env").read_text()
        assert not [setting for setting in service["environment"] if f"\n{setting}=" in shared]


def test_every_airflow_process_has_a_health_check_and_waits_for_the_database(compose):
    for name in AIRFLOW_COMMANDS:
        service = compose["services"][name]
        assert service["healthcheck"]["test"]
        assert service["depends_on"]["init"] == {"condition": "service_completed_successfully"}


def test_no_secret_has_a_value_or_a_default(compose):
    wanted = re.compile(r"\$\{[A-Z_]+:\?[^}]+\}")
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|FERNET|SQL_ALCHEMY_CONN|USERS", name):
                assert wanted.search(value), name


def test_the_example_names_every_required_variable(compose):
    required = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yaml").read_text()))
    offered = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert required == offered


def test_the_emulators_are_those_that_were_measured(compose):
    services = compose["services"]
    assert services["moto"]["image"].endswith(f":{importlib.metadata.version('moto')}")
    azurite = json.loads((AZURITE.parents[1] / "package.json").read_text())["dependencies"]["azurite"]
    assert services["azurite"]["image"].endswith(f":{azurite}")
    assert all(services[each.name]["profiles"] == ["emulators"] for each in STACK if each.kind == "emulator")


def test_nothing_is_published_beyond_this_machine_by_default(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published == ["${AIRFLOW_PUBLISH:-127.0.0.1:8080}:8080"]
