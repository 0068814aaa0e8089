"""What the sensors of prefixes and folders have in common: look, wait, and remember what was told to a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, PokeReturnValue

from airflow_bridge.lineage_datasets import dataset_name
from airflow_bridge.source_watch import SourceWatch
from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.watermark_keeper import WatermarkKeeper
from sensors.waiting_sensor import WaitingSensor
from triggers.source_watch_trigger import SourceWatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class SourceSensor(WaitingSensor):
    """Is done when a source has something new; consumes nothing.

    The result is how many objects and bytes are new, without a name: whatever comes next lists for itself.

    With `asset`, what a run was told of is new to no later run; a run that is cleared finds it again. Without, a run
    is told of everything that is there.

    Args:
        watch: What to look at.
        asset: Keeps the watermark; becomes an inlet of the task unless it is an inlet or outlet already.
        kwargs: Those of `WaitingSensor` and of Airflow's sensors.
    """

    def __init__(self, *, watch: SourceWatch, asset: Asset | None = None, **kwargs: Any) -> None:
        inlets = list(kwargs.pop("inlets", None) or [])
        if asset is not None and asset not in [*inlets, *_listed(kwargs.get("outlets"))]:
            inlets.append(asset)
        super().__init__(inlets=inlets, **kwargs)
        self.watch = watch
        self.asset = asset
        self._account_name = ""

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Look for oneself once the trigger has rung; defer again when it was for nothing."""
        with failing_plainly(self.log):
            rung = event or {}
            if rung.get("watermark"):
                WatermarkKeeper(context, self.asset).keep_look(rung["watermark"])
            return self.look_or_defer(context, ends_at=rung.get("ends_at", time.time() + self.timeout))

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; a look that finds something moves the watermark on."""
        keeper = WatermarkKeeper(context, self.asset)
        self.runner = StageRunner()
        before = keeper.load()
        detection = self.runner.run(self.watch.look(before))
        if not detection.objects:
            self.log.info("nothing new in %s, %d waiting to settle", self.watch.url, detection.waiting)
            if detection.watermark != before:
                keeper.keep_look(detection.watermark)
            return PokeReturnValue(is_done=False)
        about = "" if detection.is_exact else "about "
        names = ", ".join(detection.first_keys)
        count, size = detection.objects, detection.size_bytes
        self.log.info("%s%d new (%d bytes) in %s: %s", about, count, size, self.watch.url, names)
        keeper.move_on(detection.watermark)
        self._account_name = self.watch.account_name()
        return PokeReturnValue(is_done=True, xcom_value=detection.to_json())

    def trigger(self, context: Context, *, ends_at: float) -> SourceWatchTrigger:
        """Return what waits in the triggerer."""
        return SourceWatchTrigger(
            watch=self.watch.to_json(),
            watermark=WatermarkKeeper(context, self.asset).load(),
            poke_interval=self.poke_interval,
            ends_at=ends_at,
        )

    def nothing_found(self) -> str:
        """Return what to say when the time is up."""
        return f"nothing new in {self.watch.url}"

    def watched_dataset(self) -> tuple[str, str] | None:
        """Return the folder; one of Azure is known only when the connection was asked for."""
        return dataset_name(self.watch.location, account_name=self._account_name)


def _listed(assets: Any) -> list[Any]:
    if assets is None:
        return []
    return list(assets) if isinstance(assets, (list, tuple)) else [assets]
