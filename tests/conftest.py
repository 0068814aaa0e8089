"""The emulators and an Airflow, started once for a test session that needs them, each on free ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from stack.components import component
from stack.running import Endpoint, running
from tests.local_airflow import LocalAirflow, local_airflow

# How fast examples are made and run says something about the machine, and nothing about the code.
settings.register_profile(
    "any-machine",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any-machine")

AZURITE_ACCOUNT = "devstoreaccount1"
# Azurite's published key: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_ROUTE = """\
id: {id}
source: {{url: "file://{{exchange}}/{source}/"}}
destination: {{url: "file://{{exchange}}/{destination}/", create: true}}
"""
ROUTES = {
    route_id: _ROUTE.format(id=route_id, source=source, destination=destination)
    for route_id, source, destination in (
        ("orders", "orders", "lake"),
        ("orders_to_lake", "shop", "shop-lake"),
        ("seven_files", "seven", "seven-copied"),
        ("probed", "probed", "probed-copied"),
        ("witnessed", "witnessed", "witnessed-copied"),
    )
}
"""The routes of `airflow_services`."""


_SHARE_AN_AIRFLOW = {"api", "browser", "history", "docs"}
"""Folders whose tests use `airflow_services`, which takes half a minute to start."""


class _FileByFile(LoadScopeScheduling):
    """One of several processes (`pytest -n`) takes the tests of a file together: they share what it starts.

    xdist's own groups are marks that it writes into the ids of tests, which pytest 9.2 does not take.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "airflow" if file.split("/")[1] in _SHARE_AN_AIRFLOW else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _FileByFile(config, log)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """S3, SQS and the rest of AWS; lists 50 keys a page, so that several pages cost little."""
    environment = {"MOTO_S3_DEFAULT_MAX_KEYS": "50"}
    with running(component("moto"), tmp_path_factory.mktemp("moto"), environment=environment) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Azure Blob Storage; the account's address is `<url>/devstoreaccount1`."""
    with running(component("azurite"), tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Cloud Storage; `tests.faults.gcs_front` adds the preconditions it lacks."""
    with running(component("fake-gcs-server"), tmp_path_factory.mktemp("fake-gcs-server")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of corpora named by SKYFERRY_CORPORA; tests that need it are left out when it is unset."""
    folder = os.environ.get("SKYFERRY_CORPORA", "")
    if not folder:
        pytest.skip("SKYFERRY_CORPORA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def airflow_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """A whole Airflow whose routes copy between folders of its exchange; shared by all tests."""
    users = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer,user:user,op:op"}
    with local_airflow(tmp_path_factory.mktemp("airflow"), routes=ROUTES, environment=users) as airflow:
        yield airflow
