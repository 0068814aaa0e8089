"""What the sensors of prefixes and folders have in common: look, wait, and remember what was told to a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import Asset, BaseSensorOperator, PokeReturnValue, RetryPolicy
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

from airflow_bridge.lineage_datasets import dataset_name
from airflow_bridge.source_watch import SourceWatch
from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.transfer_lineage import input_lineage
from airflow_bridge.transfer_retry import TransferRetryPolicy
from airflow_bridge.watermark_keeper import WatermarkKeeper
from triggers.source_watch_trigger import SourceWatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_bridge.transfer_lineage import Lineage

_RETRY_DELAY = timedelta(seconds=5)
_TRIGGER_GRACE_SECONDS = 300.0
"""How long after its time a trigger may still ring, in the middle of a slow look; then Airflow fails the task."""


class SourceSensor(BaseSensorOperator):
    """Is done when a source has something new; consumes nothing.

    The result is how many objects and bytes are new, without a name: whatever comes next lists for itself.

    With `asset`, what a run was told of is new to no later run; a run that is cleared finds it again. Without, a run
    is told of everything that is there.

    Args:
        watch: What to look at.
        asset: Keeps the watermark; becomes an inlet of the task unless it is an inlet or outlet already.
        deferrable: Wait in the triggerer, without a worker slot. The first look is made by the task itself, and so is
            the one that decides. Airflow can lose a deferral, so leave some `retries`.
        retries: As for any task; a permanent error fails at once all the same.
    """

    template_fields: Sequence[str] = ()

    def __init__(
        self,
        *,
        watch: SourceWatch,
        asset: Asset | None = None,
        deferrable: bool = False,
        retries: int = 2,
        retry_delay: timedelta = _RETRY_DELAY,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        inlets = list(kwargs.pop("inlets", None) or [])
        if asset is not None and asset not in [*inlets, *_listed(kwargs.get("outlets"))]:
            inlets.append(asset)
        policy = retry_policy or TransferRetryPolicy()
        super().__init__(retries=retries, retry_delay=retry_delay, retry_policy=policy, inlets=inlets, **kwargs)
        self.watch = watch
        self.asset = asset
        self.deferrable = deferrable
        self._runner: StageRunner | None = None
        self._account_name = ""

    def execute(self, context: Context) -> Any:
        """Wait until there is something new; raises `StageFailed`, already logged, for everything foreseen."""
        with failing_plainly(self.log):
            if self.deferrable:
                return self._look_or_defer(context, ends_at=time.time() + self.timeout)
            return super().execute(context)

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Look for oneself once the trigger has rung; defer again when it was for nothing."""
        with failing_plainly(self.log):
            rung = event or {}
            if rung.get("watermark"):
                WatermarkKeeper(context, self.asset).keep_look(rung["watermark"])
            return self._look_or_defer(context, ends_at=rung.get("ends_at", time.time() + self.timeout))

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; a look that finds something moves the watermark on."""
        keeper = WatermarkKeeper(context, self.asset)
        self._runner = StageRunner()
        before = keeper.load()
        detection = self._runner.run(self.watch.look(before))
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

    def on_kill(self) -> None:
        """Stop looking; nothing was begun that would have to be undone."""
        if self._runner is not None:
            self._runner.stop()

    def get_openlineage_facets_on_start(self) -> Lineage:
        """Return the folder that is watched; one of Azure is told at the end, when the connection was asked for."""
        return input_lineage(dataset_name(self.watch.location, account_name=self._account_name))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage:
        """Return the folder; a look reads nothing, so there are no statistics."""
        del task_instance
        return self.get_openlineage_facets_on_start()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Lineage:
        """Return the folder that was watched."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _look_or_defer(self, context: Context, *, ends_at: float) -> Any:
        found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        if time.time() >= ends_at:
            message = f"nothing new in {self.watch.url} within {self.timeout:g} seconds"
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        self._defer(context, ends_at=ends_at)
        return None

    def _defer(self, context: Context, *, ends_at: float) -> NoReturn:
        self.defer(
            trigger=SourceWatchTrigger(
                watch=self.watch.to_json(),
                watermark=WatermarkKeeper(context, self.asset).load(),
                poke_interval=self.poke_interval,
                ends_at=ends_at,
            ),
            method_name="resume",
            timeout=timedelta(seconds=max(0.0, ends_at - time.time()) + _TRIGGER_GRACE_SECONDS),
        )


def _listed(assets: Any) -> list[Any]:
    if assets is None:
        return []
    return list(assets) if isinstance(assets, (list, tuple)) else [assets]
