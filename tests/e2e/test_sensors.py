"""The sensors in whole DAG runs: what rings, what does not ring twice, and what a cleared or a timed-out run does."""

from __future__ import annotations

import itertools
import json
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.conftest import Ended, Runner

DAG_FILE = """
from airflow.sdk import DAG, Asset
from sensors.local_new_files import LocalNewFilesSensor
from sensors.s3_new_objects import S3NewObjectsSensor

asset = Asset("{dag_id}")
with DAG("{dag_id}", schedule=None) as dag:
    {sensor}(task_id="detect", poke_interval=0.2, retries=0, {arguments})
"""


class SensorRuns:
    """Runs DAGs of one sensor."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capture = capture
        self._numbers = itertools.count()

    def dag(self, sensor: str, arguments: str) -> Callable[[], Ended]:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        dag_id = f"sense_{self._folder.name}_{next(self._numbers)}".replace("-", "_")
        file = self._folder / f"{dag_id}.py"
        file.write_text(textwrap.dedent(DAG_FILE).format(dag_id=dag_id, sensor=sensor, arguments=arguments))
        bag = DagBag(str(file))
        assert bag.import_errors == {}
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        runner = Runner(bag, self._capture)
        return lambda: runner.run({}, dag_id)


@pytest.fixture
def sensor_runs(airflow_database: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> SensorRuns:
    return SensorRuns(tmp_path, capfd)


def result(ended: Ended) -> Any:
    values = ended.xcoms.get(("detect", "return_value"))
    return values[0] if values else None


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("s3", "mode='poke'"),
        ("s3", "mode='reschedule'"),
        *((kind, "deferrable=True") for kind in ("s3", "az", "gs", "file")),
    ],
)
def test_a_run_is_told_of_what_is_new_since_the_run_before(sensor_runs, buckets, kind, how):
    bucket = buckets.new(kind)
    bucket.put("in/a", b"four")
    bucket.put("out/b", b"x")
    url = f"{bucket.url}in/" if kind != "file" else bucket.url
    include = "" if kind != "file" else ", include=['in/']"
    run = sensor_runs.dag("S3NewObjectsSensor", f"url={url!r}, asset=asset, timeout=1, {how}{include}")
    first = run()
    assert first.state == "success", first.log
    assert result(first) == {"objects": 1, "size_bytes": 4, "is_exact": True}
    assert "1 new (4 bytes)" in first.log
    assert run().state == "failed", "nothing is new, and the time is up"
    bucket.put("in/c", b"1234567")
    assert result(run())["size_bytes"] == 7


def test_a_run_that_is_repeated_finds_its_work_again(sensor_runs, buckets):
    bucket = buckets.new("s3")
    bucket.put("in/a", b"four")
    arguments = f"url={bucket.url!r}, asset=asset, timeout=0"
    assert result(sensor_runs.dag("S3NewObjectsSensor", arguments)()) is not None
    keeper = _keeper_of("run-1", values := {})
    keeper.move_on("one")
    _keeper_of("run-2", values).move_on("two")
    assert _keeper_of("run-2", values).load() == "one", "a cleared run begins where it began"
    _keeper_of("run-2", values).move_on("two, later")
    assert _keeper_of("run-2", values).load() == "one"
    assert _keeper_of("run-3", values).load() == "two, later"


def _keeper_of(run_id: str, values: dict[str, Any]) -> Any:
    from airflow_bridge.watermark_keeper import WatermarkKeeper

    ti = SimpleNamespace(dag_id="d", task_id="t", map_index=-1, run_id=run_id)
    return WatermarkKeeper({"ti": ti, "task_state_store": Values({}), "asset_state_store": {"a": Values(values)}}, "a")


class Values:
    """A state store of Airflow's in memory."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        assert len(json.dumps(value)) <= 65_535
        self._values[key] = value

    def delete(self, key: str) -> None:
        self._values.pop(key, None)


@pytest.mark.parametrize("how", ["mode='poke'", "deferrable=True"])
def test_files_are_waited_for_until_they_are_settled(sensor_runs, buckets, how):
    folder = buckets.new("file")
    folder.put("a.csv", b"four")
    arguments = f"url={folder.url!r}, asset=asset, settle_seconds=1, exclude=['*.part'], timeout=20, {how}"
    run = sensor_runs.dag("LocalNewFilesSensor", arguments)
    started = time.monotonic()
    ended = run()
    assert (ended.state, result(ended)["objects"]) == ("success", 1), ended.log
    assert time.monotonic() - started >= 1
    folder.put("b.part", b"x")
    folder.put("b.csv", b"seven77")
    assert result(run()) == {"objects": 1, "size_bytes": 7, "is_exact": True}


@pytest.mark.parametrize("how", ["mode='poke'", "deferrable=True"])
def test_a_missing_bucket_is_one_message(sensor_runs, buckets, how):
    bucket = buckets.new("s3", create=False)
    ended = sensor_runs.dag("S3NewObjectsSensor", f"url={bucket.url!r}, timeout=5, {how}")()
    assert ended.state == "failed"
    assert sum(f"there is no bucket {bucket.url}" in line for line in ended.errors) == 1
    assert "source_watch.py" not in ended.log, "a foreseen error has no traceback"


def test_without_an_asset_each_run_is_told_of_everything(sensor_runs, buckets):
    bucket = buckets.new("s3")
    bucket.put("a", b"four")
    run = sensor_runs.dag("S3NewObjectsSensor", f"url={bucket.url!r}, timeout=0")
    assert [result(run())["objects"] for _ in range(2)] == [1, 1]


def test_time_that_is_up_can_be_a_skip(sensor_runs, buckets):
    bucket = buckets.new("s3")
    arguments = f"url={bucket.url!r}, timeout=0, soft_fail=True, deferrable=True"
    assert sensor_runs.dag("S3NewObjectsSensor", arguments)().state != "failed"


@pytest.mark.parametrize("how", ["mode='poke'", "deferrable=True"])
def test_time_that_is_up_can_be_the_end_of_waiting(sensor_runs, buckets, how):
    bucket = buckets.new("s3")
    arguments = f"url={bucket.url!r}, timeout=1, done_after_timeout=True, {how}"
    ended = sensor_runs.dag("S3NewObjectsSensor", arguments)()
    assert ended.state == "success", ended.log
    assert f"nothing new in {bucket.url} within 1 seconds; going on all the same" in ended.log
