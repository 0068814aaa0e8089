"""Where a sensor's watermark is kept: between the looks of a task, and between runs.

| between | kept in |
|---|---|
| looks, retries and reschedules of one task | the task's state store; forgotten when the sensor is done |
| runs | the state store of an asset the task has as inlet or outlet; without one every run begins anew |

Beside the watermark the asset's state holds the one before, and the run that moved it on. When that run is cleared, or
its sensor is tried again, it begins where it began before, so it finds its work again. Known limitation: only the
newest run does; an older one that is cleared is told of what is new since the newest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

_LOOK_KEY = "skyferry-look"


class WatermarkKeeper:
    """The watermark of one sensor task.

    Args:
        context: Of the running task.
        asset: An inlet or outlet of the task; None for a sensor that remembers nothing between runs.
    """

    def __init__(self, context: Context, asset: Asset | None) -> None:
        self._looks: Any = context["task_state_store"]
        self._runs: Any = context["asset_state_store"][asset] if asset is not None else None
        ti = context["ti"]
        self._run_id = ti.run_id
        # Several sensors may share an asset; each has a watermark of its own.
        digest = hashlib.sha256(f"{ti.dag_id}\0{ti.task_id}\0{ti.map_index}".encode()).hexdigest()[:16]
        self._key = f"skyferry-watermark-{digest}"
        self._task = f"{ti.dag_id}.{ti.task_id}"

    def load(self) -> str:
        """Return the watermark the next look is to be given; empty when there is none."""
        look = self._looks.get(_LOOK_KEY, "")
        return look if isinstance(look, str) and look else self._begin()

    def keep_look(self, watermark: str) -> None:
        """Remember what a look saw that found nothing yet."""
        self._looks.set(_LOOK_KEY, watermark)

    def move_on(self, watermark: str) -> None:
        """Make a watermark the one the next run begins with, because this run has been told of all before it."""
        if self._runs is not None:
            begin = self._begin()
            self._runs.set(f"{self._key}-before", self._row(begin))
            self._runs.set(self._key, self._row(watermark))
        self._looks.delete(_LOOK_KEY)

    def _begin(self) -> str:
        if self._runs is None:
            return ""
        current = _row(self._runs.get(self._key, {}))
        if current.get("run_id") == self._run_id:
            current = _row(self._runs.get(f"{self._key}-before", {}))
        return str(current.get("watermark", ""))

    def _row(self, watermark: str) -> dict[str, str]:
        return {"task": self._task, "run_id": self._run_id, "watermark": watermark}


def _row(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
