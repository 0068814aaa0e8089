"""Whole DAG runs in this process, against the emulators."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Mapping
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
from tests.e2e.history_witnesses import HistoryWitnesses, Sums, history_witnesses
from tests.e2e.truth import Evidence, check_told, check_truth, content_below

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
def emulators(moto: Endpoint, azurite: Endpoint, fake_gcs: Endpoint) -> Emulators:
    return Emulators(moto.url, azurite.url, fake_gcs.url)


@pytest.fixture(scope="session")
def connections(emulators: Emulators) -> dict[str, str]:
    """The emulators as Airflow's default connections."""
    return connection_variables(moto=emulators.s3, azurite=emulators.az, gcs=emulators.gs, secret=SECRET)


@pytest.fixture(scope="module", autouse=True)
def connected(connections: dict[str, str]) -> Iterator[None]:
    """Airflow's default connections, for one file: those of other folders, in the same process, differ."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in connections.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def airflow_database(emulators: Emulators) -> None:
    migrate_database()


@pytest.fixture(scope="session")
def witnesses(airflow_database: None) -> Iterator[HistoryWitnesses]:
    """Command line and REST, reading what this session runs."""
    with history_witnesses(HOME / "witnesses") as started:
        yield started


class Buckets:
    """Makes buckets nobody has used."""

    def __init__(self, emulators: Emulators) -> None:
        self._emulators = emulators
        self._numbers = itertools.count(1)
        self._made: list[Bucket] = []

    def holding(self, url: object) -> Bucket | None:
        """Return the bucket a URL leads into; None for one that was not made here."""
        return next((bucket for bucket in self._made if f"{url}/".startswith(bucket.url)), None)

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
        self._made.append(bucket)
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

    dag_id: str
    run_id: str
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


class Places:
    """Source, destination and history as they are before a run, for the checker of `tests.e2e.truth`."""

    def __init__(self, buckets: Buckets, witnesses: HistoryWitnesses, conf: Mapping[str, Any], dag_id: str) -> None:
        self._dag_id, self._witnesses = dag_id, witnesses
        self._urls = (conf.get("source"), conf.get("destination"))
        self._source, self._destination = (buckets.holding(url) for url in self._urls)
        self._before = (content_below(self._source), content_below(self._destination))
        self._sums: Sums = witnesses.sums()

    def check(self, run_id: str, state: str, report: dict[str, Any] | None, **accounts: Any) -> set[str]:
        """Look whether all accounts of a run agree, and return whose they are.

        Where the places are not known, the history is compared with the report, and none is returned.
        """
        told = self._witnesses.told(self._dag_id, run_id, state=state, has_report=report is not None, before=self._sums)
        check_told(report, told)
        if self._source is None or self._destination is None:
            return set()
        evidence = Evidence(
            run_id=run_id,
            state=state,
            report=report,
            source_before=self._before[0],
            destination_before=self._before[1],
            destination_after=content_below(self._destination),
            told=told,
            prefixes=(_prefix(self._urls[0], self._source), _prefix(self._urls[1], self._destination)),
            **accounts,
        )
        return set(check_truth(evidence))


def _prefix(url: Any, bucket: Bucket) -> str:
    """Return what stands before the keys of receipts, which for local folders begin below the folder."""
    below = f"{url.rstrip('/')}/".removeprefix(bucket.url)
    return below if isinstance(bucket, Folder) else ""


class Runner:
    """Runs DAGs as `airflow dags test` does, and looks whether what is said of each run is true.

    Args:
        buckets: Runs between these are looked into.
        witnesses: They are asked about each run that is looked into.
    """

    def __init__(
        self,
        bag: DagBag,
        capture: pytest.CaptureFixture[str],
        buckets: Buckets | None = None,
        witnesses: HistoryWitnesses | None = None,
    ) -> None:
        self._bag = bag
        self._capture = capture
        self._buckets = buckets
        self._witnesses = witnesses

    def run(self, conf: dict[str, Any], dag_id: str = "transfer") -> Ended:
        if self._buckets is None or self._witnesses is None:
            return self._run(conf, dag_id)
        places = Places(self._buckets, self._witnesses, conf, dag_id)
        ended = self._run(conf, dag_id)
        places.check(ended.run_id, ended.state, ended.report)
        return ended

    def _run(self, conf: dict[str, Any], dag_id: str) -> Ended:
        _drop_dead_log_handlers()
        self._capture.readouterr()
        dag_run = self._bag.dags[dag_id].test(run_conf=conf)
        printed = self._capture.readouterr()
        instances = dag_run.get_task_instances()
        xcoms = read_xcoms(dag_run.dag_id, dag_run.run_id)
        return Ended(
            dag_id=dag_run.dag_id,
            run_id=dag_run.run_id,
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
def airflow(
    dag_bag: DagBag, capfd: pytest.CaptureFixture[str], buckets: Buckets, witnesses: HistoryWitnesses
) -> Runner:
    return Runner(dag_bag, capfd, buckets, witnesses)


@pytest.fixture
def state_folder() -> Path:
    """Where the runs of this test session keep their records."""
    return HOME / "skyferry-state"
