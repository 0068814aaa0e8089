"""Renames where the store has no rename: its own copy, a comparison, and then the original is deleted."""

from __future__ import annotations

import contextlib
from typing import Protocol

from skyferry.errors import ChecksumMismatchError, SourceMissingError, TransferError
from skyferry.objects import ObjectInfo


class Renamer(Protocol):
    """A store that copies within itself, for the time of one rename."""

    @property
    def caution(self) -> str:
        """A sentence on what the endpoint could not be held to so far; empty where there is nothing to say."""

    def url(self, key: str = "") -> str:
        """Return the full URL of a key."""

    async def copy(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> ObjectInfo:
        """Copy exactly the version `info` names, metadata and tags included; return what the store tells of it."""

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what the store tells of a key; None if absent."""

    async def delete_object(self, info: ObjectInfo) -> bool:
        """Delete exactly the version `info` names; return False when the key shows nothing any more."""


async def rename_by_copy(renamer: Renamer, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> str:
    """Rename as `skyferry.stores.base.Store.rename_object` says.

    A copy that is not the original is removed again, as far as that is possible.
    """
    original = await renamer.copy(info, key, replaces=replaces)
    copy = await renamer.stat(key)
    if copy is None:
        raise SourceMissingError(
            f"{renamer.url(key)} was removed right after it was copied from {renamer.url(info.key)}",
            hint="the original is where it was",
        )
    difference = _difference(original, copy)
    if difference:
        with contextlib.suppress(TransferError):
            await renamer.delete_object(copy)
        raise ChecksumMismatchError(
            f"{renamer.url(key)} is no copy of {renamer.url(info.key)}: {difference}", hint="the original was kept"
        )
    await renamer.delete_object(info)
    return renamer.caution


def _difference(original: ObjectInfo, copy: ObjectInfo) -> str:
    """Return in which way two objects differ; nothing where what the store tells of both is the same."""
    if copy.size_bytes != original.size_bytes:
        return f"it has {copy.size_bytes:,} of {original.size_bytes:,} bytes"
    # What only looks like an MD5 may be anything, and different for every object.
    doubtful = {"md5"} if original.etag_may_be_md5 else set()
    for algorithm in sorted(original.checksums.keys() & copy.checksums.keys() - doubtful):
        if copy.checksums[algorithm] != original.checksums[algorithm]:
            return f"its {algorithm} is {copy.checksums[algorithm]}, not {original.checksums[algorithm]}"
    return ""
