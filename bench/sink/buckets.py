"""What the sink remembers: for each object its size and digests; never the content of an upload.

Objects that are there to be read are made of one random block, each beginning at another byte of it, so a million of
them need no more memory than their names.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from awscrt import checksums as crt

_BLOCK_BYTES = 8 * 2**20
_PIECE_BYTES = 2**20
_OFFSET_STEP = 4_099  # a prime, so that neighbours begin at different bytes

LAST_MODIFIED = "Sat, 21 Nov 2026 00:00:00 GMT"
LAST_MODIFIED_ISO = "2026-11-21T00:00:00.000Z"


class Digests:
    """MD5, CRC32C, CRC64NVME and length of what was fed."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c = 0
        self._crc64 = 0
        self.size_bytes = 0

    def update(self, data: bytes | memoryview) -> None:
        self._md5.update(data)
        as_bytes = bytes(data) if isinstance(data, memoryview) else data
        self._crc32c = crt.crc32c(as_bytes, self._crc32c)
        self._crc64 = crt.crc64nvme(as_bytes, self._crc64)
        self.size_bytes += len(data)

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    @property
    def crc32c(self) -> bytes:
        return self._crc32c.to_bytes(4, "big")

    @property
    def crc64(self) -> bytes:
        """CRC64NVME as S3 writes it."""
        return self._crc64.to_bytes(8, "big")


class Crc64:
    """CRC-64/NVME and length of a block, whose bytes are counted as they arrive."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._crc64 = 0
        self.size_bytes = 0

    def update(self, data: bytes) -> None:
        self._buckets.upload_bytes += len(data)
        self._crc64 = crt.crc64nvme(data, self._crc64)
        self.size_bytes += len(data)

    @property
    def crc64(self) -> bytes:
        """As Azure writes it."""
        return self._crc64.to_bytes(8, "little")


class PartDigests(Digests):
    """Digests of a part of an upload, whose bytes are counted as they arrive: also those of a part that breaks off."""

    def __init__(self, buckets: Buckets) -> None:
        super().__init__()
        self._buckets = buckets

    def update(self, data: bytes | memoryview) -> None:
        self._buckets.upload_bytes += len(data)
        super().update(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object.

    Attributes:
        etag: As S3 shows it, without quotes.
        md5: None for an object in parts whose uploader named none.
        crc64: CRC64NVME as S3 writes it; empty for what came by another store's calls.
        starts_at: Where in the random block its content begins; None for an upload, whose content is gone.
        metadata: Headers that came with it, by lower-case name, and go with it.
    """

    key: str
    size_bytes: int
    etag: str
    md5: bytes | None
    crc32c: bytes
    crc64: bytes = b""
    starts_at: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Bucket:
    """Objects by key, listed in key order."""

    def __init__(self) -> None:
        self._objects: dict[str, StoredObject] = {}
        self._keys: list[str] | None = []

    def put(self, stored: StoredObject) -> None:
        if stored.key not in self._objects:
            self._keys = None
        self._objects[stored.key] = stored

    def get(self, key: str) -> StoredObject | None:
        return self._objects.get(key)

    def __len__(self) -> int:
        return len(self._objects)

    def page(self, prefix: str, *, after: str, max_keys: int) -> tuple[list[StoredObject], str]:
        """Return the objects behind a key, and the key after which the next page begins (empty at the end)."""
        if self._keys is None:
            self._keys = sorted(self._objects)
        start = max(bisect_right(self._keys, after), bisect_left(self._keys, prefix))
        found: list[StoredObject] = []
        for key in self._keys[start : start + max_keys + 1]:
            if not key.startswith(prefix):
                return found, ""
            if len(found) == max_keys:
                return found, found[-1].key
            found.append(self._objects[key])
        return found, ""

    def level(self, prefix: str, *, after: str, max_keys: int) -> tuple[list[StoredObject | str], str]:
        """Return what is directly below a prefix, as objects and as prefixes that end in `/`, like `page`."""
        found: list[StoredObject | str] = []
        last = after
        while len(found) < max_keys:
            # Behind a prefix comes the first key that does not begin with it; the sink's keys are ASCII.
            page, _ = self.page(prefix, after=f"{last}\x7f" if last.endswith("/") else last, max_keys=1)
            if not page:
                return found, ""
            head, slash, _ = page[0].key.removeprefix(prefix).partition("/")
            last = f"{prefix}{head}{slash}"
            found.append(last if slash else page[0])
        return found, last


class Buckets:
    """All buckets of the sink; one that nobody filled is empty.

    Attributes:
        upload_bytes: How much content has arrived in parts, blocks and sessions, whether it was new or not.
    """

    def __init__(self) -> None:
        self.upload_bytes = 0
        self._buckets: dict[str, Bucket] = {}
        self._block = random.Random(5).randbytes(_BLOCK_BYTES)  # noqa: S311 - content to copy, not a secret

    def bucket(self, name: str) -> Bucket:
        return self._buckets.setdefault(name, Bucket())

    def empty(self, name: str) -> None:
        self._buckets.pop(name, None)

    def fill(self, name: str, *, prefix: str, count: int, size_bytes: int) -> None:
        """Put that many objects of that size into a bucket."""
        bucket = self.bucket(name)
        for number in range(count):
            digests, starts_at = Digests(), number * _OFFSET_STEP % _BLOCK_BYTES
            for piece in self.content(starts_at, 0, size_bytes):
                digests.update(piece)
            bucket.put(
                StoredObject(
                    key=f"{prefix}{number:06d}",
                    size_bytes=size_bytes,
                    etag=digests.md5.hex(),
                    md5=digests.md5,
                    crc32c=digests.crc32c,
                    crc64=digests.crc64,
                    starts_at=starts_at,
                )
            )

    def content(self, starts_at: int, start_byte: int, end_byte: int) -> Iterator[memoryview]:
        """Yield the bytes of an object from one position to another, in pieces."""
        block = memoryview(self._block)
        while start_byte < end_byte:
            place = (starts_at + start_byte) % _BLOCK_BYTES
            size_bytes = min(_PIECE_BYTES, end_byte - start_byte, _BLOCK_BYTES - place)
            yield block[place : place + size_bytes]
            start_byte += size_bytes
