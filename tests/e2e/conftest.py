"""Whole DAG runs in this process, against the emulators."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stack.running import Endpoint
from tests.airflow_home import (
    PROJECT,
    azurite_connection_string,
    connection_variables,
    migrate_database,
    use_own_airflow,
)
from tests.e2e.buckets import AzureContainer, Bucket, Folder, GoogleBucket, S3Bucket

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

HOME = use_own_airflow()

SECRET = "Sentinel/Secret+Key/0123456789abcdef"
"""The S3 secret key in the connection; it must appear nowhere else."""


@dataclass(frozen=True)
class Emulators:
    """Where the stores are."""

    s3: str
    az: str
    gs: str


@pytest.fixture(scope="session")
def emulators(moto: Endpoint, azurite: Endpoint, fake_gcs: Endpoint) -> Iterator[Emulators]:
    """The emulators, known to Airflow as the default connections."""
    variables = connection_variables(moto=moto.url, azurite=azurite.url, gcs=fake_gcs.url, secret=SECRET)
    os.environ.update(variables)
    yield Emulators(moto.url, azurite.url, fake_gcs.url)
    for name in variables:
        del os.environ[name]


@pytest.fixture(scope="session")
def airflow_database(emulators: Emulators) -> None:
    migrate_database()


class Buckets:
    """Makes buckets nobody has used."""

    def __init__(self, emulators: Emulators) -> None:
        self._emulators = emulators
        self._numbers = itertools.count(1)

    def new(self, kind: str, *, create: bool = True) -> Bucket:
        name = f"bucket-{os.getpid()}-{next(self._numbers)}"
        bucket: Bucket
        match kind:
            case "s3":
                bucket = S3Bucket(name, self._emulators.s3)
            case "az":
                bucket = AzureContainer(name, azurite_connection_string(self._emulators.az))
            case "gs":
                bucket = GoogleBucket(name, self._emulators.gs)
            case _:
                bucket = Folder(HOME / "roots" / name)
        if create:
            bucket.create()
        return bucket


@pytest.fixture(scope="session")
def buckets(emulators: Emulators) -> Buckets:
    return Buckets(emulators)


@dataclass(frozen=True)
class Ended:
    """A DAG run that has ended.

    Attributes:
        report: XCom of the task `report`; None when there is none.
        xcoms: Task id and key to the values of all its instances.
        tasks: Task id to the states of all its instances.
        batch_names: What the UI shows for the copy task's instances.
        log: What the run printed.
    """

    state: str
    report: dict[str, Any] | None
    xcoms: dict[tuple[str, str], list[Any]]
    tasks: dict[str, list[str]]
    batch_names: list[str]
    log: str

    @property
    def errors(self) -> list[str]:
        """The lines of the log that are errors."""
        return [line for line in self.log.splitlines() if "[error " in line]


class Runner:
    """Runs DAGs as `airflow dags test` does."""

    def __init__(self, bag: DagBag, capture: pytest.CaptureFixture[str]) -> None:
        self._bag = bag
        self._capture = capture

    def run(self, conf: dict[str, Any], dag_id: str = "transfer") -> Ended:
        _drop_dead_log_handlers()
        self._capture.readouterr()
        dag_run = self._bag.dags[dag_id].test(run_conf=conf)
        printed = self._capture.readouterr()
        instances = dag_run.get_task_instances()
        xcoms = read_xcoms(dag_run.dag_id, dag_run.run_id)
        return Ended(
            state=str(dag_run.state),
            report=next(iter(xcoms.get(("report", "return_value"), [])), None),
            xcoms=xcoms,
            tasks={
                task_id: [str(one.state) for one in instances if one.task_id == task_id]
                for task_id in ("plan", "copy", "report")
            },
            batch_names=sorted(one.rendered_map_index for one in instances if one.rendered_map_index),
            log=printed.out + printed.err,
        )


def _drop_dead_log_handlers() -> None:
    """Take away the log handlers an earlier run left, which write to output of that test, closed since by pytest.

    Otherwise Python's logging complains with a traceback of its own for every line Airflow logs.
    """
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in list(getattr(logger, "handlers", ())):
            if getattr(getattr(handler, "stream", None), "closed", False):
                logger.removeHandler(handler)  # type: ignore[union-attr]  # placeholders have no handlers


def read_xcoms(dag_id: str, run_id: str) -> dict[tuple[str, str], list[Any]]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    found: dict[tuple[str, str], list[Any]] = {}
    with create_session() as session:
        query = select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)
        for row in session.scalars(query.order_by(XComModel.map_index)):
            found.setdefault((row.task_id, row.key), []).append(XComModel.deserialize_value(row))
    return found


@pytest.fixture(scope="session")
def dag_bag(airflow_database: None) -> DagBag:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return bag


@pytest.fixture
def airflow(dag_bag: DagBag, capfd: pytest.CaptureFixture[str]) -> Runner:
    return Runner(dag_bag, capfd)


@pytest.fixture
def state_folder() -> Path:
    """Where the runs of this test session keep their records."""
    return HOME / "skyferry-state"
