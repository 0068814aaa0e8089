"""What command line and REST say of a run is what the stores hold, whatever became of the run under the scheduler."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from skyferry.history.airflow_api import AirflowApi
from skyferry.history.run_control import cancel_run, retry_run, start_run
from skyferry.history.transfer_run import TransferRun
from skyferry.keys import is_temporary_name
from tests.e2e.truth import HISTORY_WITNESSES, Evidence, check_truth
from tests.history.conftest import Transfer
from tests.local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

UntilOver = Callable[[TransferRun], TransferRun]
Folders = Callable[[int], tuple[Path, Path]]


class Court:
    """One transfer, from before its first attempt; asks everybody what it did."""

    def __init__(
        self,
        airflow: LocalAirflow,
        api: AirflowApi,
        transfer: Transfer,
        client: httpx.Client,
        places: tuple[Path, Path],
    ) -> None:
        self.airflow, self.api, self.transfer, self.client = airflow, api, transfer, client
        self.source, self.destination = places
        self.source_before, self.destination_before = content(self.source), content(self.destination)

    def conf(self, name: str, **more: object) -> dict[str, object]:
        places = {"source": f"file://{self.source}/", "destination": f"file://{self.destination}/"}
        return {"id": name, **places, "create_destination": True, **more}

    def status(self, run: TransferRun) -> Mapping[str, Any]:
        shown: Mapping[str, Any] = json.loads(self.transfer("status", "--run", run.run_id, "--json").stdout)
        return shown

    def statistic(self, run: TransferRun) -> Mapping[str, Any]:
        """What the statistics of this run's name are; it has been used for no other run."""
        done = self.transfer("statistic", "--id", run.route, "--json")
        numbers: Mapping[str, Any] = json.loads(done.stdout)["total"]["numbers"]
        return numbers

    def over_http(self, path: str, **query: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.client.get(path, params=query).raise_for_status().json()
        return found

    def check(self, run: TransferRun, *, state: str = "success") -> set[str]:
        """Ask all about a run that is over; they have to agree. Return who said something."""
        shown, statistic = self.status(run), self.statistic(run)
        http = self.over_http(f"/transfers/{run.dag_id}/{run.run_id}")
        statistics = self.over_http("/statistics", route=run.route)["total"]
        for numbers in (statistic, statistics):
            assert (numbers["runs_total"], numbers["runs"][state]) == (1, 1), "a run is counted once"
        assert (shown["outcome"], http["outcome"]) == (state, state)
        evidence = Evidence(
            run_id=run.run_id,
            state=run.state,
            report=self.api.report(run.dag_id, run.run_id),
            source_before=self.source_before,
            destination_before=self.destination_before,
            destination_after=content(self.destination),
            asset_events=self._asset_events(run),
            told={
                "status": shown["report"],
                "statistic": statistic,
                "transfer_over_http": http["numbers"],
                "statistics_over_http": statistics,
            },
        )
        told = check_truth(evidence)
        assert set(told) >= {"stores", "receipts", "report", *(witness.__name__ for witness in HISTORY_WITNESSES)}
        return set(told)

    def _asset_events(self, run: TransferRun) -> list[Mapping[str, Any]]:
        answer = self.client.get(
            self.airflow.url + "/api/v2/assets/events", params={"source_run_id": run.run_id, "order_by": "timestamp"}
        )
        return [event["extra"] for event in answer.raise_for_status().json()["asset_events"]]


def content(folder: Path) -> dict[str, bytes]:
    """What lies in a folder; a process that was killed may have left a file under a temporary name."""
    files = [file for file in folder.rglob("*") if file.is_file() and not is_temporary_name(file.name)]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture
def client(airflow_services: LocalAirflow) -> Iterator[httpx.Client]:
    login = {"username": airflow_services.user, "password": airflow_services.password}
    with httpx.Client(base_url=airflow_services.url + "/transfer/v1", timeout=120, trust_env=False) as made:
        answer = made.post(airflow_services.url + "/auth/token", json=login)
        made.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        yield made


@pytest.fixture
def court(
    airflow_services: LocalAirflow, api: AirflowApi, transfer: Transfer, client: httpx.Client
) -> Callable[[tuple[Path, Path]], Court]:
    return lambda places: Court(airflow_services, api, transfer, client, places)


def test_a_run_that_is_cleared_and_runs_again_counts_once(
    airflow_services: LocalAirflow, api: AirflowApi, court: Callable[[tuple[Path, Path]], Court], until_over: UntilOver
) -> None:
    source = airflow_services.exchange / "witnessed"
    source.mkdir()
    for number in range(3):
        (source / f"{number}.txt").write_bytes(b"x" * (number + 1))
    case = court((source, airflow_services.exchange / "witnessed-copied"))
    run = until_over(start_run(api, {"id": "witnessed"}))
    assert "asset_event" in case.check(run)
    again = until_over(retry_run(api, run, failed_only=False))
    assert "asset_event" in case.check(again)


def test_a_run_that_fails_and_is_retried_counts_once(
    api: AirflowApi, folders: Folders, court: Callable[[tuple[Path, Path]], Court], until_over: UntilOver
) -> None:
    source, destination = folders(3)
    destination.mkdir()
    (destination / "file-1.bin").write_bytes(b"something else")
    case = court((source, destination))
    run = until_over(start_run(api, case.conf("witnessed-retry", on_conflict="fail")))
    case.check(run, state="failed")
    (destination / "file-1.bin").unlink()
    case.destination_before = {}
    case.check(until_over(retry_run(api, run, failed_only=False)))


def test_a_run_whose_task_was_killed_counts_each_object_once(
    api: AirflowApi,
    airflow_services: LocalAirflow,
    folders: Folders,
    court: Callable[[tuple[Path, Path]], Court],
    until_over: UntilOver,
) -> None:
    case = court(folders(1_500))
    run = start_run(api, case.conf("witnessed-kill", max_objects_in_flight=1, batch_objects=1_500))
    path = f"{airflow_services.url}/api/v2/dags/transfer/dagRuns/{run.run_id}/taskInstances/copy/listMapped"
    killed = 0
    deadline = time.monotonic() + 180
    while not killed:
        assert time.monotonic() < deadline
        if case.destination.is_dir() and any(case.destination.iterdir()):
            [task] = case.client.get(path).raise_for_status().json()["task_instances"]
            assert task["state"] == "running", "it was killed while it copied"
            killed = task["pid"]
            os.kill(killed, signal.SIGKILL)
        time.sleep(0.05)
    run = until_over(run)
    attempts = {task.task_id: task.try_number for task in api.tasks(run.dag_id, run.run_id)}
    assert attempts == {"plan": 1, "copy": 2, "report": 1}
    case.check(run)
    assert len(content(case.destination)) == 1_500


@pytest.mark.parametrize("failed_only", [False, True])
def test_a_run_that_is_cancelled_while_it_copies_counts_once_and_goes_on_when_it_runs_again(
    api: AirflowApi,
    folders: Folders,
    court: Callable[[tuple[Path, Path]], Court],
    until_over: UntilOver,
    failed_only: bool,
) -> None:
    case = court(folders(1_500))
    run = start_run(
        api, case.conf(f"witnessed-cancel-{int(failed_only)}", max_objects_in_flight=1, batch_objects=1_500)
    )
    deadline = time.monotonic() + 180
    while not (case.destination.is_dir() and any(case.destination.iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cancelled = cancel_run(api, run)
    states = {task.task_id: task.state for task in api.tasks(run.dag_id, run.run_id)}
    assert states["copy"] == "failed", "it was cancelled while it copied"
    for numbers in (case.statistic(run), case.over_http("/statistics", route=run.route)["total"]):
        assert (numbers["runs_total"], numbers["runs"]["failed"]) == (1, 1)
    again = until_over(retry_run(api, cancelled, failed_only=failed_only))
    tries = {task.task_id: (task.state, task.try_number) for task in api.tasks(run.dag_id, run.run_id)}
    assert tries == {"plan": ("success", 1 if failed_only else 2), "copy": ("success", 2), "report": ("success", 1)}
    assert len(content(case.destination)) == 1_500
    told = case.over_http(f"/transfers/{again.dag_id}/{again.run_id}")["numbers"]
    # A new plan finds the object that was in flight identical: it arrived, and left no receipt.
    assert told["objects_copied"] in ({1_500} if failed_only else {1_499, 1_500})
    assert told["objects_copied"] + told["objects_skipped"] == 1_500
    for numbers in (case.statistic(again), case.over_http("/statistics", route=again.route)["total"]):
        assert (numbers["runs_total"], numbers["runs"]["success"]) == (1, 1)
        assert numbers["objects_copied"] == told["objects_copied"]


def test_a_run_that_was_cancelled_has_no_report_and_is_shown_so(
    court: Callable[[tuple[Path, Path]], Court], api: AirflowApi, waiting_run: TransferRun, folders: Folders
) -> None:
    case = court(folders(1))
    run = cancel_run(api, waiting_run)
    shown, http = case.status(run), case.over_http(f"/transfers/{run.dag_id}/{run.run_id}")
    for told in (shown, http):
        assert (told["outcome"], told["is_report_missing"], told["report"]) == ("failed", True, None)


def test_a_green_run_without_a_report_is_no_success(
    court: Callable[[tuple[Path, Path]], Court], api: AirflowApi, folders: Folders, until_over: UntilOver
) -> None:
    case = court(folders(1))
    run = until_over(start_run(api, case.conf("witnessed-loss")))
    lost = f"/api/v2/dags/transfer/dagRuns/{run.run_id}/taskInstances/report/xcomEntries/return_value"
    case.client.delete(case.airflow.url + lost).raise_for_status()
    assert case.status(run)["outcome"] == "report_missing"
    assert case.over_http(f"/transfers/{run.dag_id}/{run.run_id}")["outcome"] == "report_missing"
    for numbers in (case.statistic(run), case.over_http("/statistics", route=run.route)["total"]):
        assert (numbers["runs"]["report_missing"], numbers["runs"]["success"], numbers["objects_copied"]) == (1, 0, 0)
