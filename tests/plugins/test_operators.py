"""The three tasks, each by itself: `execute` with a plain dict for a context."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_bridge.stage_failure import StageFailed
from operators.transfer_copy import CopyBatchOperator
from operators.transfer_plan import PlanTransferOperator
from operators.transfer_report import ReportTransferOperator
from skyferry.errors import BucketMissingError, TransferIncompleteError

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


class TaskInstance:
    """As much of a task instance as the operators ask for; one for the whole run."""

    try_number = 1

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        assert task_ids == "plan"
        return self.xcoms.get(key)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders a transfer may use."""
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(tmp_path))
    monkeypatch.setenv("SKYFERRY_STATE_URL", f"file://{tmp_path}/state")
    source, destination = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    destination.mkdir()
    return source, destination


@pytest.fixture
def context(folders):
    source, destination = folders
    conf = {"source": f"file://{source}/", "destination": f"file://{destination}/", "batch_objects": 2}
    run = SimpleNamespace(conf=conf, dag_id="transfer", run_id="manual__1", start_date=NOW, run_after=NOW)
    return {"dag_run": run, "ti": TaskInstance()}


def plan(context) -> list[dict[str, Any]]:
    return PlanTransferOperator(task_id="plan").execute(context)


def copy_all(context, batches) -> list[dict[str, Any]]:
    return [CopyBatchOperator(task_id="copy", batch=batch).execute(context) for batch in batches]


def report(context) -> dict[str, Any]:
    operator = ReportTransferOperator(task_id="report")
    return operator.execute(context | {"task": operator})


def test_plan_copy_report(folders, context):
    source, destination = folders
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    batches = plan(context)
    assert [batch["objects"] for batch in batches] == [2, 1]
    assert [result["copied"] for result in copy_all(context, batches)] == [2, 1]
    assert context["batch_name"] == batches[-1]["name"]
    told = report(context)
    assert (told["state"], told["objects_copied"], told["bytes_copied"]) == ("success", 3, 3)
    assert {path.name: path.read_text() for path in destination.iterdir()} == {"a": "a", "b": "b", "c": "c"}


def test_a_report_without_all_receipts_fails_and_is_kept(folders, context):
    source, _ = folders
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    batches = plan(context)
    copy_all(context, batches[:1])  # the second batch's task was lost
    with pytest.raises(StageFailed) as caught:
        report(context)
    assert isinstance(caught.value.error, TransferIncompleteError)
    kept = context["ti"].xcoms["return_value"]
    assert (kept["state"], kept["objects_copied"], kept["objects_failed"]) == ("failed", 2, 1)


def test_a_plan_that_failed_makes_the_report_fail(folders, context):
    source, _ = folders
    source.rmdir()
    with pytest.raises(StageFailed) as caught:
        plan(context)
    assert isinstance(caught.value.error, BucketMissingError)
    with pytest.raises(StageFailed):
        report(context)
    told = context["ti"].xcoms["return_value"]
    assert told["state"] == "failed"
    (problem,) = told["problems"]
    assert problem == str(caught.value.error)
    assert f"file://{source}/" in problem


def test_a_failed_second_plan_is_not_covered_by_the_first_one_s_success(folders, context):
    source, _ = folders
    (source / "a").write_text("a")
    copy_all(context, plan(context))
    assert report(context)["state"] == "success"
    # The run was cleared: Airflow deletes the XComs of a task that runs again, and this time it fails.
    context["ti"].xcoms.clear()
    with pytest.raises(StageFailed, match="the plan failed"):
        report(context)


def test_the_whole_run_repeated_copies_nothing_and_counts_the_same(folders, context):
    source, _ = folders
    (source / "a").write_text("a")
    copy_all(context, plan(context))
    first = report(context)
    assert copy_all(context, plan(context)) == []
    second = report(context)
    same = ("objects_planned", "objects_copied", "bytes_copied", "verified_by")
    assert {name: first[name] for name in same} == {name: second[name] for name in same}


def test_killing_a_task_that_does_not_run_is_harmless():
    PlanTransferOperator(task_id="plan").on_kill()


def test_a_failed_run_has_lineage_too(folders, context):
    source, destination = folders
    (source / "a").write_text("a")
    plan(context)
    operator = ReportTransferOperator(task_id="report")
    with pytest.raises(StageFailed):
        operator.execute(context | {"task": operator})
    lineage = operator.get_openlineage_facets_on_failure(None)
    assert [(one.namespace, one.name) for one in lineage.inputs] == [("file", str(source))]
    assert [(one.namespace, one.name) for one in lineage.outputs] == [("file", str(destination))]


def test_a_run_that_got_nowhere_has_an_empty_lineage():
    lineage = ReportTransferOperator(task_id="report").get_openlineage_facets_on_failure(None)
    assert (lineage.inputs, lineage.outputs) == ([], [])
