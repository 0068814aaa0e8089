"""Provisioning on Azure, Google Cloud Storage and local disks."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from operators.transfer_provision import ProvisionRouteOperator
from stack.running import Endpoint
from tests.airflow_home import azurite_connection_string, connection_variables
from tests.faults.proxy import fault_proxy_in_thread

_NUMBERS = itertools.count()


@pytest.fixture
def names(tmp_path: Path, azurite: Endpoint, fake_gcs: Endpoint, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The names of a container and a bucket that nobody has used, and a route from one to the other."""
    variables = connection_variables(moto="http://127.0.0.1:1", azurite=azurite.url, gcs=fake_gcs.url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("SKYFERRY_STATE_URL", f"file://{tmp_path}/state")
    number = next(_NUMBERS)
    container, bucket = f"container-{os.getpid()}-{number}", f"bucket-{os.getpid()}-{number}"
    (tmp_path / "config" / "routes").mkdir(parents=True)
    (tmp_path / "config" / "routes" / "orders.yaml").write_text(
        f'id: orders\nsource: {{url: "az://{container}/in/"}}\ndestination: {{url: "gs://{bucket}/raw/"}}\n'
        "provision: {region: EU}\n"
    )
    return container, bucket


def settle(action: str = "provision", *, dry_run: bool = False) -> dict[str, Any]:
    params = {"id": "orders", "action": action, "dry_run": dry_run}
    return ProvisionRouteOperator(task_id="provision").execute({"params": params})


def doings(found: dict[str, Any]) -> list[str]:
    return [step["doing"] for step in found["steps"] if not step["thing"].startswith("folder")]


def google(fake_gcs: Endpoint) -> Any:
    return storage.Client(
        project="skyferry", credentials=AnonymousCredentials(), client_options={"api_endpoint": fake_gcs.url}
    )


def test_a_container_and_a_bucket_are_made_once(names: tuple[str, str], azurite: Endpoint, fake_gcs: Endpoint) -> None:
    container, bucket = names
    blobs = BlobServiceClient.from_connection_string(azurite_connection_string(azurite.url))
    assert doings(settle(dry_run=True)) == ["create", "create"]
    assert not blobs.get_container_client(container).exists()
    assert doings(settle()) == ["create", "create"]
    assert blobs.get_container_client(container).get_container_properties().public_access is None
    assert google(fake_gcs).lookup_bucket(bucket) is not None
    assert doings(settle()) == ["keep", "keep"]


def test_a_bucket_is_asked_for_in_its_region_and_closed_to_the_public(
    names: tuple[str, str], fake_gcs: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator keeps neither; what is asked for is looked at on the way."""
    with fault_proxy_in_thread(fake_gcs.url) as proxy:
        connection = json.loads(os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"])
        connection["extra"]["endpoint_url"] = proxy.url
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
        settle()
        (asked,) = (json.loads(one.body) for one in proxy.requests if one.method == "POST")
    assert (asked["name"], asked["location"]) == (names[1], "EU")
    assert asked["labels"] == {"skyferry-route": "orders"}
    assert asked["iamConfiguration"]["publicAccessPrevention"] == "enforced"


def test_a_bucket_is_removed_when_it_is_empty_and_a_container_never(
    names: tuple[str, str], azurite: Endpoint, fake_gcs: Endpoint
) -> None:
    container, bucket = names
    settle()
    client = google(fake_gcs)
    client.bucket(bucket).blob("raw/1.csv").upload_from_string(b"1")
    assert doings(settle("deprovision")) == ["leave", "leave"]
    client.bucket(bucket).blob("raw/1.csv").delete()
    found = settle("deprovision")
    assert doings(found) == ["remove", "leave"]
    assert client.lookup_bucket(bucket) is None
    blobs = BlobServiceClient.from_connection_string(azurite_connection_string(azurite.url))
    assert blobs.get_container_client(container).exists()


def test_a_bucket_that_was_there_stays(names: tuple[str, str], fake_gcs: Endpoint) -> None:
    client = google(fake_gcs)
    client.create_bucket(names[1])
    assert doings(settle()) == ["create", "keep"]
    assert doings(settle("deprovision")) == ["leave", "leave"]
    assert client.lookup_bucket(names[1]) is not None
