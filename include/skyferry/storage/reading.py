"""The content of objects as a stream: pinned to one version, several pieces ahead, compared with its checksum."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.checksums import ContentDigests
from skyferry.content_memory import Content
from skyferry.errors import ChecksumMismatchError, ObjectArchivedError, PermanentError, SourceMissingError
from skyferry.evidence import Comparer
from skyferry.objects import ObjectInfo
from skyferry.ordered_work import map_in_order
from skyferry.stores.base import Store
from skyferry.verification import source_algorithms, verify_source

_PIECE_BYTES = 4 * 2**20
_PIECES_AHEAD = 6


async def content(
    store: Store, listed: ObjectInfo, *, start_byte: int = 0, size_bytes: int | None = None, attempts: Attempts
) -> AsyncIterator[bytes]:
    """Yield the content of one version of an object, raw, in pieces of up to 4 MiB.

    Memory holds six pieces. A whole object is compared with the checksum its store publishes, at the end; where there
    is none it is read a second time. A caller that has passed on the pieces before has to call them back then.

    Args:
        start_byte: Where to begin; beyond the end there is nothing.
        size_bytes: How much to read; None for all the rest.

    Raises:
        SourceMissingError: The object is gone.
        SourceChangedError: It was replaced meanwhile.
        ChecksumMismatchError: What was read is not what was stored.
    """
    info = await _described(store, listed, attempts)
    end_byte = info.size_bytes if size_bytes is None else min(start_byte + size_bytes, info.size_bytes)

    async def read(span: tuple[int, int]) -> Content:
        return await attempts.call(lambda: store.read_range(info, *span))

    pieces = map_in_order(_spans(start_byte, end_byte), read, limit=_PIECES_AHEAD)
    if (start_byte, end_byte) == (0, info.size_bytes):
        pieces = _proven(store, info, pieces, attempts)
    async for piece in pieces:
        yield bytes(piece)


async def _proven(
    store: Store, info: ObjectInfo, pieces: AsyncIterator[Content], attempts: Attempts
) -> AsyncIterator[Content]:
    """Yield the pieces of a whole object, and raise at the end unless they are proven to be what is stored."""
    algorithms = source_algorithms(store, info)
    digests = ContentDigests(algorithms | {"crc32c"})
    etag_digest = None if algorithms else await store.etag_digest(info)
    async for piece in pieces:
        await digests.update_async(piece)
        if etag_digest is not None:
            await asyncio.to_thread(etag_digest.update, piece)
        yield piece

    async def read_again() -> str:
        comparer = Comparer(store, store, budget=ByteBudget(_PIECE_BYTES * _PIECES_AHEAD), attempts=attempts)
        return (await comparer.read_digests(store, info, {"crc32c"}))["crc32c"]

    found = digests.hexdigests()
    etag = etag_digest.value() if etag_digest else None
    try:
        await verify_source(store, info, digests=found, etag=etag, read_again=read_again)
    except ChecksumMismatchError as error:
        raise ChecksumMismatchError(error.message, hint="do not use what was written; read it again") from error


async def _described(store: Store, listed: ObjectInfo, attempts: Attempts) -> ObjectInfo:
    url = store.url(listed.key)
    if listed.unreadable_because:
        raise PermanentError(f"{url} cannot be read: {listed.unreadable_because}")
    info = await attempts.call(lambda: store.stat(listed.key))
    if info is None:
        raise SourceMissingError(f"{url} is gone")
    if info.is_archived:
        raise ObjectArchivedError(f"{url} is archived", hint="restore it first")
    return info


async def _spans(start_byte: int, end_byte: int) -> AsyncIterator[tuple[int, int]]:
    for begin in range(start_byte, end_byte, _PIECE_BYTES):
        yield begin, min(_PIECE_BYTES, end_byte - begin)
