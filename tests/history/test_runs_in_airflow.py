"""The history of real runs in a real Airflow: what is started, watched, cancelled and retried is what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skyferry.errors import (
    AirflowAccessError,
    AirflowRefusedError,
    AirflowUnreachableError,
    RequestError,
    UnknownRouteError,
    UnknownRunError,
)
from skyferry.history.airflow_api import AirflowApi
from skyferry.history.run_cache import RunCache
from skyferry.history.run_control import cancel_run, retry_run, start_run
from skyferry.history.run_history import RunHistory
from skyferry.history.run_progress import ProgressReader
from skyferry.history.statistics import compute_statistics
from skyferry.history.transfer_run import TransferRun
from tests.local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

UntilOver = Callable[[TransferRun], TransferRun]
Folders = Callable[[int], tuple[Path, Path]]


def conf_of(folders: tuple[Path, Path], name: str, **more: object) -> dict[str, object]:
    source, destination = folders
    places = {"source": f"file://{source}/", "destination": f"file://{destination}/"}
    return {"id": name, **places, "create_destination": True, **more}


@pytest.fixture
def cache(tmp_path: Path) -> RunCache:
    return RunCache(tmp_path / "cache.sqlite")


def test_a_run_of_a_route_is_started_watched_and_reported(
    api: AirflowApi, airflow_services: LocalAirflow, until_over: UntilOver
) -> None:
    orders = airflow_services.exchange / "seven"
    orders.mkdir(parents=True, exist_ok=True)
    for number in range(7):
        (orders / f"{number}.csv").write_bytes(b"x" * 100)
    run = start_run(api, {"id": "seven_files", "batch_objects": 3})
    assert (run.dag_id, run.route, run.outcome) == ("transfer__seven_files", "seven_files", "queued")
    run = until_over(run)
    for records, is_exact in ((str(airflow_services.state), True), ("", False)):
        progress = ProgressReader(api, run, records=records).read()
        assert progress.is_exact == is_exact
        assert (progress.objects_done, progress.bytes_done) == (7, 700)
        assert (progress.objects_total, progress.bytes_total) == (7, 700)
        assert progress.tasks == {"plan": {"success": 1}, "copy": {"success": 3}, "report": {"success": 1}}
        assert {batch.name.partition(" (")[0] for batch in progress.batches} == {
            "batch 1 of 3", "batch 2 of 3", "batch 3 of 3"
        }  # fmt: skip
    found = RunHistory(api).run(run.run_id)
    assert found.outcome == "success"
    assert found.numbers.objects_copied == 7
    assert found.numbers.pair == "file to file"
    assert [each.run_id for each in RunHistory(api).latest(limit=5, route="seven_files")] == [run.run_id]


def test_a_failed_run_that_is_retried_counts_once_and_by_its_last_report(
    api: AirflowApi, folders: Folders, until_over: UntilOver, cache: RunCache
) -> None:
    source, destination = folders(3)
    destination.mkdir()
    (destination / "file-1.bin").write_bytes(b"something else")
    run = until_over(start_run(api, conf_of((source, destination), "retried", on_conflict="fail")))
    history = RunHistory(api, cache)

    def numbers() -> tuple[dict[str, int], int, int]:
        total = compute_statistics(history.stream(), route="retried").total
        return {name: count for name, count in total.runs.items() if count}, total.objects_copied, total.objects_refused

    assert history.run(run.run_id).outcome == "failed"
    assert numbers() == ({"failed": 1}, 2, 1)
    (destination / "file-1.bin").unlink()
    again = retry_run(api, run, failed_only=False)
    assert again.run_id == run.run_id
    assert numbers()[0] in ({"queued": 1}, {"running": 1})
    until_over(again)
    assert numbers() == ({"success": 1}, 3, 0)
    assert "run again by admin" in history.run(run.run_id).note


def test_a_run_that_was_deleted_in_airflow_is_forgotten(
    api: AirflowApi, folders: Folders, until_over: UntilOver, cache: RunCache
) -> None:
    run = until_over(start_run(api, conf_of(folders(1), "deleted")))
    history = RunHistory(api, cache)
    assert compute_statistics(history.stream(), route="deleted").total.runs_total == 1
    api._runs.delete_dag_run(run.dag_id, run.run_id)
    assert compute_statistics(history.stream(), route="deleted").total.runs_total == 0
    with pytest.raises(UnknownRunError, match="no run "):
        history.run(run.run_id)


def test_a_cancelled_run_is_failed_and_says_who_did_it(
    api: AirflowApi, waiting_run: TransferRun, cache: RunCache
) -> None:
    cancelled = cancel_run(api, waiting_run)
    assert cancelled.state == "failed"
    found = RunHistory(api, cache).run(waiting_run.run_id)
    assert (found.outcome, found.is_report_missing, found.note) == ("failed", True, "cancelled by admin")
    with pytest.raises(AirflowRefusedError, match="is over"):
        cancel_run(api, found)


def test_only_what_failed_is_retried_when_that_is_wanted(
    api: AirflowApi, folders: Folders, until_over: UntilOver
) -> None:
    run = until_over(start_run(api, conf_of(folders(1), "whole")))
    with pytest.raises(AirflowRefusedError, match="nothing failed"):
        retry_run(api, run, failed_only=True)
    failed = api.fail_run(run.dag_id, run.run_id, note="for the test")
    before = {task.task_id: task.try_number for task in api.tasks(run.dag_id, run.run_id)}
    assert before == {"plan": 1, "copy": 1, "report": 1}
    again = until_over(retry_run(api, failed, failed_only=True))
    after = {task.task_id: task.try_number for task in api.tasks(run.dag_id, run.run_id)}
    assert (again.state, after) == ("success", {"plan": 1, "copy": 1, "report": 2})
    assert again.note.startswith("failed tasks run again by")


def test_the_cache_asks_for_a_report_once(
    api: AirflowApi, folders: Folders, until_over: UntilOver, cache: RunCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    until_over(start_run(api, conf_of(folders(1), "cached")))
    history = RunHistory(api, cache)
    first = list(history.stream())
    asked: list[object] = []
    report = AirflowApi.report
    monkeypatch.setattr(AirflowApi, "report", lambda self, *args: asked.append(args) or report(self, *args))
    assert list(history.stream()) == first
    assert asked == []
    cache.close()
    cache.file.unlink()
    assert list(RunHistory(api, RunCache(cache.file)).stream()) == first
    assert len(asked) == sum(run.is_finished for run in first)


def test_reports_of_many_runs_come_from_asset_events_and_are_the_same(
    api: AirflowApi,
    airflow_services: LocalAirflow,
    until_over: UntilOver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders = airflow_services.exchange / "orders"
    orders.mkdir(parents=True, exist_ok=True)
    (orders / "announced.csv").write_bytes(b"x" * 100)
    run = until_over(start_run(api, {"id": "orders"}))
    unchanged = until_over(start_run(api, {"id": "orders"}))
    (orders / "announced.csv").write_bytes(b"y" * 50)
    cleared = until_over(start_run(api, {"id": "orders"}))
    (orders / "another.csv").write_bytes(b"z" * 7)
    until_over(retry_run(api, cleared, failed_only=False))
    asked: list[object] = []
    report = AirflowApi.report
    monkeypatch.setattr(AirflowApi, "report", lambda self, *args: asked.append(args[1]) or report(self, *args))
    one_by_one = RunHistory(api, RunCache(tmp_path / "one-by-one.sqlite")).stream()
    expected = compute_statistics(one_by_one, group_by="route")
    assert {run.run_id, unchanged.run_id} <= set(asked)
    asked.clear()
    monkeypatch.setattr("skyferry.history.run_history.PAGE_RUNS", 1)
    announced = list(RunHistory(api, RunCache(tmp_path / "announced.sqlite")).stream())
    assert not {run.run_id, unchanged.run_id} & set(asked), "what came as an event is not asked for again"
    assert compute_statistics(announced, group_by="route") == expected
    [again] = [each for each in announced if each.run_id == cleared.run_id]
    asked_for = dict(api.report(again.dag_id, again.run_id) or {})
    assert asked_for.pop("problems") == []
    assert asked_for.items() <= (again.report or {}).items()
    assert again.numbers.objects_copied == 2, "the announcement of its first turn does not count"


def test_a_run_that_is_not_over_has_no_report_and_nobody_waits_for_it(
    api: AirflowApi, waiting_run: TransferRun
) -> None:
    begun = time.monotonic()
    assert api.report(waiting_run.dag_id, waiting_run.run_id) is None
    assert api.report(waiting_run.dag_id, "no such run") is None
    assert time.monotonic() - begun < 60, "the answer is endless while the run is not over"


def test_since_leaves_out_what_was_before(
    api: AirflowApi, folders: Folders, until_over: UntilOver, cache: RunCache
) -> None:
    old = until_over(start_run(api, conf_of(folders(1), "old")))
    time.sleep(0.01)
    new = until_over(start_run(api, conf_of(folders(1), "new")))
    history = RunHistory(api, cache)
    assert [run.run_id for run in history.stream(since=new.run_after)] == [new.run_id]
    assert {old.run_id, new.run_id} <= {run.run_id for run in history.stream()}


@pytest.mark.parametrize(
    ("conf", "kind", "message"),
    [
        (
            {"id": "orders_to_lak"},
            UnknownRouteError,
            'Airflow knows no route "orders_to_lak"; did you mean "orders_to_lake"?',
        ),
        ({}, UnknownRouteError, "name a route, or source and destination. Known routes: orders, "),
        ({"id": "orders_to_lake", "copy": "yes"}, AirflowRefusedError, "'yes' is not of type 'boolean'"),
        ({"source": "s3://a-bucket", "destination": "s3://a-bucket/x"}, RequestError, "would feed itself"),
    ],
)
def test_what_cannot_be_started_is_refused_with_one_message(
    api: AirflowApi, conf: dict[str, object], kind: type[Exception], message: str
) -> None:
    runs = api.list_runs(["transfer", "transfer__orders_to_lake"]).total
    with pytest.raises(kind) as caught:
        start_run(api, conf)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert api.list_runs(["transfer", "transfer__orders_to_lake"]).total == runs


def test_an_airflow_that_is_not_there_and_logins_that_are_wrong(api: AirflowApi) -> None:
    good = api.access
    cases = [
        (replace(good, url="http://127.0.0.1:9"), AirflowUnreachableError, "connection refused"),
        (replace(good, url=f"{good.url}/docs"), AirflowUnreachableError, "is no Airflow 3"),
        (replace(good, password="wrong"), AirflowAccessError, 'refuses user "admin"'),
        (replace(good, token="sentinel.token.text"), AirflowAccessError, "refuses the login"),
    ]
    for access, kind, message in cases:
        with pytest.raises(kind) as caught:
            AirflowApi(access).dags()
        assert message in str(caught.value)
        assert "sentinel" not in str(caught.value)
        assert "sentinel" not in repr(access)
