"""A large object on its way to Azure: uncommitted blocks, and the list that commits them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

from skyferry.checksums import base64_of
from skyferry.content_memory import Content
from skyferry.errors import ChecksumMismatchError, SizeMismatchError, SourceMissingError
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.stores.azure_requests import WRITE_RIGHT, condition_headers, metadata_headers
from skyferry.stores.base import UploadToken
from skyferry.stores.http_requests import parse_xml

if TYPE_CHECKING:
    from skyferry.stores.azure import AzureStore

_LISTING = "listing the blocks of"


class AzureUpload:
    """Uncommitted blocks on their way to one block list; parts may be sent in any order.

    A block's name holds its part's number, checksums and size: a stale block of an earlier attempt is not taken for
    this content, and two writers of the same content do not disturb each other.
    """

    def __init__(
        self,
        store: AzureStore,
        key: str,
        *,
        size_bytes: int,
        metadata: ObjectMetadata,
        replaces: ObjectInfo | None,
    ) -> None:
        self._store = store
        self._key = key
        self._size_bytes = size_bytes
        self._metadata = metadata
        self._replaces = replaces
        self._parts: dict[int, tuple[str, int]] = {}
        self._found: dict[str, int] = {}

    @property
    def part_digests(self) -> frozenset[str]:
        return frozenset({"crc32c", "crc64nvme"})

    @property
    def token(self) -> UploadToken:
        """Empty: uncommitted blocks are found by their key alone."""
        return {}

    async def find_blocks(self) -> None:
        """Look up what the service holds of earlier attempts, whatever content they had."""
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        try:
            answer = await self._store.request(
                "GET", self._key, "listing the blocks of", needs=WRITE_RIGHT, query=query
            )
        except SourceMissingError:
            return
        for block in parse_xml(answer).iterfind("UncommittedBlocks/Block"):
            name, size = block.findtext("Name"), block.findtext("Size")
            if name and size:
                self._found[name] = int(size)

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        """As the protocol says; proven by the block's name, which the service took together with that CRC64."""
        block_id = _block_id(index, size_bytes, digests)
        if self._found.get(block_id) != size_bytes:
            return False
        self._parts[index] = (block_id, size_bytes)
        return True

    async def put_part(self, index: int, body: Content, digests: Mapping[str, str]) -> None:
        block_id = _block_id(index, len(body), digests)
        crc64 = _wire_crc64(digests["crc64nvme"])
        answer = await self._store.request(
            "PUT",
            self._key,
            f"writing part {index + 1} of",
            needs=WRITE_RIGHT,
            query={"comp": "block", "blockid": block_id},
            headers={"x-ms-content-crc64": crc64},
            body=body,
            size_bytes=len(body),
        )
        found = answer.headers.get("x-ms-content-crc64")
        if found != crc64:
            raise ChecksumMismatchError(
                f"part {index + 1} of {self._store.url(self._key)} was stored with crc64 {found}; {crc64} was sent",
                hint="nothing of it is visible at the key",
            )
        self._parts[index] = (block_id, len(body))

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        """As the protocol says. The evidence is `crc64nvme`: the service has checked every block by its CRC64 and
        said so, and the list names the blocks by number and checksums.
        """
        self._require_all_parts()
        md5 = digests["md5"]
        blocks = "".join(f"<Latest>{self._parts[index][0]}</Latest>" for index in sorted(self._parts))
        answer = await self._store.write(
            self._key,
            query={"comp": "blocklist"},
            headers={
                "x-ms-blob-content-md5": base64_of(md5),
                **metadata_headers(self._metadata),
                **condition_headers(self._replaces),
            },
            body=f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode(),
        )
        return self._store.committed(self._key, self._size_bytes, answer, md5=md5, verified_by="crc64nvme")

    def _require_all_parts(self) -> None:
        sent_bytes = sum(size_bytes for _, size_bytes in self._parts.values())
        if sorted(self._parts) != list(range(len(self._parts))) or sent_bytes != self._size_bytes:
            raise SizeMismatchError(
                f"{sent_bytes:,} of {self._size_bytes:,} bytes of {self._store.url(self._key)} were sent in "
                f"{len(self._parts)} parts; the key was left as it was"
            )

    async def leave(self) -> None:
        """Nothing is held here."""

    async def abort(self) -> None:
        """Forget the blocks; see the module's known limitation."""
        self._parts.clear()


def _block_id(index: int, size_bytes: int, digests: Mapping[str, str]) -> str:
    """Return a name all of whose like have the same length, as the service demands of the blocks of one blob.

    Source: https://learn.microsoft.com/rest/api/storageservices/put-block (at most 64 bytes before they are
    encoded).
    """
    name = f"{index:05d}-{digests['crc64nvme']}{digests['crc32c']}{size_bytes:08x}"
    return base64.b64encode(name.encode()).decode()


def _wire_crc64(hex_digest: str) -> str:
    """Return a CRC64 as the service writes it: the CRC-64/NVME that S3 knows, its lowest byte first.

    Source: what Azurite computes (`common/utils`, "verified against real Azure"), and the reflected polynomial
    0x9A6C9329AC4BC9B5 in Microsoft's SDKs.
    """
    return base64.b64encode(bytes.fromhex(hex_digest)[::-1]).decode()
