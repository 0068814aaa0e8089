"""Digests of content, computed while it streams past.

CRC64NVME and CRC32C are what the stores publish for whole objects (S3 and GCS); both run at memory speed. MD5 is what
Azure keeps and what S3 etags are made of; it costs about a CPU second for each GiB.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from awscrt import checksums as crt

from skyferry.content_memory import Content

# Below this size a digest takes less time than handing it to a thread (about 0.1 ms).
_INLINE_BYTES = 64 * 1024

_CRC_FUNCTIONS: Mapping[str, tuple[Callable[[Content, int], int], int]] = {
    "crc32": (crt.crc32, 4),
    "crc32c": (crt.crc32c, 4),
    "crc64nvme": (crt.crc64nvme, 8),
}
_HASH_NAMES = frozenset({"md5", "sha1", "sha256"})

_COMBINERS: Mapping[str, Callable[[int, int, int], int]] = {
    "crc32": crt.combine_crc32,
    "crc32c": crt.combine_crc32c,
    "crc64nvme": crt.combine_crc64nvme,
}

COMBINABLE = frozenset(_COMBINERS)
"""Algorithms whose digest of a whole follows from the digests of its parts; MD5 and the SHAs need every byte."""

ALGORITHMS = frozenset(_CRC_FUNCTIONS) | _HASH_NAMES
"""Every algorithm `ContentDigests` computes."""

PREFERENCE = ("crc64nvme", "crc32c", "md5", "sha256", "sha1", "crc32")
"""Which algorithm to trust first when two descriptions of an object share several: speed first, then strength."""


class _Hash(Protocol):
    def update(self, data: Content, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc:
    """A cyclic redundancy check with the interface of `hashlib`."""

    def __init__(self, algorithm: str) -> None:
        self._function, self._size_bytes = _CRC_FUNCTIONS[algorithm]
        self._value = 0

    def update(self, data: Content, /) -> None:
        self._value = self._function(data, self._value)

    def hexdigest(self) -> str:
        return self._value.to_bytes(self._size_bytes, "big").hex()


class ContentDigests:
    """Digests of one content by several algorithms, fed in order.

    Args:
        algorithms: Names out of `ALGORITHMS`.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes: dict[str, _Hash] = {name: _new_hash(name) for name in sorted(algorithms)}

    def update(self, body: Content) -> None:
        """Take in the next bytes."""
        for one in self._hashes.values():
            one.update(body)

    async def update_async(self, body: Content) -> None:
        """Take in the next bytes without holding up the event loop."""
        if len(body) <= _INLINE_BYTES:
            self.update(body)
        else:
            await asyncio.to_thread(self.update, body)

    def hexdigests(self) -> dict[str, str]:
        """Return algorithm to lower-case hex digest of everything taken in so far."""
        return {name: one.hexdigest() for name, one in self._hashes.items()}


class CompositeEtag:
    """The etag S3 gives to an object uploaded in parts: MD5 of the parts' MD5s, a dash, the number of parts.

    Args:
        part_bytes: Size of every part but the last.

    Source: observed by every S3 client; AWS documents only that such an etag is not an MD5 of the content,
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """

    def __init__(self, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self._part_md5s: list[bytes] = []
        self._current = hashlib.md5(usedforsecurity=False)
        self._current_bytes = 0

    def update(self, body: Content) -> None:
        """Take in the next bytes, which may span parts."""
        view = memoryview(body)
        while view:
            piece = view[: self._part_bytes - self._current_bytes]
            self._current.update(piece)
            self._current_bytes += len(piece)
            view = view[len(piece) :]
            if self._current_bytes == self._part_bytes:
                self._close_part()

    def _close_part(self) -> None:
        self._part_md5s.append(self._current.digest())
        self._current = hashlib.md5(usedforsecurity=False)
        self._current_bytes = 0

    def value(self) -> str:
        """Return the etag of everything taken in; closes the part at hand."""
        if self._current_bytes:
            self._close_part()
        return composite_etag(md5.hex() for md5 in self._part_md5s)


def composite_etag(part_md5s: Iterable[str]) -> str:
    """Return S3's etag for parts with these MD5s (hex), in their order."""
    digests = [bytes.fromhex(md5) for md5 in part_md5s]
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDigests:
    """Size and digests (lower-case hex by algorithm) of one part of a content."""

    size_bytes: int
    digests: Mapping[str, str]


def combined_digests(parts: Iterable[PartDigests], algorithms: Iterable[str]) -> dict[str, str]:
    """Return algorithm to digest of the whole content, from the digests of its parts in their order.

    Args:
        algorithms: Names out of `COMBINABLE`; every part has them.
    """
    values = dict.fromkeys(sorted(algorithms), 0)
    for part in parts:
        for name in values:
            values[name] = _COMBINERS[name](values[name], int(part.digests[name], 16), part.size_bytes)
    return {name: value.to_bytes(_CRC_FUNCTIONS[name][1], "big").hex() for name, value in values.items()}


async def digest(body: Content, algorithms: Iterable[str]) -> dict[str, str]:
    """Return algorithm to lower-case hex digest of the body."""
    digests = ContentDigests(algorithms)
    await digests.update_async(body)
    return digests.hexdigests()


def base64_of(hex_digest: str) -> str:
    """Return a digest as the stores' APIs write it."""
    return base64.b64encode(bytes.fromhex(hex_digest)).decode("ascii")


def hex_of(base64_digest: str) -> str:
    """Return a digest of the stores' APIs in hex."""
    return base64.b64decode(base64_digest).hex()


def _new_hash(name: str) -> _Hash:
    if name in _CRC_FUNCTIONS:
        return _Crc(name)
    return hashlib.new(name, usedforsecurity=False)
