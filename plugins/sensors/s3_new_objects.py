"""Waits for new and changed objects below a prefix: S3, and every other store a transfer can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_bridge.source_watch import SourceWatch
from sensors.source_sensor import SourceSensor
from skyferry.detect.new_objects import DEFAULT_OVERLAP_SECONDS


class S3NewObjectsSensor(SourceSensor):
    """Is done when a prefix has new objects, or new versions of known keys.

    An object that appears late, with a time up to `overlap_seconds` old, is found. Each look costs one listing of the
    prefix (one request for each 1,000 objects), and memory for a page of it.

    Args:
        url: `s3://bucket/prefix/`; also `az://`, `gs://` and `file://`.
        conn_id: Id of the Airflow connection; empty for the default one.
        include: Keys, folders or globs below the prefix, as in the parameter `data`; empty for all.
        exclude: The same, for what does not count.
        min_age_seconds: Younger objects count later.
        min_size_bytes: Smaller objects do not count.
        max_size_bytes: Larger objects do not count.
        overlap_seconds: How late an object may appear; longer than the longest upload in parts.
        kwargs: Those of `SourceSensor` and of Airflow's sensors: `asset`, `deferrable`, `mode`, `poke_interval`, ...

    Raises:
        RequestError: A value is wrong.
    """

    def __init__(
        self,
        *,
        url: str,
        conn_id: str = "",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        min_age_seconds: float = 0.0,
        min_size_bytes: int = 0,
        max_size_bytes: int | None = None,
        overlap_seconds: float = DEFAULT_OVERLAP_SECONDS,
        **kwargs: Any,
    ) -> None:
        watch = SourceWatch(
            kind="objects",
            url=url,
            conn_id=conn_id,
            include=include,
            exclude=exclude,
            min_age_seconds=min_age_seconds,
            min_size_bytes=min_size_bytes,
            max_size_bytes=max_size_bytes,
            overlap_seconds=overlap_seconds,
        )
        super().__init__(watch=watch, **kwargs)
