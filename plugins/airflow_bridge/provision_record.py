"""Remembers what provisioning created and cannot tag, in the state folder:

<state_url>/provisioned/<route>/<digest of the thing>.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from skyferry.errors import BucketMissingError
from skyferry.state import StateFolder

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOwnership:
    """Whose a bucket is, and who else needs it.

    Attributes:
        record: Where buckets are remembered that have no tags, or not yet.
        used_by: Other routes that use the bucket.
        holds_state: The bucket holds the records of runs.
    """

    route_id: str
    record: CreationRecord
    used_by: tuple[str, ...]
    holds_state: bool

    @property
    def why_it_stays(self) -> str:
        """Why the bucket is not removed although it was created for the route; empty if it may go."""
        if self.holds_state:
            return "it holds the records of runs"
        return f"used by {', '.join(self.used_by)} too" if self.used_by else ""


class CreationRecord:
    """The things one route had created for it; blocks, so call it outside an event loop.

    Args:
        state: The state folder.
        route_id: Of the route.
    """

    def __init__(self, stores: PreparedStores, state: StoreUse, *, route_id: str) -> None:
        self._stores = stores
        self._state = state
        self._route_id = route_id

    def holds(self, thing: str) -> bool:
        """Whether a thing is on record."""
        try:
            return bool(self._run(lambda folder: folder.read(_name(thing))))
        except BucketMissingError:
            return False

    def add(self, thing: str) -> None:
        """Put a thing on record, right after it was created."""
        if not self.holds(thing):
            row = {"thing": thing, "route": self._route_id, "created_at": datetime.now(UTC).isoformat()}
            self._run(lambda folder: folder.write(_name(thing), [row]))

    def drop(self, thing: str) -> None:
        """Forget a thing; one that is not on record is fine."""
        self._run(lambda folder: folder.delete(_name(thing)))

    def _run(self, work: Callable[[StateFolder], Coroutine[Any, Any, _Result]]) -> _Result:
        return StageRunner().run(self._in_folder(work))

    async def _in_folder(self, work: Callable[[StateFolder], Coroutine[Any, Any, _Result]]) -> _Result:
        location = self._state.location
        async with self._stores(location, self._state.conn_id) as store:
            return await work(StateFolder(store, f"{location.prefix}provisioned/{self._route_id}/"))


def _name(thing: str) -> str:
    # Things have names with slashes, and names in a local folder are short.
    return f"{hashlib.sha256(json.dumps(thing).encode()).hexdigest()[:32]}.json"
