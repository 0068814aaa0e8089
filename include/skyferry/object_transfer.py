"""Moving the bytes of one pinned source version to one destination key, and proving that they arrived.

Small objects travel whole: one request to read, one to write. Large ones travel in parts, several at a time. Either
way the destination key changes in one instant, after the bytes were proven to be the source's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.checksums import ContentDigests, digest
from skyferry.errors import (
    ChecksumMismatchError,
    ConnectionLostError,
    DestinationChangedError,
    ObjectTooLargeError,
    RetryableError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
)
from skyferry.evidence import Comparer, needs_source_note, source_note, with_source_note
from skyferry.metadata import fit_metadata, restore_metadata
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.records import PlannedObject
from skyferry.stores.base import Capabilities, EtagDigest, Store, Upload
from skyferry.verification import holds_content, source_algorithms, verify_destination, verify_source

SMALL_OBJECT_BYTES = 8 * 2**20
"""Objects up to this size travel whole; the part size of larger ones begins here. One part of this size costs S3,
Azure and GCS one request each, and 12 of them fill the memory budget."""

PARTS_IN_FLIGHT = 6
"""Parts of one large object under way at once; enough to cover a round trip of 40 ms at 1 GB/s with 8 MiB parts."""

_BASE_ALGORITHMS = frozenset({"crc32c"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """One object that arrived and was proven."""

    committed: ObjectInfo
    digests: Mapping[str, str]
    verified_by: str
    source_verified_by: str
    lost: tuple[str, ...]
    was_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What is known about the source's bytes once they have all been read and proven."""

    info: ObjectInfo
    digests: Mapping[str, str]
    source_verified_by: str
    metadata: ObjectMetadata
    lost: tuple[str, ...]


def part_size_bytes(size_bytes: int, capabilities: Capabilities) -> int:
    """Return the size of the parts in which an object of this size is sent to a store.

    Raises:
        ObjectTooLargeError: No allowed part size gives few enough parts; the message lacks the object's name.
    """
    if size_bytes > capabilities.max_object_bytes:
        raise ObjectTooLargeError(
            f"{size_bytes:,} bytes are more than the {capabilities.max_object_bytes:,} the destination can hold",
            hint="split the object",
        )
    wanted = max(SMALL_OBJECT_BYTES, capabilities.min_part_bytes, -(-size_bytes // capabilities.max_parts))
    multiple = capabilities.part_multiple_bytes
    return min(-(-wanted // multiple) * multiple, capabilities.max_part_bytes)


class ObjectTransfer:
    """Transfers objects between one pair of stores.

    Args:
        reads_back: Read every object back from the destination, whatever the store's answer proves.
        budget: Bounds the bytes in memory over all objects under way.
        attempts: Retries single requests and counts the retries.
    """

    def __init__(
        self, source: Store, destination: Store, *, reads_back: bool, budget: ByteBudget, attempts: Attempts
    ) -> None:
        self._source = source
        self._destination = destination
        self._reads_back = reads_back
        self._budget = budget
        self._attempts = attempts
        self._comparer = Comparer(source, destination, budget=budget, attempts=attempts)

    async def transfer(self, planned: PlannedObject) -> Transferred:
        """Copy the planned version to the planned key.

        Costs one read and one write for a small object, plus a second read where no checksum proves the first one, and
        a read of the destination where its answer proves nothing.

        Raises:
            SourceChangedError, SourceMissingError: The planned version is not there any more; plan again.
            DestinationChangedError: The key holds other content than was planned for, and was left alone.
            ChecksumMismatchError: Bytes changed on the way, in every attempt; the wrong ones are nowhere to be seen.
        """
        if planned.source.size_bytes <= SMALL_OBJECT_BYTES:
            content, committed, was_there = await self._transfer_small(planned)
        else:
            content, committed, was_there = await self._transfer_large(planned)
        verified_by = await verify_destination(
            self._destination,
            committed,
            digests=content.digests,
            reads_back=self._reads_back,
            comparer=self._comparer,
        )
        return Transferred(
            committed=committed.info,
            digests=content.digests,
            verified_by=verified_by,
            source_verified_by=content.source_verified_by,
            lost=content.lost,
            was_there=was_there,
        )

    def _algorithms(self, info: ObjectInfo) -> frozenset[str]:
        return _BASE_ALGORITHMS | self._destination.capabilities.digests | source_algorithms(self._source, info)

    def _content(self, info: ObjectInfo, digests: Mapping[str, str], source_verified_by: str) -> _Content:
        metadata, lost = fit_metadata(restore_metadata(info.metadata or ObjectMetadata()), self._destination.kind)
        if self._leaves_note(info):
            metadata = with_source_note(metadata, source_note(self._source.url(info.key), info))
        if not self._source.capabilities.holds_metadata:
            lost = ()  # a content type guessed from a file's name is nobody's loss
        return _Content(info=info, digests=digests, source_verified_by=source_verified_by, metadata=metadata, lost=lost)

    def _leaves_note(self, info: ObjectInfo) -> bool:
        """Tell whether the copy says which source version it holds; a local source is compared by reading it."""
        destination = self._destination.capabilities
        if self._source.capabilities.reads_are_trusted or not destination.holds_metadata:
            return False
        is_small = info.size_bytes <= SMALL_OBJECT_BYTES
        published = destination.publishes if is_small else destination.publishes_of_parts
        return needs_source_note(info, published=published)

    # Small objects

    async def _transfer_small(self, planned: PlannedObject) -> tuple[_Content, Committed, bool]:
        try:
            async with self._budget.hold(planned.source.size_bytes):
                content, body = await self._attempts.call(lambda: self._read_small(planned.source))
                return content, await self._put_small(planned, content, body), False
        except DestinationChangedError as conflict:
            # Outside the budget: comparing may read the destination, and whoever holds memory must not wait for more.
            return content, await self._settle(conflict, planned, content), True

    async def _read_small(self, pinned: ObjectInfo) -> tuple[_Content, bytes]:
        info, body = await self._source.read_object(pinned)
        digests = await digest(body, self._algorithms(info))
        etag_digest = None if source_algorithms(self._source, info) else await self._source.etag_digest(info)
        if etag_digest is not None:
            await asyncio.to_thread(etag_digest.update, body)

        async def read_again() -> str:
            _, second_body = await self._source.read_object(info)
            return (await digest(second_body, _BASE_ALGORITHMS))["crc32c"]

        proof = await verify_source(
            self._source,
            info,
            digests=digests,
            etag=etag_digest.value() if etag_digest else None,
            read_again=read_again,
        )
        return self._content(info, digests, proof), body

    async def _put_small(self, planned: PlannedObject, content: _Content, body: bytes) -> Committed:
        return await self._attempts.call(
            lambda: self._destination.put_object(
                planned.destination_key,
                body,
                metadata=content.metadata,
                digests=content.digests,
                replaces=planned.replaces,
            )
        )

    async def _settle(self, conflict: TransferError, planned: PlannedObject, content: _Content) -> Committed:
        """Tell a lost answer from a real conflict: what lies at the key may be what was just sent."""
        found = await self._attempts.call(lambda: self._destination.stat(planned.destination_key))
        if found is None or (planned.replaces is not None and found.etag == planned.replaces.etag):
            raise conflict
        proof = await holds_content(
            self._destination,
            found,
            size_bytes=content.info.size_bytes,
            digests=content.digests,
            comparer=self._comparer,
        )
        if proof is None:
            raise conflict
        return Committed(info=found, verified_by=proof)

    # Large objects

    async def _transfer_large(self, planned: PlannedObject) -> tuple[_Content, Committed, bool]:
        info = await self._attempts.call(lambda: self._stat_pinned(planned.source))
        metadata = self._content(info, {}, "").metadata
        part_bytes = part_size_bytes(info.size_bytes, self._destination.capabilities)

        async def attempt() -> tuple[_Content, Committed, bool]:
            upload = await self._destination.start_upload(
                planned.destination_key,
                size_bytes=info.size_bytes,
                part_bytes=part_bytes,
                metadata=metadata,
                replaces=planned.replaces,
            )
            try:
                content = await self._send(info, upload, part_bytes)
                return await self._commit(upload, planned, content)
            except BaseException:
                await asyncio.shield(upload.abort())
                raise

        # Where parts can be sent again one by one, only wrong content is a reason to begin anew.
        in_order = self._destination.capabilities.parts_in_order
        on = RetryableError if in_order else ChecksumMismatchError
        return await self._attempts.call(attempt, on=on, takes_long=True)

    async def _stat_pinned(self, pinned: ObjectInfo) -> ObjectInfo:
        info = await self._source.stat(pinned.key)
        if info is None:
            raise SourceMissingError(f"{self._source.url(pinned.key)} is gone")
        if info.etag != pinned.etag:
            raise SourceChangedError(
                f"{self._source.url(pinned.key)} is no longer the version that was planned (etag {pinned.etag})"
            )
        return info

    async def _send(self, info: ObjectInfo, upload: Upload, part_bytes: int) -> _Content:
        """Send all parts and prove that what was read is the source's."""
        etag_digest = None if source_algorithms(self._source, info) else await self._source.etag_digest(info)
        sender = _PartSender(self, info, upload, part_bytes=part_bytes, etag_digest=etag_digest)
        await sender.send_all()
        digests = sender.digests.hexdigests()

        async def read_again() -> str:
            return (await self._comparer.read_digests(self._source, info, _BASE_ALGORITHMS))["crc32c"]

        proof = await verify_source(
            self._source,
            info,
            digests=digests,
            etag=etag_digest.value() if etag_digest else None,
            read_again=read_again,
        )
        return self._content(info, digests, proof)

    async def _commit(
        self, upload: Upload, planned: PlannedObject, content: _Content
    ) -> tuple[_Content, Committed, bool]:
        try:
            return content, await self._commit_upload(upload, content), False
        except (DestinationChangedError, ConnectionLostError) as conflict:
            settled = await self._settle(conflict, planned, content)
            await upload.abort()
            return content, settled, True

    async def _commit_upload(self, upload: Upload, content: _Content) -> Committed:
        if self._destination.capabilities.parts_in_order:
            return await upload.commit(content.digests)  # the stream that carried the parts broke off with the answer
        return await self._attempts.call(lambda: upload.commit(content.digests))


class _PartSender:
    """Sends the parts of one object: reads run ahead, digests are fed in order, writes follow as the store allows."""

    def __init__(
        self,
        transfer: ObjectTransfer,
        info: ObjectInfo,
        upload: Upload,
        *,
        part_bytes: int,
        etag_digest: EtagDigest | None,
    ) -> None:
        self._transfer = transfer
        self._info = info
        self._upload = upload
        self._part_bytes = part_bytes
        self._etag_digest = etag_digest
        self._capabilities = transfer._destination.capabilities
        self.digests = ContentDigests(transfer._algorithms(info))

    async def send_all(self) -> None:
        """Send every part; the first error cancels the others."""
        in_flight = asyncio.Semaphore(PARTS_IN_FLIGHT)
        turn: asyncio.Event | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(-(-self._info.size_bytes // self._part_bytes)):
                    size_bytes = min(self._part_bytes, self._info.size_bytes - index * self._part_bytes)
                    await in_flight.acquire()
                    # Parts take memory in their order: the one whose turn it is always has its own.
                    await self._transfer._budget.acquire(size_bytes)
                    my_turn, turn = turn, asyncio.Event()
                    task = group.create_task(self._send_part(index, size_bytes, my_turn, turn))
                    # Not in the task itself: one that is cancelled before it begins would never give back.
                    task.add_done_callback(partial(self._give_back, in_flight, size_bytes))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _give_back(self, in_flight: asyncio.Semaphore, size_bytes: int, _task: asyncio.Task[None]) -> None:
        self._transfer._budget.release(size_bytes)
        in_flight.release()

    async def _send_part(
        self, index: int, size_bytes: int, my_turn: asyncio.Event | None, next_turn: asyncio.Event
    ) -> None:
        start_byte = index * self._part_bytes
        body = await self._transfer._attempts.call(
            lambda: self._transfer._source.read_range(self._info, start_byte, size_bytes)
        )
        if my_turn is not None:
            await my_turn.wait()
        await asyncio.to_thread(self._take_in, body)
        if self._capabilities.parts_in_order:
            await self._upload.put_part(index, body, await digest(body, self._capabilities.part_digests))
            next_turn.set()
            return
        next_turn.set()
        part_digests = await digest(body, self._capabilities.part_digests)
        await self._transfer._attempts.call(lambda: self._upload.put_part(index, body, part_digests))

    def _take_in(self, body: bytes) -> None:
        self.digests.update(body)
        if self._etag_digest is not None:
            self._etag_digest.update(body)
