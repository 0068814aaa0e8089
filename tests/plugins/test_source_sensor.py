"""The sensors and their trigger as objects: defaults, what travels through Airflow, and what is refused."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset

from airflow_bridge import source_watch
from airflow_bridge.source_watch import OpenSource, SourceWatch
from airflow_bridge.transfer_retry import TransferRetryPolicy
from sensors.local_new_files import LocalNewFilesSensor
from sensors.s3_new_objects import S3NewObjectsSensor
from skyferry.errors import RequestError, TransferError
from triggers.source_watch_trigger import SourceWatchTrigger

SEEN = Asset("seen")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(tmp_path))
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def trigger(watch: SourceWatch, **more: Any) -> SourceWatchTrigger:
    """A trigger as the triggerer makes it, from what was serialised."""
    arguments = {"watermark": "", "poke_interval": 0.05, "ends_at": time.time() + 10, **more}
    path, serialised = SourceWatchTrigger(watch=watch.to_json(), **arguments).serialize()
    assert path == "triggers.source_watch_trigger.SourceWatchTrigger"
    return SourceWatchTrigger(**json.loads(json.dumps(serialised)))


def test_a_sensor_is_tried_again_and_its_errors_decide_when():
    sensor = S3NewObjectsSensor(task_id="detect", url="s3://shop/", deferrable=True)
    assert sensor.retries == 2
    assert isinstance(sensor.retry_policy, TransferRetryPolicy)
    assert tuple(sensor.template_fields) == ()
    own = S3NewObjectsSensor(task_id="detect", url="s3://shop/", default_args={"retries": 7})
    assert own.retries == 7


def test_the_asset_becomes_an_inlet_unless_the_task_has_it():
    assert S3NewObjectsSensor(task_id="a", url="s3://shop/", asset=SEEN).inlets == [SEEN]
    with_outlet = LocalNewFilesSensor(task_id="b", url="file:///x", asset=SEEN, outlets=[SEEN])
    assert (with_outlet.inlets, with_outlet.outlets) == ([], [SEEN])
    assert S3NewObjectsSensor(task_id="c", url="s3://shop/").inlets == []


@pytest.mark.parametrize(
    ("sensor", "arguments", "message"),
    [
        (S3NewObjectsSensor, {"url": "s3a://shop/"}, "unknown scheme"),
        (S3NewObjectsSensor, {"url": "s3://shop/", "include": "*.csv"}, "include is a text"),
        (S3NewObjectsSensor, {"url": "s3://shop/", "overlap_seconds": -1}, "overlap_seconds is -1"),
        (LocalNewFilesSensor, {"url": "s3://shop/"}, "s3://shop/ is no local folder"),
    ],
)
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(sensor, arguments, message):
    with pytest.raises(RequestError, match=message):
        sensor(task_id="detect", **arguments)


async def test_a_folder_outside_the_roots_is_not_looked_at(folder):
    with pytest.raises(RequestError, match="outside the allowed roots"):
        await SourceWatch(kind="files", url=f"file://{folder.parent.parent}").look("")


async def test_the_trigger_rings_for_a_file_that_settled_and_tells_what_it_knew(folder):
    (folder / "a").write_text("four")
    watch = SourceWatch(kind="files", url=f"file://{folder}", settle_seconds=1)
    events = [event async for event in trigger(watch).run()]
    assert len(events) == 1
    # The sensor looks with what the trigger knew before its last look, and finds the same.
    assert (await watch.look(events[0].payload["watermark"])).objects == 1
    assert (await watch.look("")).objects == 0


async def test_the_trigger_rings_when_its_time_is_up(folder):
    watch = SourceWatch(kind="objects", url=f"file://{folder}")
    ends_at = time.time() + 0.3
    events = [event.payload async for event in trigger(watch, ends_at=ends_at, poke_interval=60).run()]
    assert 0.2 < time.time() - ends_at + 0.3 < 5
    assert [event["ends_at"] for event in events] == [ends_at]


async def test_the_trigger_rings_for_an_error_so_that_the_sensor_meets_it(folder):
    folder.rmdir()
    watch = SourceWatch(kind="objects", url=f"file://{folder}")
    assert len([event async for event in trigger(watch).run()]) == 1


def context_of(run_type: str) -> Any:
    return {"dag_run": SimpleNamespace(run_type=run_type), "ti": SimpleNamespace()}


def test_a_run_that_somebody_started_need_not_wait():
    sensor = S3NewObjectsSensor(task_id="a", url="s3://shop/", conn_id="no_such", manual_runs_wait=False)
    assert sensor.execute(context_of("manual")) is None
    waiting = S3NewObjectsSensor(task_id="b", url="s3://shop/", conn_id="no_such")
    with pytest.raises(KeyError, match="task_state_store"):
        waiting.execute(context_of("manual"))
    with pytest.raises(KeyError, match="task_state_store"):
        sensor.execute(context_of("scheduled"))


async def test_a_store_stays_open_between_looks_and_is_opened_anew_after_one_that_failed(folder, monkeypatch):
    opened = []
    prepare = source_watch._prepare
    monkeypatch.setattr(source_watch, "_prepare", lambda use: (opened.append(use), prepare(use))[1])
    (folder / "a").write_text("four")
    async with OpenSource(SourceWatch(kind="objects", url=f"file://{folder}")) as source:
        watermark = (await source.look("")).watermark
        assert (await source.look(watermark)).objects == 0
        assert len(opened) == 1
        (folder / "a").unlink()
        folder.rmdir()
        with pytest.raises(TransferError):
            await source.look(watermark)
        folder.mkdir()
        (folder / "b").write_text("four")
        assert (await source.look(watermark)).objects == 1
        assert len(opened) == 2
        monkeypatch.setattr(source_watch, "_REOPEN_SECONDS", 0.0)
        await source._close()
        await source.look(watermark)
        await source.look(watermark)
        assert len(opened) == 4, "the connection may have been changed meanwhile"
