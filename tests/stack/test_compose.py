"""docker-compose.yaml runs what the local stack runs, and holds no secret."""

import importlib.metadata
import json
import os
import re
import subprocess

import pytest
import yaml

from stack.components import AIRFLOW_COMMANDS, AZURITE, CELERY_WORKER_COMMAND, STACK
from stack.environment import airflow_settings
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
        assert service["env_file"][:2] == ["stack/airflow.env", "stack/${SKYFERRY_EXECUTOR:-local}.env"]
        # A setting repeated here would win over the shared files, and they could drift apart.
        shared = airflow_settings("local") | airflow_settings("celery")
        assert not shared.keys() & service["environment"].keys()


def test_the_profile_celery_adds_workers_and_their_broker(compose):
    services = compose["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["celery"]} == {"worker", "redis"}
    worker = services["worker"]
    assert worker["command"] == ["airflow", *CELERY_WORKER_COMMAND]
    assert worker["env_file"] == services["scheduler"]["env_file"]
    assert worker["environment"] == services["api-server"]["environment"]
    assert worker["depends_on"]["redis"] == {"condition": "service_healthy"}
    assert "@redis:6379/" in worker["environment"]["AIRFLOW__CELERY__BROKER_URL"]
    assert "ports" not in services["redis"]


def test_no_other_executor_is_taken_for_one_of_the_two():
    # A name that is none of these names a file that is not there, and Compose starts nothing.
    assert {file.stem for file in (ROOT / "stack").glob("*.env")} == {"airflow", "local", "celery"}


@pytest.mark.parametrize(("password", "starts"), [("", False), ("secret", True)])
def test_redis_does_not_start_without_a_password(compose, password, starts, tmp_path):
    shell, option, script = compose["services"]["redis"]["command"]
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho started $*\n")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDISCLI_AUTH": password}
    command = [shell, option, script.replace("$$", "$")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0, done.stdout.endswith("--requirepass secret\n")) == (starts, starts)
    assert starts or "REDIS_PASSWORD" in done.stderr


def test_every_airflow_process_has_a_health_check_and_waits_for_the_database(compose):
    for name in [*AIRFLOW_COMMANDS, "worker"]:
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
    required = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yaml").read_text()))
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
