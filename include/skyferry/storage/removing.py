"""Removes objects: counted first, then each deleted only if it is still the version that was counted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from skyferry.attempts import Attempts
from skyferry.errors import SourceMissingError, TransferError
from skyferry.objects import ObjectInfo, info_from_json, info_to_json, json_line
from skyferry.ordered_work import map_in_order
from skyferry.storage.listing import Entry
from skyferry.stores.base import Store

_MAX_PROBLEMS = 100
_SPOOL_BYTES = 8 * 2**20


@dataclass(slots=True, kw_only=True)
class Removed:
    """What became of the objects of a removal; kept up to date while it works.

    Attributes:
        already_gone: Somebody else had deleted them meanwhile, where the store tells.
        problems: A sentence for each of the first hundred that are still there.
    """

    objects: int = 0
    size_bytes: int = 0
    removed: int = 0
    already_gone: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)


class Removal:
    """Objects that were listed to be removed, each pinned to its version; a context manager.

    Memory holds eight MiB of them, the disk the others.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listed = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed in `__exit__`
        self.outcome = Removed()

    def __enter__(self) -> Self:
        """Return the removal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the list."""
        self._listed.close()

    async def collect(self, entries: AsyncIterator[Entry]) -> None:
        """Take in what is to be removed."""
        async for entry in entries:
            if entry.info is not None:
                self._listed.write(json_line(info_to_json(entry.info)).encode() + b"\n")
                self.outcome.objects += 1
                self.outcome.size_bytes += entry.info.size_bytes

    def listed(self) -> Iterator[ObjectInfo]:
        """Yield what was taken in."""
        self._listed.seek(0)
        for line in self._listed:
            yield info_from_json(json.loads(line))

    async def remove_all(self, *, max_in_flight: int) -> None:
        """Delete what was taken in; one that cannot be deleted costs the others nothing."""
        at_once = self._store.capabilities.max_deletes

        async def portions() -> AsyncIterator[list[ObjectInfo]]:
            portion: list[ObjectInfo] = []
            for info in self.listed():
                portion.append(info)
                if len(portion) == at_once:
                    yield portion
                    portion = []
            if portion:
                yield portion

        limit = max_in_flight if at_once == 1 else min(max_in_flight, 4)
        async for _ in map_in_order(portions(), self._remove, limit=limit):
            pass

    async def _remove(self, infos: Sequence[ObjectInfo]) -> None:
        try:
            outcomes = await Attempts().call(lambda: self._store.delete_objects(infos))
        except TransferError as error:
            outcomes = [error] * len(infos)
        for info, outcome in zip(infos, outcomes, strict=True):
            self._count(info, outcome)

    def _count(self, info: ObjectInfo, outcome: bool | TransferError) -> None:  # noqa: FBT001 - as the store says it
        counts = self.outcome
        if outcome is True:
            counts.removed += 1
        elif outcome is False or isinstance(outcome, SourceMissingError):
            counts.already_gone += 1
        else:
            counts.failed += 1
            if len(counts.problems) < _MAX_PROBLEMS:
                counts.problems.append(str(outcome))
