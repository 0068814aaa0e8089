"""A large object on its way to Cloud Storage: one resumable session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from skyferry.checksums import base64_of
from skyferry.content_memory import Content
from skyferry.errors import (
    ConnectionLostError,
    DestinationChangedError,
    PermanentError,
    SizeMismatchError,
    TransferError,
    UploadLostError,
)
from skyferry.objects import Committed, ObjectInfo
from skyferry.stores.base import UploadToken
from skyferry.stores.http_requests import Answer, stream_of
from skyferry.stores.pacing import deadline_seconds

if TYPE_CHECKING:
    from skyferry.stores.gcs import GcsStore


class GcsUpload:
    """A resumable session fed part by part; holds the last part back until the commit.

    Beside the part the caller holds, at most one part waits and one is on the wire. Once a part could not be sent,
    every further call raises the same error: go on with `GcsStore.resume_upload`.
    """

    def __init__(
        self,
        store: GcsStore,
        key: str,
        address: str,
        *,
        size_bytes: int,
        part_bytes: int,
        content_type: str,
        replaces: ObjectInfo | None,
    ) -> None:
        self._store = store
        self._key = key
        self._address = address
        self._size_bytes = size_bytes
        self._part_bytes = part_bytes
        self._content_type = content_type
        self._last_index = max(0, (size_bytes - 1) // part_bytes)
        self._head_bytes = self._last_index * part_bytes
        self._replaced_etag = replaces.etag if replaces else ""
        self._kept_bytes = 0
        self._next_index = 0
        self._last_part: Content = b""
        self._parts: asyncio.Queue[Content] = asyncio.Queue(maxsize=1)
        self._head: asyncio.Task[None] | None = None
        self._failure: TransferError | None = None

    @property
    def part_digests(self) -> frozenset[str]:
        return frozenset()

    @property
    def token(self) -> UploadToken:
        """Whoever has it can write this object for a week; it belongs into the state folder only."""
        return {"session": self._address, "replaces": self._replaced_etag}

    async def find_kept(self) -> bool:
        """Ask how much the session has kept of earlier attempts; False when it is over.

        Source: https://cloud.google.com/storage/docs/performing-resumable-uploads#status-check
        """
        headers = self._range_headers(0, 0, total=str(self._size_bytes))
        try:
            answer = await self._put(headers, stream_of(), size_bytes=0)
        except (UploadLostError, DestinationChangedError):
            return False
        if answer.status != 308:
            return False
        last_byte = answer.headers.get("Range", "").rpartition("-")[2]
        self._kept_bytes = int(last_byte) + 1 if last_byte.isascii() and last_byte.isdigit() else 0
        self._next_index = min(self._kept_bytes // self._part_bytes, self._last_index)
        return self._kept_bytes < self._size_bytes

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        """As the protocol says; what the session has kept is proven at the commit, by the CRC32C of the whole."""
        del size_bytes, digests
        return index < self._last_index and (index + 1) * self._part_bytes <= self._kept_bytes

    async def put_part(self, index: int, body: Content, digests: Mapping[str, str]) -> None:
        del digests  # the store checks the whole content
        self._raise_failure()
        if index < self._next_index:
            return  # it was taken already
        expected_bytes = self._part_bytes if index < self._last_index else self._size_bytes - self._head_bytes
        if index != self._next_index or len(body) != expected_bytes:
            raise PermanentError(
                f"part {index + 1} of {self._store.url(self._key)} came with {len(body):,} bytes; expected part "
                f"{self._next_index + 1} of {self._last_index + 1}, and {expected_bytes:,} bytes"
            )
        if index == self._last_index:
            self._last_part = body
        else:
            await self._feed(body[max(0, self._kept_bytes - index * self._part_bytes) :])
        self._next_index += 1

    async def _feed(self, body: Content) -> None:
        if self._head is None:
            self._head = asyncio.create_task(self._send_head())
        try:
            async with asyncio.timeout(deadline_seconds(len(body))):
                await self._parts.put(body)
        except TimeoutError:
            self._failure = ConnectionLostError(
                f"writing {self._store.url(self._key)} failed: the store stopped taking bytes"
            )
            self._head.cancel()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _send_head(self) -> None:
        """Stream every part but the last; keeps its failure, and lets whoever waits to hand over a part go on."""
        headers = self._range_headers(self._kept_bytes, self._head_bytes, total="*")
        try:
            answer = await self._put(headers, self._head_pieces(), size_bytes=None)
            kept = answer.headers.get("Range", "")
            if answer.status != 308 or kept != f"bytes=0-{self._head_bytes - 1}":
                raise ConnectionLostError(
                    f"writing {self._store.url(self._key)} failed: the store kept {kept or 'nothing'} of the first "
                    f"{self._head_bytes:,} bytes"
                )
        except TransferError as error:
            self._failure = error
            while not self._parts.empty():
                self._parts.get_nowait()

    async def _head_pieces(self) -> AsyncIterator[memoryview]:
        for _ in range(self._kept_bytes // self._part_bytes, self._last_index):
            async for piece in stream_of(await self._parts.get()):
                yield piece

    def _range_headers(self, start_byte: int, end_byte: int, *, total: str) -> dict[str, str]:
        span = f"{start_byte}-{end_byte - 1}" if end_byte > start_byte else "*"
        return {
            "Content-Type": self._content_type,
            "Content-Length": str(end_byte - start_byte),
            "Content-Range": f"bytes {span}/{total}",
        }

    async def _put(
        self, headers: Mapping[str, str], body: AsyncIterator[memoryview], *, size_bytes: int | None
    ) -> Answer:
        return await self._store.write(
            "PUT", self._address, self._key, headers=headers, body=body, size_bytes=size_bytes, absent="session"
        )

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        """As the protocol says. The CRC32C goes with the last request, where the service checks it; a service that
        does not is found out by its answer, and that generation is deleted.

        Source: Google's own client sends the header so, google-cloud-storage `_media/_upload.py`.
        """
        self._raise_failure()
        if self._next_index <= self._last_index:
            raise SizeMismatchError(
                f"{self._next_index} of {self._last_index + 1} parts of {self._store.url(self._key)} were sent; the "
                "key was left as it was"
            )
        if self._head is not None:
            await self._head
            self._raise_failure()
        start_byte = max(self._head_bytes, self._kept_bytes)
        last_part = self._last_part[start_byte - self._head_bytes :]
        headers = self._range_headers(start_byte, self._size_bytes, total=str(self._size_bytes))
        headers["X-Goog-Hash"] = f"crc32c={base64_of(digests['crc32c'])}"
        answer = await self._put(headers, stream_of(last_part), size_bytes=len(last_part))
        if answer.status == 308:
            raise ConnectionLostError(
                f"writing {self._store.url(self._key)} failed: the store misses bytes of it", hint="it begins anew"
            )
        return await self._store.committed(self._key, answer, digests["crc32c"])

    async def leave(self) -> None:
        """End the stream; the session keeps what has arrived."""
        if self._head is not None:
            self._head.cancel()
            await asyncio.wait([self._head])
        self._last_part = b""

    async def abort(self) -> None:
        await self.leave()
        with contextlib.suppress(TransferError):
            await self._store.end_session(self._key, self._address)
