"""Waits in the triggerer until a source has something new."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_bridge.source_watch import OpenSource, SourceWatch
from skyferry.errors import TransferError


class SourceWatchTrigger(BaseTrigger):
    """Looks at a source again and again; fires once, when a look finds something or fails for good.

    The event is a doorbell: the sensor that deferred looks for itself, so a lost or doubled event costs nothing. It
    consumes nothing, and closes the store when it is cancelled; after a restart of the triggerer it begins again with
    the watermark it was made with.

    Args:
        watch: `SourceWatch.to_json()`.
        watermark: Of the sensor's last look; JSON of at most 60,000 bytes.
        poke_interval: Seconds between two looks.
        ends_at: When to fire although nothing was found, in seconds since 1970. Airflow ends a deferral that lasts too
            long by itself, but `airflow dags test` does not.
    """

    def __init__(self, *, watch: Mapping[str, Any], watermark: str, poke_interval: float, ends_at: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = dict(watch)
        self.watermark = watermark
        self.poke_interval = poke_interval
        self.ends_at = ends_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger anew; its size is bounded, whatever the source holds."""
        arguments = {
            "watch": self.watch,
            "watermark": self.watermark,
            "poke_interval": self.poke_interval,
            "ends_at": self.ends_at,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the watermark before the look that found something or failed, and `ends_at`."""
        watermark = self.watermark
        try:
            watch = SourceWatch.from_json(self.watch)
            async with watch.wake_up() as wake_up, OpenSource(watch) as source:
                while not (detection := await source.look(watermark)).objects and time.time() < self.ends_at:
                    # Files settle between looks, so each begins with what the one before saw.
                    watermark = detection.watermark
                    seconds = watch.next_look_seconds(detection, self.poke_interval)
                    await wake_up.wait(min(seconds, max(0.0, self.ends_at - time.time())))
        except TransferError as error:
            self.log.warning("the sensor looks for itself now: %s", error)
        yield TriggerEvent({"watermark": watermark, "ends_at": self.ends_at})  # type: ignore[no-untyped-call]
