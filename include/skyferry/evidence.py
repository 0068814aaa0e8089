"""Whether two objects in different stores hold the same content, and by what that is known.

Names, sizes and times are never evidence of equality. From cheap to expensive: checksums both listings carry; the note
an earlier transfer left at the destination; checksums both stores tell when asked about the object; reading.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.checksums import ALGORITHMS, PREFERENCE, ContentDigests
from skyferry.content_memory import Content
from skyferry.errors import SourceMissingError
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.stores.base import Store

READ_BYTES = 8 * 2**20
"""How much of an object is read in one request when it is read for comparison."""

SOURCE_NOTE = "skyferry_source"
"""User metadata entry at the destination: which source version it holds, where no checksum can tell later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to "same content?", and the evidence: an algorithm's name, `etag`, `size`, `note` or `readback`."""

    is_same: bool
    evidence: str


def source_note(source_url: str, info: ObjectInfo) -> str:
    """Return the note for one version of one source object; it tells nobody where that was."""
    text = f"{source_url}\n{info.etag}\n{info.size_bytes}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def with_source_note(metadata: ObjectMetadata, note: str) -> ObjectMetadata:
    """Return the metadata with the note added."""
    return replace(metadata, user={**metadata.user, SOURCE_NOTE: note})


def needs_source_note(info: ObjectInfo, *, published: AbstractSet[str]) -> bool:
    """Tell whether a later run could not compare this source object with its copy without reading them.

    Args:
        published: What the destination will publish of the copy.
    """
    known = set(info.checksums) | ({"md5"} if info.etag_may_be_md5 else set())
    return known.isdisjoint(published)


def compare(source: ObjectInfo, destination: ObjectInfo, *, note: str = "") -> Finding | None:
    """Compare by what is known already; None when that decides nothing.

    Args:
        note: What `source_note` says of the source.
    """
    if source.size_bytes != destination.size_bytes:
        return Finding(is_same=False, evidence="size")
    for algorithm in PREFERENCE:
        if algorithm in source.checksums and algorithm in destination.checksums:
            is_same = source.checksums[algorithm] == destination.checksums[algorithm]
            return Finding(is_same=is_same, evidence=algorithm)
    if _etag_equals_md5(source, destination) or _etag_equals_md5(destination, source):
        return Finding(is_same=True, evidence="md5")
    if source.etag_may_be_md5 and destination.etag_may_be_md5 and source.etag == destination.etag:
        return Finding(is_same=True, evidence="etag")
    if note and destination.metadata is not None and destination.metadata.user.get(SOURCE_NOTE) == note:
        return Finding(is_same=True, evidence="note")
    return None


def _etag_equals_md5(one: ObjectInfo, other: ObjectInfo) -> bool:
    return one.etag_may_be_md5 and other.checksums.get("md5") == one.etag


class Comparer:
    """Compares objects of one source and one destination store, asking and reading only as much as it must.

    Holds at most the byte budget's worth of content.

    Args:
        trusts_notes: Whether the note of an earlier transfer counts. Somebody may have changed the content and kept
            the metadata, so a note is good enough to skip a copy, and never to delete a source.
    """

    def __init__(
        self, source: Store, destination: Store, *, budget: ByteBudget, attempts: Attempts, trusts_notes: bool = False
    ) -> None:
        self._trusts_notes = trusts_notes
        self._source = source
        self._destination = destination
        self._budget = budget
        self._attempts = attempts

    async def same_content(self, source: ObjectInfo, destination: ObjectInfo) -> Finding:
        """Say whether both hold the same content; reads them when nothing else can tell.

        Raises:
            SourceMissingError: One of them went away meanwhile.
            SourceChangedError: One of them was overwritten meanwhile.
        """
        note = source_note(self._source.url(source.key), source) if self._trusts_notes else ""
        finding = compare(source, destination, note=note)
        if finding is None:
            source, destination = await asyncio.gather(
                self._describe(self._source, source), self._describe(self._destination, destination)
            )
            finding = compare(source, destination, note=note)
        return finding or await self._compare_by_reading(source, destination)

    async def _describe(self, store: Store, info: ObjectInfo) -> ObjectInfo:
        described = await self._attempts.call(lambda: store.stat(info.key))
        if described is None:
            raise SourceMissingError(f"{store.url(info.key)} is gone")
        return described

    async def _compare_by_reading(self, source: ObjectInfo, destination: ObjectInfo) -> Finding:
        """Read whichever side publishes no usable checksum; both, when neither does."""
        for unread, store, other in ((source, self._source, destination), (destination, self._destination, source)):
            usable = ALGORITHMS & set(other.checksums)
            if usable and store.capabilities.reads_are_trusted:
                found = await self.read_digests(store, unread, usable)
                return Finding(
                    is_same=all(found[name] == other.checksums[name] for name in usable), evidence="readback"
                )
        algorithms = {"crc32c"} | (ALGORITHMS & (set(source.checksums) | set(destination.checksums)))
        found_source, found_destination = await asyncio.gather(
            self.read_digests(self._source, source, algorithms),
            self.read_digests(self._destination, destination, algorithms),
        )
        return Finding(is_same=found_source == found_destination, evidence="readback")

    async def read_digests(self, store: Store, info: ObjectInfo, algorithms: AbstractSet[str]) -> dict[str, str]:
        """Read a whole object, pinned to its version, and return its digests."""
        digests = ContentDigests(algorithms)
        async for body in self._read_in_order(store, info):
            await digests.update_async(body)
        return digests.hexdigests()

    async def _read_in_order(self, store: Store, info: ObjectInfo) -> AsyncIterator[Content]:
        for start_byte in range(0, info.size_bytes, READ_BYTES):
            size_bytes = min(READ_BYTES, info.size_bytes - start_byte)
            async with self._budget.hold(size_bytes):
                yield await self._read_range(store, info, start_byte, size_bytes)

    async def _read_range(self, store: Store, info: ObjectInfo, start_byte: int, size_bytes: int) -> Content:
        return await self._attempts.call(lambda: store.read_range(info, start_byte, size_bytes))
