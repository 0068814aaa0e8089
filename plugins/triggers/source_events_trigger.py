"""Rings an asset whenever a source has something new, so that DAGs scheduled on the asset run by themselves."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_bridge.source_watch import OpenSource, SourceWatch
from skyferry.errors import TransferError

_WATERMARK_KEY = "skyferry-watermark"
_ERROR_DELAY_SECONDS = 30.0
_STORED_AFTER_SECONDS = 5.0
"""Airflow's triggerer stores an event after one or two of its loops, each about a second."""


class SourceEventsTrigger(BaseEventTrigger):
    """Looks at a source for ever; yields one event for each look that finds something, however much it is.

    For an `AssetWatcher`. The watermark is kept in the watched asset's state once Airflow has had the time to store the
    event, so a triggerer that is killed in between rings again: at worst twice, never not at all. A run that fails is
    not rung for again: schedule the DAG on a time as well. The event holds numbers only, and the run lists for itself.

    A source that cannot be looked at is looked at again, after half a minute or the poke interval if that is longer.

    Args:
        watch: `SourceWatch.to_json()`.
        poke_interval: Seconds between two looks, at most; a new name in a local folder is looked at at once.
    """

    def __init__(self, *, watch: Mapping[str, Any], poke_interval: float = 10.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = dict(watch)
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew."""
        arguments = {"watch": self.watch, "poke_interval": self.poke_interval}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each look that finds something; ends never."""
        watch = SourceWatch.from_json(self.watch)
        kept = watermark = await self._load()
        rung_at = -_STORED_AFTER_SECONDS
        async with watch.wake_up() as wake_up, OpenSource(watch) as source:
            while True:
                delay = self.poke_interval
                try:
                    detection = await source.look(watermark)
                except TransferError as error:
                    self.log.warning("looking again later: %s", error)
                    delay = max(delay, _ERROR_DELAY_SECONDS)
                else:
                    watermark = detection.watermark
                    delay = watch.next_look_seconds(detection, delay)
                    if detection.objects:
                        rung_at = time.monotonic()
                        yield TriggerEvent(detection.to_json())  # type: ignore[no-untyped-call]
                if kept != watermark and time.monotonic() - rung_at >= _STORED_AFTER_SECONDS:
                    await self._keep(watermark)
                    kept = watermark
                await wake_up.wait(delay)

    async def _load(self) -> str:
        if self.asset_state_store is None:
            return ""
        watermark = await self.asset_state_store.aget(_WATERMARK_KEY, "")
        return watermark if isinstance(watermark, str) else ""

    async def _keep(self, watermark: str) -> None:
        if self.asset_state_store is not None:
            await self.asset_state_store.aset(_WATERMARK_KEY, watermark)
