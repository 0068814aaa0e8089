"""Removes objects: counted first, then each deleted only if it is still the version that was counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from skyferry.attempts import Attempts
from skyferry.errors import SourceMissingError, TransferError
from skyferry.objects import ObjectInfo
from skyferry.ordered_work import map_in_order
from skyferry.storage.kept_list import KeptList
from skyferry.storage.listing import Entry
from skyferry.storage.rows import OnRow, Row
from skyferry.stores.base import Store

_MAX_PROBLEMS = 100


@dataclass(slots=True, kw_only=True)
class Removed:
    """What became of the objects of a removal; kept up to date while it works.

    Attributes:
        already_gone: Somebody else had deleted them meanwhile, where the store tells.
        problems: A sentence for each of the first hundred that are still there.
        on_row: Told of every object as it is decided.
    """

    objects: int = 0
    size_bytes: int = 0
    removed: int = 0
    already_gone: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)
    on_row: OnRow | None = None


class Removal:
    """Objects that were listed to be removed, each pinned to its version; a context manager.

    Memory holds eight MiB of them, the disk the others.

    Args:
        outcome: Filled while it works.
    """

    def __init__(self, store: Store, outcome: Removed) -> None:
        self._store = store
        self._kept = KeptList()
        self.outcome = outcome

    def __enter__(self) -> Self:
        """Return the removal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the list."""
        self._kept.close()

    async def collect(self, entries: AsyncIterator[Entry]) -> None:
        """Take in what is to be removed."""
        await self._kept.collect(entries)
        self.outcome.objects, self.outcome.size_bytes = self._kept.objects, self._kept.size_bytes

    def listed(self) -> Iterable[ObjectInfo]:
        """Return what was taken in."""
        return self._kept

    def tell_planned(self) -> None:
        """Tell of every object that would be removed."""
        for info in self._kept:
            self._tell(info, "planned")

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
            self._tell(info, "removed")
        elif outcome is False or isinstance(outcome, SourceMissingError):
            counts.already_gone += 1
            self._tell(info, "already_gone")
        else:
            counts.failed += 1
            if len(counts.problems) < _MAX_PROBLEMS:
                counts.problems.append(str(outcome))
            self._tell(info, "failed", str(outcome))

    def _tell(self, info: ObjectInfo, outcome: str, reason: str = "") -> None:
        if self.outcome.on_row is not None:
            url = self._store.url(info.key)
            self.outcome.on_row(Row(url=url, outcome=outcome, size_bytes=info.size_bytes, reason=reason))
