"""Sends the parts of one object: reads run ahead, writes follow as the store allows, what is there is not sent again.

Digests of the whole content are combined from those of its parts where that is possible (checksums of the CRC family);
then parts come in any order, and those an earlier attempt has read need not be read again. Where a digest needs every
byte in order (MD5, and etags made of it), all parts are read, and still only those the store lacks are sent.
"""

from __future__ import annotations

import asyncio
from functools import partial

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.checksums import COMBINABLE, ContentDigests, PartDigests, combined_digests, digest
from skyferry.content_memory import Content
from skyferry.objects import ObjectInfo
from skyferry.stores.base import Capabilities, EtagDigest, Store, Upload
from skyferry.upload_session import UploadSession

PARTS_IN_FLIGHT = 6
"""Parts of one large object under way at once; enough to cover a round trip of 40 ms at 1 GB/s with 8 MiB parts."""


class PartSender:
    """Sends one object, once.

    Args:
        upload: Open.
        session: Knows what earlier attempts have read, and remembers what this one reads.
        capabilities: The destination's.
        algorithms: Of the digests of the whole content that are needed.
        etag_digest: Fed with the whole content in order, if the source's etag is made so.
        budget: Bounds the bytes in memory.
        attempts: Retries single requests.
    """

    def __init__(
        self,
        source: Store,
        info: ObjectInfo,
        upload: Upload,
        session: UploadSession,
        *,
        capabilities: Capabilities,
        algorithms: frozenset[str],
        etag_digest: EtagDigest | None,
        budget: ByteBudget,
        attempts: Attempts,
    ) -> None:
        self._source = source
        self._info = info
        self._upload = upload
        self._session = session
        self._capabilities = capabilities
        self._etag_digest = etag_digest
        self._budget = budget
        self._attempts = attempts
        self._combines = algorithms <= COMBINABLE and etag_digest is None
        self._combined_algorithms = algorithms & COMBINABLE
        self._part_algorithms = upload.part_digests | self._combined_algorithms
        self._in_order = ContentDigests(algorithms - COMBINABLE)
        self._parts: dict[int, PartDigests] = {}

    def hexdigests(self) -> dict[str, str]:
        """Return the digests of the whole content, once all parts were sent."""
        parts = (self._parts[index] for index in sorted(self._parts))
        return combined_digests(parts, self._combined_algorithms) | self._in_order.hexdigests()

    async def send_all(self) -> None:
        """Send every part the store lacks; the first error cancels the others."""
        in_flight = asyncio.Semaphore(PARTS_IN_FLIGHT)
        part_bytes = self._session.part_bytes
        turn: asyncio.Event | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(-(-self._info.size_bytes // part_bytes)):
                    size_bytes = min(part_bytes, self._info.size_bytes - index * part_bytes)
                    if self._is_settled(index, size_bytes):
                        continue
                    await in_flight.acquire()
                    # Parts take memory in their order: the one whose turn it is always has its own.
                    await self._budget.acquire(size_bytes)
                    my_turn, turn = turn, asyncio.Event()
                    task = group.create_task(self._send_part(index, size_bytes, my_turn, turn))
                    # Not in the task itself: one that is cancelled before it begins would never give back.
                    task.add_done_callback(partial(self._give_back, in_flight, size_bytes))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _give_back(self, in_flight: asyncio.Semaphore, size_bytes: int, _task: asyncio.Task[None]) -> None:
        self._budget.release(size_bytes)
        in_flight.release()

    def _is_settled(self, index: int, size_bytes: int) -> bool:
        """Tell whether a part needs neither be read nor sent: its digests are known, and the store holds just that."""
        known = self._session.known.get(index)
        if known is None or not self._combines:
            return False
        if known.size_bytes != size_bytes or not self._part_algorithms <= known.digests.keys():
            return False
        if not self._upload.has_part(index, size_bytes, known.digests):
            return False
        self._parts[index] = known
        self._session.kept_bytes += size_bytes
        return True

    async def _send_part(
        self, index: int, size_bytes: int, my_turn: asyncio.Event | None, next_turn: asyncio.Event
    ) -> None:
        start_byte = index * self._session.part_bytes
        body = await self._attempts.call(lambda: self._source.read_range(self._info, start_byte, size_bytes))
        digests = await digest(body, self._part_algorithms)
        part = self._parts[index] = PartDigests(size_bytes=size_bytes, digests=digests)
        if my_turn is not None and (self._capabilities.parts_in_order or not self._combines):
            await my_turn.wait()
        if self._combines:
            await self._session.note(index, part)
        else:
            await asyncio.to_thread(self._take_in, body)
        if self._upload.has_part(index, size_bytes, digests):
            self._session.kept_bytes += size_bytes
        elif self._capabilities.parts_in_order:
            await self._upload.put_part(index, body, digests)
        else:
            next_turn.set()
            await self._attempts.call(lambda: self._upload.put_part(index, body, digests))
        next_turn.set()

    def _take_in(self, body: Content) -> None:
        self._in_order.update(body)
        if self._etag_digest is not None:
            self._etag_digest.update(body)
