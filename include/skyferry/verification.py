"""Proof that what was read is what the source holds, and that what the destination holds is what was read.

A size is never proof. What no checksum proves is read a second time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from skyferry.checksums import ALGORITHMS, PREFERENCE
from skyferry.errors import ChecksumMismatchError, TransferError
from skyferry.evidence import Comparer
from skyferry.objects import Committed, ObjectInfo
from skyferry.stores.base import Store

LOCAL = "local"
READBACK = "readback"


def source_algorithms(source: Store, info: ObjectInfo) -> frozenset[str]:
    """Return the algorithm to compute so that the source's own checksum can be compared; the cheapest it publishes."""
    if source.capabilities.reads_are_trusted:
        return frozenset()
    if info.etag_may_be_md5 and not info.checksums:
        return frozenset({"md5"})
    usable = [name for name in PREFERENCE if name in info.checksums and name in ALGORITHMS]
    return frozenset(usable[:1])


async def verify_source(
    source: Store,
    info: ObjectInfo,
    *,
    digests: Mapping[str, str],
    etag: str | None,
    read_again: Callable[[], Awaitable[str]],
) -> str:
    """Return what proves that these digests are those of the source's content.

    Args:
        info: The full description of the source version.
        digests: Of the bytes that were read; contains `crc32c`.
        etag: What `Store.etag_digest` arrived at, where the store has one.
        read_again: Reads the source a second time and returns its `crc32c`; called only when nothing else proves.

    Raises:
        ChecksumMismatchError: The bytes that were read are not the source's; read again.
    """
    if source.capabilities.reads_are_trusted:
        return LOCAL
    for name in PREFERENCE:
        if name in info.checksums and name in digests:
            if digests[name] != info.checksums[name] and name == "md5" and info.etag_may_be_md5:
                break  # perhaps it only looks like an MD5; reading again tells
            _require_equal(source, info, name, found=digests[name], expected=info.checksums[name])
            return name
    if info.etag_may_be_md5 and digests.get("md5") == info.etag:
        return "md5"
    if etag is not None and etag == info.etag:
        return "etag"
    _require_equal(source, info, "crc32c", found=digests["crc32c"], expected=await read_again())
    return READBACK


async def verify_destination(
    destination: Store, committed: Committed, *, digests: Mapping[str, str], reads_back: bool, comparer: Comparer
) -> str:
    """Return what proves that the destination holds the content with these digests.

    Raises:
        ChecksumMismatchError: It holds something else; that version was removed from the destination, or is named in
            the error.
    """
    if committed.verified_by is not None and not reads_back:
        return committed.verified_by
    found = await comparer.read_digests(destination, committed.info, {"crc32c"})
    if found["crc32c"] == digests["crc32c"]:
        return READBACK
    url = destination.url(committed.info.key)
    what = f"{url} reads back as crc32c {found['crc32c']}; expected {digests['crc32c']}"
    try:
        await destination.delete_object(committed.info)
    except TransferError as error:
        raise left_behind(what, committed.info.etag) from error
    raise ChecksumMismatchError(what, hint="the wrong object was removed")


def left_behind(what: str, etag: str) -> ChecksumMismatchError:
    """Return the error for wrong content that is still at the destination."""
    error = ChecksumMismatchError(what, hint="it could not be removed; a retry replaces it, else remove it yourself")
    error.wrong_etag = etag
    return error


async def holds_content(
    destination: Store, found: ObjectInfo, *, size_bytes: int, digests: Mapping[str, str], comparer: Comparer
) -> str | None:
    """Return what proves that an object somebody wrote has the content with these digests; None if it has other."""
    if found.size_bytes != size_bytes:
        return None
    for name in PREFERENCE:
        if name in found.checksums and name in digests:
            return name if found.checksums[name] == digests[name] else None
    read = await comparer.read_digests(destination, found, {"crc32c"})
    return READBACK if read["crc32c"] == digests["crc32c"] else None


def _require_equal(source: Store, info: ObjectInfo, algorithm: str, *, found: str, expected: str) -> None:
    if found != expected:
        raise ChecksumMismatchError(
            f"read {source.url(info.key)} with {algorithm} {found}; the store says {expected}",
            hint="nothing was written",
        )
