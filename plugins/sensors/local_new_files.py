"""Waits for new files of a local folder that nobody writes any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_bridge.source_watch import SourceWatch
from sensors.source_sensor import SourceSensor
from skyferry.detect.settled_files import DEFAULT_SETTLE_SECONDS


class LocalNewFilesSensor(SourceSensor):
    """Is done when a folder has new files, or new versions of known ones, that are settled.

    A file is settled when its size, modification time and inode were the same in two looks at least `settle_seconds`
    apart, or, with `done_suffix`, when its marker exists. Each look costs one scan of the folder.

    Args:
        url: `file:///folder`, below one of the `local_roots` of the defaults.
        include: Files, folders or globs below the folder, as in the parameter `data`; empty for all.
        exclude: The same, for what does not count.
        min_size_bytes: Smaller files do not count.
        max_size_bytes: Larger files do not count.
        settle_seconds: See above; rounded up to whole seconds.
        done_suffix: End of a marker's name, such as `.done` for `orders.csv.done` beside `orders.csv`; empty for none.
        kwargs: Those of `SourceSensor` and of Airflow's sensors: `asset`, `deferrable`, `mode`, `poke_interval`, ...

    Raises:
        RequestError: A value is wrong.
    """

    def __init__(
        self,
        *,
        url: str,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        min_size_bytes: int = 0,
        max_size_bytes: int | None = None,
        settle_seconds: float = DEFAULT_SETTLE_SECONDS,
        done_suffix: str = "",
        **kwargs: Any,
    ) -> None:
        watch = SourceWatch(
            kind="files",
            url=url,
            include=include,
            exclude=exclude,
            min_size_bytes=min_size_bytes,
            max_size_bytes=max_size_bytes,
            settle_seconds=settle_seconds,
            done_suffix=done_suffix,
        )
        super().__init__(watch=watch, **kwargs)
