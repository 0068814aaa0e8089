"""What lies below a URL: one level with folders, or every object that is named and wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from skyferry.attempts import Attempts
from skyferry.errors import KeyRefusedError, RetryableError, SourceMissingError
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectInfo, Prefix
from skyferry.ordered_listing import list_in_key_order
from skyferry.selection import Selection
from skyferry.storage.targets import Target
from skyferry.stores.base import Store

_RETRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a listing shows.

    Attributes:
        url: Full URL; that of a folder ends in `/`.
        name: The same without what was listed.
        info: The object; None for a folder.
    """

    url: str
    name: str
    info: ObjectInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of the named objects count; all of them by default.

    Attributes:
        include, exclude: As the parameters of a transfer: keys, folders or globs below what is named.
        names: Globs for the last element of a key; one of them must take it.
        min_size_bytes, max_size_bytes: Both are included.
        modified_after, modified_before: With time zone. Objects whose store tells no time are not left out.

    Raises:
        RequestError: A pattern is no selection, or the sizes exclude each other.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    names: Sequence[str] = ()
    min_size_bytes: int = 0
    max_size_bytes: int | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None

    def filters(self) -> tuple[ObjectFilter, ObjectFilter]:
        """Return the filters for the whole name and size, and for the last element."""
        return (
            ObjectFilter(
                include=self.include,
                exclude=self.exclude,
                min_size_bytes=self.min_size_bytes,
                max_size_bytes=self.max_size_bytes,
            ),
            ObjectFilter(include=[f"**/{name}" for name in self.names]),
        )

    def is_in_time(self, info: ObjectInfo) -> bool:
        """Tell whether an object was written in the time that is wanted."""
        if info.modified_at is None:
            return True
        is_late_enough = self.modified_after is None or info.modified_at > self.modified_after
        return is_late_enough and (self.modified_before is None or info.modified_at < self.modified_before)


EVERYTHING = Wanted()


async def level(store: Store, target: Target, *, attempts: Attempts) -> AsyncIterator[Entry]:
    """Yield what is named without going into folders; a folder that is named itself is gone into.

    Raises:
        SourceMissingError: Nothing has this name.
    """
    exact = await exactly(store, target, attempts=attempts)
    if exact is not None:
        yield Entry(url=store.url(exact.key), name=target.name, info=exact)
        return
    folder = target.folder if target.has_glob or not target.name else f"{target.key}/"
    selection = Selection.parse(target.name) if target.has_glob else None
    is_empty = True
    async for found in _resumed_level(store, folder + (selection.literal_prefix if selection else "")):
        name = found.key.removeprefix(folder)
        if selection is None or selection.matches(name.removesuffix("/")):
            is_empty = False
            info = found if isinstance(found, ObjectInfo) else None
            yield Entry(url=store.url(found.key), name=name, info=info)
    if is_empty and folder + target.name:
        raise missing(store, target)


async def all_named(
    store: Store, target: Target, *, attempts: Attempts, wanted: Wanted = EVERYTHING
) -> AsyncIterator[Entry]:
    """Yield every object that is named and wanted, in key order; those in folders included.

    Raises:
        SourceMissingError: Nothing has this name. That nothing is wanted is no error.
    """
    by_key, by_name = wanted.filters()
    is_empty = True
    async for name, info in _named(store, target, attempts):
        is_empty = False
        is_of_size = by_key.min_size_bytes <= info.size_bytes <= (by_key.max_size_bytes or info.size_bytes)
        if is_of_size and by_key.includes(name) and by_name.includes(name) and wanted.is_in_time(info):
            yield Entry(url=store.url(info.key), name=name, info=info)
    if is_empty and target.key:
        raise missing(store, target)


async def exactly(store: Store, target: Target, *, attempts: Attempts) -> ObjectInfo | None:
    """Return the object of exactly this name; None where there is none, or none is named."""
    if not target.name:
        return None
    try:
        return await attempts.call(lambda: store.stat(target.key))
    except KeyRefusedError:
        return None  # no object of this store has such a name, but a glob may look like that


def missing(store: Store, target: Target) -> SourceMissingError:
    """Return the error for a name that stands for nothing."""
    return SourceMissingError(
        f"there is nothing at {store.url(target.key)}",
        hint="names are exact, case included; list the folder above it with: transfer ls",
    )


async def _named(store: Store, target: Target, attempts: Attempts) -> AsyncIterator[tuple[str, ObjectInfo]]:
    """Yield the objects that are named, each with its name below what is named."""
    exact = await exactly(store, target, attempts=attempts)
    if exact is not None:
        yield exact.key.rpartition("/")[2] or exact.key, exact
        return
    if target.is_literal:
        return
    selection = Selection.parse(target.name) if target.has_glob else None
    folder = target.folder if selection or not target.name else f"{target.key}/"
    prefix = folder + (selection.literal_prefix if selection else "")
    async for info in list_in_key_order(store, prefix, attempts=attempts):
        name = info.key.removeprefix(folder)
        if selection is None or selection.matches(name):
            yield name, info


async def _resumed_level(store: Store, prefix: str) -> AsyncIterator[ObjectInfo | Prefix]:
    """Yield a level; a listing that breaks off begins anew, and what was told is not told again.

    Holds the names that were told.
    """
    told: set[str] = set()
    for retries_left in range(_RETRIES, -1, -1):
        try:
            async for found in store.list_level(prefix):
                if found.key not in told:
                    told.add(found.key)
                    yield found
        except RetryableError:
            if not retries_left:
                raise
        else:
            return
