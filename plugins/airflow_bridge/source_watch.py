"""Where a sensor or a trigger looks and what counts there, as plain values that travel through Airflow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from skyferry.attempts import Attempts
from skyferry.defaults import check_local_root, load_defaults
from skyferry.detect.folder_wakeup import MIN_SECONDS, FolderWakeUp
from skyferry.detect.new_objects import DEFAULT_OVERLAP_SECONDS, Detection, find_new_objects
from skyferry.detect.settled_files import DEFAULT_SETTLE_SECONDS, find_settled_files
from skyferry.errors import RequestError
from skyferry.object_filter import ObjectFilter
from skyferry.request import DEFAULT_CONN_IDS
from skyferry.stores.base import Store
from skyferry.urls import Location, parse_location

_REQUESTS_IN_FLIGHT = 2
_REOPEN_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWatch:
    """A place that is looked at again and again; looking consumes nothing.

    Attributes:
        kind: `objects` for a prefix of any store, `files` for a local folder whose files have to settle.
        url: As the parameter `source` of a transfer.
        conn_id: Empty for the default connection of the kind of URL.
        overlap_seconds: For `objects`; see `skyferry.detect.new_objects`.
        settle_seconds: For `files`; see `skyferry.detect.settled_files`.
        done_suffix: For `files`; empty when they settle.

    Raises:
        RequestError: A value is wrong; the message says which, and what is expected.
    """

    kind: Literal["objects", "files"]
    url: str
    conn_id: str = ""
    data: str = ""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    min_age_seconds: float = 0.0
    min_size_bytes: int = 0
    max_size_bytes: int | None = None
    overlap_seconds: float = DEFAULT_OVERLAP_SECONDS
    settle_seconds: float = DEFAULT_SETTLE_SECONDS
    done_suffix: str = ""

    def __post_init__(self) -> None:
        location = parse_location(self.url)
        if self.kind == "files" and location.kind != "file":
            raise RequestError(
                f"{location.url} is no local folder; expected file:///folder", hint="or watch for objects"
            )
        if self.overlap_seconds < 0:
            raise RequestError(f"overlap_seconds is {self.overlap_seconds}; expected 0 or more seconds")
        self.filter()
        # A list that is changed later must not change what is looked at.
        object.__setattr__(self, "include", tuple(self.include))
        object.__setattr__(self, "exclude", tuple(self.exclude))

    def filter(self) -> ObjectFilter:
        """Return what counts by name, size and age."""
        return ObjectFilter(
            data=self.data,
            include=self.include,
            exclude=self.exclude,
            min_age_seconds=self.min_age_seconds,
            min_size_bytes=self.min_size_bytes,
            max_size_bytes=self.max_size_bytes,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> SourceWatch:
        """Undo `to_json`."""
        return SourceWatch(**values)

    def use(self) -> StoreUse:
        """Return the place and its connection.

        Raises:
            RequestError: A local folder lies outside the allowed roots.
        """
        location = parse_location(self.url)
        if location.kind == "file":
            check_local_root(location.bucket, load_defaults().local_roots)
        return StoreUse(what="source", location=location, conn_id=self.conn_id or DEFAULT_CONN_IDS[location.kind])

    def wake_up(self) -> FolderWakeUp:
        """Return what waits between two looks, as a context; for `files` it ends a wait early."""
        return FolderWakeUp(parse_location(self.url).bucket if self.kind == "files" else "")

    def next_look_seconds(self, detection: Detection, poll_interval: float) -> float:
        """Return when to look again: sooner than usual if a file is about to settle."""
        if detection.settles_in_seconds is None:
            return poll_interval
        return min(poll_interval, max(detection.settles_in_seconds, MIN_SECONDS))

    @property
    def location(self) -> Location:
        """The place, taken apart."""
        return parse_location(self.url)

    def account_name(self) -> str:
        """Return the account of a place whose name needs one (Azure); asks Airflow for the connection, which blocks."""
        use = self.use()
        return _prepare(use).account_name(use) if use.location.kind == "az" else ""

    async def look(self, watermark: str) -> Detection:
        """Look once; as `OpenSource.look`."""
        async with OpenSource(self) as source:
            return await source.look(watermark)


class OpenSource:
    """A watched place whose store stays open between looks, as a context.

    The store is opened by the first look, anew after one that failed, and every ten minutes, because the connection may
    have been changed meanwhile. Opening costs about a hundred times the processor time of a look at a small prefix.

    Works in a task and in the triggerer, where nothing may block the event loop: connections are looked up, and clients
    imported, in a thread.
    """

    def __init__(self, watch: SourceWatch) -> None:
        self._watch = watch
        self._resources = AsyncExitStack()
        self._store: Store | None = None
        self._reopen_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def look(self, watermark: str) -> Detection:
        """Look once, trying again for a while when the store does not answer properly.

        Args:
            watermark: Of the look before; empty for none.

        Raises:
            TransferError: The place cannot be looked at; its class says whether to try again.
        """
        return await Attempts().call(lambda: self._look(watermark))

    async def _look(self, watermark: str) -> Detection:
        try:
            return await self._find(await self._opened(), watermark)
        except BaseException:
            await self._close()
            raise

    async def _opened(self) -> Store:
        if self._store is not None and time.monotonic() < self._reopen_at:
            return self._store
        await self._close()
        use = self._watch.use()
        stores = await asyncio.to_thread(_prepare, use)
        self._store = await self._resources.enter_async_context(stores(use.location, use.conn_id))
        self._reopen_at = time.monotonic() + _REOPEN_SECONDS
        return self._store

    async def _close(self) -> None:
        self._store = None
        await self._resources.aclose()

    async def _find(self, store: Store, watermark: str) -> Detection:
        watch = self._watch
        if watch.kind == "files":
            return await find_settled_files(
                store,
                selected=watch.filter(),
                watermark=watermark,
                settle_seconds=watch.settle_seconds,
                done_suffix=watch.done_suffix,
            )
        return await find_new_objects(
            store,
            watch.location.prefix,
            selected=watch.filter(),
            watermark=watermark,
            overlap_seconds=watch.overlap_seconds,
        )


def _prepare(use: StoreUse) -> PreparedStores:
    return PreparedStores((use,), known_connections=(), max_objects_in_flight=_REQUESTS_IN_FLIGHT)
