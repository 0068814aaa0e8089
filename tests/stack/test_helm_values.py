"""deploy/helm-values.yaml says what the local stack says, and holds no secret.

What the chart makes of it needs Helm and a cluster; the file was checked against the schema of the chart's values.
"""

import re

import pytest
import yaml

from skyferry.defaults import Defaults
from stack.environment import airflow_settings
from stack.layout import ROOT

FILE = ROOT / "deploy" / "helm-values.yaml"
# The chart has fields of its own for these.
BY_FIELD = {
    "AIRFLOW__CORE__EXECUTOR": ("executor",),
    "AIRFLOW__CORE__PARALLELISM": ("config", "core", "parallelism"),
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": ("config", "celery", "worker_concurrency"),
}


@pytest.fixture(scope="module")
def values():
    return yaml.safe_load(FILE.read_text())


def field(values, path):
    for name in path:
        values = values[name]
    return str(values)


def test_the_settings_are_those_of_the_files_for_celery(values):
    said = {one["name"]: one["value"] for one in values["env"]}
    assert all(isinstance(value, str) for value in said.values()), "Kubernetes takes text only"
    said |= {name: field(values, path) for name, path in BY_FIELD.items()}
    assert {name: value for name, value in said.items() if name.startswith("AIRFLOW__")} == airflow_settings("celery")


def test_the_version_is_the_one_in_the_lock(values):
    assert f"\napache-airflow[statsd]=={values['airflowVersion']}\n" in (ROOT / "requirements.in").read_text()


def test_the_dags_are_where_the_image_has_them(values):
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"AIRFLOW__CORE__DAGS_FOLDER={values['config']['core']['dags_folder']} " in dockerfile


def test_the_state_is_on_an_object_store(values):
    [state] = [one["value"] for one in values["env"] if one["name"] == "SKYFERRY_STATE_URL"]
    assert Defaults(state_url=state).state_url.startswith("s3://")


def test_secrets_are_named_and_never_given(values):
    named = [values["fernetKeySecretName"], values["apiSecretKeySecretName"], values["jwtSecretName"]]
    assert all([*named, values["data"]["metadataSecretName"], values["data"]["brokerUrlSecretName"]])
    given = re.compile(
        r"(?i)^\s*-?\s*\w*(password|pass|secretkey|fernetkey|jwtsecret|brokerurl|connection):", re.MULTILINE
    )
    assert given.findall(FILE.read_text()) == []
    assert (values["postgresql"]["enabled"], values["redis"]["enabled"]) == (False, False)
