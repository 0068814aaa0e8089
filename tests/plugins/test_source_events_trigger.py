"""The trigger that rings an asset, looking at a real folder; only the asset's state is kept in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_bridge.source_watch import SourceWatch
from triggers.source_events_trigger import SourceEventsTrigger


class AssetState:
    """The state of one asset."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(tmp_path))
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def rings(folder, state: AssetState) -> AsyncIterator[Any]:
    """A trigger as the triggerer makes it, from what was serialised."""
    watch = SourceWatch(kind="objects", url=f"file://{folder}", exclude=["*.part"])
    path, arguments = SourceEventsTrigger(watch=watch.to_json(), poke_interval=0.05).serialize()
    assert path == "triggers.source_events_trigger.SourceEventsTrigger"
    trigger = SourceEventsTrigger(**json.loads(json.dumps(arguments)))
    trigger.asset_state_store = state  # type: ignore[assignment]
    return trigger.run()


async def next_ring(events: AsyncIterator[Any]) -> Any:
    return (await asyncio.wait_for(anext(events), 10)).payload


async def is_quiet(events: AsyncIterator[Any]) -> bool:
    try:
        await asyncio.wait_for(anext(events), 0.5)
    except TimeoutError:
        return True
    return False


async def test_a_burst_rings_once_and_the_same_state_never_again(folder):
    state = AssetState()
    for number in range(20):
        (folder / str(number)).write_text("four")
    events = rings(folder, state)
    assert await next_ring(events) == {"objects": 20, "size_bytes": 80, "is_exact": True}
    assert await is_quiet(events)


async def test_a_trigger_that_was_restarted_rings_only_for_what_is_new(folder, monkeypatch):
    monkeypatch.setattr("triggers.source_events_trigger._STORED_AFTER_SECONDS", 0.1)
    state = AssetState()
    (folder / "a").write_text("four")
    events = rings(folder, state)
    await next_ring(events)
    assert await is_quiet(events)
    assert await is_quiet(rings(folder, state))
    (folder / "b.part").write_text("x")
    (folder / "b").write_text("seven77")
    assert await next_ring(rings(folder, state)) == {"objects": 1, "size_bytes": 7, "is_exact": True}


async def test_a_triggerer_that_died_before_the_ring_was_stored_rings_again(folder):
    state = AssetState()
    (folder / "a").write_text("four")
    events = rings(folder, state)
    ring = await next_ring(events)
    assert await is_quiet(events), "one that lives rings once"
    assert await next_ring(rings(folder, state)) == ring


async def test_a_source_that_is_missing_is_looked_at_again(folder, monkeypatch):
    monkeypatch.setattr("triggers.source_events_trigger._ERROR_DELAY_SECONDS", 0.05)
    folder.rmdir()
    events = rings(folder, AssetState())
    ring = asyncio.create_task(next_ring(events))
    await asyncio.sleep(0.3)
    assert not ring.done()
    folder.mkdir()
    (folder / "a").write_text("four")
    assert (await ring)["objects"] == 1


@pytest.mark.parametrize("how", [{"done_suffix": ".done"}, {"settle_seconds": 1}])
async def test_a_new_file_is_noticed_long_before_the_next_poll(folder, how):
    watch = SourceWatch(kind="files", url=f"file://{folder}", **how)
    events = SourceEventsTrigger(watch=watch.to_json(), poke_interval=600).run()
    ring = asyncio.create_task(anext(events))
    await asyncio.sleep(1)
    for name in ("a.csv", "a.csv.done") if "done_suffix" in how else ("a.csv",):
        (folder / name).write_text("x")
    assert (await asyncio.wait_for(ring, 60)).payload["objects"] == 1
    await events.aclose()
