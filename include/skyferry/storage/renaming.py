"""Renames objects within their bucket: listed first, then each given its other name if it is still what was listed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.errors import DestinationChangedError, DestinationConflictError, RequestError, TransferError
from skyferry.evidence import READ_BYTES, Comparer
from skyferry.objects import ObjectInfo
from skyferry.ordered_work import map_in_order
from skyferry.storage.kept_list import KeptList
from skyferry.storage.listing import EVERYTHING, Wanted, all_named
from skyferry.storage.rows import OnRow, Row
from skyferry.storage.targets import Target
from skyferry.stores.base import Store
from skyferry.stores.local_files import remove_empty_folders
from skyferry.urls import Location

_MAX_PROBLEMS = 100
_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameOptions:
    """How objects are renamed.

    Attributes:
        overwrite: Replace what has the other name, if it is not the same already.
        wanted: Which of the named objects.
        dry_run: List and count, and rename nothing.
    """

    overwrite: bool = False
    wanted: Wanted = EVERYTHING
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class Renamed:
    """What became of the objects of a rename; kept up to date while it works.

    Attributes:
        renamed: Those that were found copied already, and whose original was deleted, included.
        failed: Those that have their old name still.
        problems: A sentence for each of the first hundred of them.
        cautions: What the endpoint could not be held to.
        on_row: Told of every object as it is decided.
    """

    objects: int = 0
    size_bytes: int = 0
    renamed: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)
    cautions: set[str] = field(default_factory=set)
    on_row: OnRow | None = None


def in_one_place(named: Target, goal: Target) -> tuple[Target, Target]:
    """Return both targets in the bucket they share; for local ones, in the folder above them both.

    Raises:
        RequestError: They are in different buckets, or of different kinds.
    """
    one, other = named.bucket, goal.bucket
    if one.kind == other.kind == "file":
        # Links above the folders are followed here, because none below the shared folder is followed later.
        paths = os.path.realpath(one.bucket), os.path.realpath(other.bucket)
        shared = os.path.commonpath(paths)
        return _below(named, shared, paths[0]), _below(goal, shared, paths[1])
    if one != other:
        raise RequestError(
            f"{one.url} and {other.url} are not the same bucket; a rename stays in one",
            hint="to move objects between buckets, start a transfer with --copy False",
        )
    return named, goal


def _below(target: Target, shared: str, path: str) -> Target:
    folder = os.path.relpath(path, shared)
    prefix = "" if folder == "." else f"{folder}/"
    return replace(target, bucket=Location("file", shared, ""), folder=prefix + target.folder)


class Rename:
    """One rename of one object or of many."""

    def __init__(self, store: Store, options: RenameOptions, outcome: Renamed) -> None:
        self._store = store
        self._options = options
        self._outcome = outcome
        self._attempts = Attempts()
        budget = ByteBudget(4 * READ_BYTES)
        self._comparer = Comparer(store, store, budget=budget, attempts=self._attempts)

    async def one(self, info: ObjectInfo, key: str) -> None:
        """Rename one object.

        Raises:
            RequestError: It has this name.
        """
        if info.key == key:
            raise RequestError(f"{self._store.url(key)} has this name already")
        self._outcome.objects, self._outcome.size_bytes = 1, info.size_bytes
        await self._rename((info, key))

    async def all_below(self, named: Target, goal: Target, *, max_in_flight: int) -> None:
        """Rename what a folder holds, or a glob takes, into another folder; one that fails costs the others nothing.

        Raises:
            RequestError: The one folder lies in the other, or is it.
            SourceMissingError: Nothing has this name.
        """
        is_folder = not named.has_glob
        folder = named.folder if named.has_glob or not named.name else f"{named.key}/"
        if is_folder and goal.folder.startswith(folder):
            raise RequestError(
                f"{self._store.url(folder)} cannot be renamed to {self._store.url(goal.folder)}, which lies in it",
                hint="name a folder beside it",
            )
        entries = all_named(self._store, named, attempts=self._attempts, wanted=self._options.wanted)
        with KeptList() as kept:
            await kept.collect(entries)
            self._outcome.objects, self._outcome.size_bytes = kept.objects, kept.size_bytes

            async def pairs() -> AsyncIterator[tuple[ObjectInfo, str]]:
                for info in kept:
                    yield info, goal.folder + info.key.removeprefix(folder)

            async for _ in map_in_order(pairs(), self._rename, limit=max_in_flight):
                pass
        if is_folder and self._store.kind == "file" and not self._options.dry_run:
            _remove_empty(Path(self._store.bucket) / folder)

    async def _rename(self, pair: tuple[ObjectInfo, str]) -> None:
        info, key = pair
        if self._options.dry_run:
            self._tell(info, key, "planned")
            return
        try:
            if info.unreadable_because:
                raise RequestError(f"{self._store.url(info.key)} was not renamed: {info.unreadable_because}")
            reason = await self._give_name(info, key)
        except TransferError as error:
            self._outcome.failed += 1
            if len(self._outcome.problems) < _MAX_PROBLEMS:
                self._outcome.problems.append(str(error))
            self._tell(info, key, "failed", str(error))
        else:
            self._outcome.renamed += 1
            self._tell(info, key, "renamed", reason)

    async def _give_name(self, info: ObjectInfo, key: str) -> str:
        """Rename one object, or delete it where its copy is there already; return what there is to say."""
        for _ in range(_LOOKS):
            found = await self._attempts.call(lambda: self._store.stat(key))
            if found is not None:
                if await self._is_copy(info, found):
                    await self._attempts.call(lambda: self._store.delete_object(info))
                    return "an earlier attempt had copied it"
                if not self._options.overwrite:
                    raise DestinationConflictError(
                        f"{self._store.url(key)} exists with other content or metadata; "
                        f"{self._store.url(info.key)} was left as it is",
                        hint="choose another name, or add --overwrite",
                    )
            try:
                return await self._rename_to(info, key, found)
            except DestinationChangedError as error:
                changed = error  # by somebody else, or by an attempt whose answer was lost: look again
        raise changed

    async def _rename_to(self, info: ObjectInfo, key: str, found: ObjectInfo | None) -> str:
        caution = await self._attempts.call(lambda: self._store.rename_object(info, key, replaces=found))
        if caution:
            self._outcome.cautions.add(caution)
        return caution

    async def _is_copy(self, info: ObjectInfo, found: ObjectInfo) -> bool:
        """Tell whether an object is what a rename that was stopped has left: the same bytes, the same metadata."""
        if self._store.kind == "file":
            return False  # a local rename is one step, and stops nowhere
        if info.size_bytes != found.size_bytes:
            return False
        original = await self._attempts.call(lambda: self._store.stat(info.key))
        if original is None or original.etag != info.etag or original.metadata != found.metadata:
            return False
        return (await self._comparer.same_content(original, found)).is_same

    def _tell(self, info: ObjectInfo, key: str, outcome: str, reason: str = "") -> None:
        if self._outcome.on_row is not None:
            url, destination = self._store.url(info.key), self._store.url(key)
            self._outcome.on_row(
                Row(url=url, destination=destination, outcome=outcome, size_bytes=info.size_bytes, reason=reason)
            )


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but such folders."""
    remove_empty_folders(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
