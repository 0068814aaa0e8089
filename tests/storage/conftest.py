"""The storage verbs as a person types them, over the emulators, each behind the front that adds what it leaves out."""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from stack.running import Endpoint
from tests.airflow_home import azurite_connection_string, connection_variables, use_own_airflow
from tests.e2e.buckets import AzureContainer, Bucket, Folder, GoogleBucket, S3Bucket
from tests.faults.gcs_front import cloud_storage
from tests.faults.proxy import FaultProxy, fault_proxy_in_thread
from tests.faults.s3_front import simple_storage

HOME = use_own_airflow()
KINDS = ("s3", "az", "gs", "file")


@dataclass(frozen=True)
class Fronts:
    """What stands between the command and the emulators, by kind of store, and the connections that lead there.

    Attributes:
        emulators: The addresses behind, for the vendors' own clients.
    """

    proxies: dict[str, FaultProxy]
    emulators: dict[str, str]
    variables: dict[str, str]


@dataclass(frozen=True)
class Done:
    """What a command did."""

    returncode: int
    content: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@pytest.fixture(scope="session")
def fronts(moto: Endpoint, azurite: Endpoint, fake_gcs: Endpoint) -> Iterator[Fronts]:
    with ExitStack() as stack:
        s3 = stack.enter_context(fault_proxy_in_thread(moto.url, always=simple_storage()))
        az = stack.enter_context(fault_proxy_in_thread(azurite.url))
        gs = stack.enter_context(fault_proxy_in_thread(fake_gcs.url, always=cloud_storage()))
        variables = connection_variables(moto=s3.url, azurite=az.url, gcs=gs.url)
        emulators = {"s3": moto.url, "az": azurite.url, "gs": fake_gcs.url}
        yield Fronts({"s3": s3, "az": az, "gs": gs}, emulators, variables)


@pytest.fixture(scope="module", autouse=True)
def connected(fronts: Fronts) -> Iterator[None]:
    """Airflow's default connections, for one file: those of other folders, in the same process, differ."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fronts.variables.items():
            patch.setenv(name, value)
        yield


_numbers = itertools.count(1)


@pytest.fixture
def new_bucket(fronts: Fronts, tmp_path: Path) -> Callable[..., Bucket]:
    """Return a function that makes a bucket nobody has used, as the vendor's own client sees it."""

    def make(kind: str, *, create: bool = True) -> Bucket:
        name = f"verbs-{os.getpid()}-{next(_numbers)}"
        bucket: Bucket
        match kind:
            case "s3":
                bucket = S3Bucket(name, fronts.emulators["s3"])
            case "az":
                bucket = AzureContainer(name, azurite_connection_string(fronts.emulators["az"]))
            case "gs":
                bucket = GoogleBucket(name, fronts.emulators["gs"])
            case _:
                bucket = Folder(tmp_path / name)
        if create:
            bucket.create()
        for proxy in fronts.proxies.values():
            proxy.clear()
        return bucket

    return make


@pytest.fixture(params=KINDS)
def bucket(request: pytest.FixtureRequest, new_bucket: Callable[..., Bucket]) -> Bucket:
    return new_bucket(request.param)


@pytest.fixture(params=["s3", "az", "gs"])
def remote(request: pytest.FixtureRequest, new_bucket: Callable[..., Bucket]) -> Bucket:
    return new_bucket(request.param)


def quieten_airflow() -> None:
    """Let an Airflow that other tests have loaded into this process say no more than one that a command loads."""
    if "airflow" in sys.modules:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def transfer(
    fronts: Fronts, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Done]:
    """Return a function that runs `transfer` with these arguments in this process."""

    def run(*arguments: str | Path) -> Done:
        from skyferry.cli import main

        monkeypatch.setenv("COLUMNS", "200")
        quieten_airflow()
        monkeypatch.setattr(sys, "argv", ["transfer", *map(str, arguments)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfdbinary.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err.decode())

    return run
