"""The task of the DAG `maintenance`: which uploads it may touch, and whose it asks Airflow about."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_bridge.stage_failure import StageFailed
from operators.transfer_maintenance import CleanUploadsOperator

NAME = ".skyferry-0123456789abcdef.part"


class TaskInstance:
    """As much of a task instance as the operator asks for."""

    def __init__(self, state: str | None) -> None:
        self.state = state
        self.asked: list[tuple[str, str]] = []
        self.xcoms: dict[str, Any] = {}

    def get_dagrun_state(self, dag_id: str, run_id: str) -> str:
        self.asked.append((dag_id, run_id))
        if self.state is None:
            raise LookupError(run_id)
        return self.state

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@pytest.fixture
def partial(tmp_path, monkeypatch):
    """A partial file with its record, of which nothing was written for a moment."""
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(tmp_path))
    monkeypatch.setenv("SKYFERRY_STATE_URL", f"file://{tmp_path}/state")
    monkeypatch.setattr("skyferry.upload_cleanup.MIN_AGE_SECONDS", 0)
    record = {
        "version": 1, "identity": "ab" * 32, "source": "file:///in/large", "destination": f"file://{tmp_path}/out/large",
        "destination_conn_id": "", "key": "large", "size_bytes": 10, "part_bytes": 8, "token": {"file": NAME},
        "dag_id": "transfer", "run_id": "manual__1", "began_at": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
    }  # fmt: skip
    folder = tmp_path / "state/uploads" / ("0" * 32) / ("1" * 32)
    folder.mkdir(parents=True)
    (folder / "upload.json").write_text(json.dumps(record))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).write_text("half of it")
    return tmp_path / "out" / NAME


def clean(ti: TaskInstance, **params: Any) -> dict[str, Any]:
    defaults = {"id": None, "url": None, "older_than_seconds": 0, "dry_run": False}
    return CleanUploadsOperator(task_id="clean").execute({"params": defaults | params, "ti": ti})


@pytest.mark.parametrize("state", ["success", "failed", None])
def test_what_a_finished_run_left_is_removed(partial, state):
    ti = TaskInstance(state)
    found = clean(ti)
    assert (found["state"], found["uploads_removed"], found["removed"]) == (
        "success",
        1,
        [f"file://{partial.parent}/large"],
    )
    assert ti.asked == [("transfer", "manual__1")]
    assert not partial.exists()


@pytest.mark.parametrize("state", ["running", "queued"])
def test_what_a_run_that_is_not_over_left_stays(partial, state):
    found = clean(TaskInstance(state))
    assert (found["uploads_live"], found["uploads_removed"]) == (1, 0)
    assert partial.exists()


def test_a_dry_run_removes_nothing(partial):
    assert clean(TaskInstance("failed"), dry_run=True)["uploads_removed"] == 1
    assert partial.exists()


def test_only_what_lies_below_a_url(partial):
    assert clean(TaskInstance("failed"), url=f"file://{partial.parent.parent}/elsewhere/")["uploads_found"] == 0
    assert partial.exists()


def test_a_place_that_nobody_may_use_any_more_is_a_problem(partial, monkeypatch):
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(partial.parent.parent / "state"))
    ti = TaskInstance("failed")
    with pytest.raises(StageFailed, match="outside the allowed roots"):
        clean(ti)
    assert ti.xcoms["return_value"]["state"] == "failed"
    assert partial.exists()
