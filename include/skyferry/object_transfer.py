"""Moving the bytes of one pinned source version to one destination key, and proving that they arrived.

Small objects travel whole: one request to read, one to write. Large ones travel in parts, several at a time. Either
way the destination key changes in one instant, after the bytes were proven to be the source's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.checksums import digest
from skyferry.content_memory import Content
from skyferry.errors import (
    ChecksumMismatchError,
    ConnectionLostError,
    DestinationChangedError,
    ObjectTooLargeError,
    RetryableError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
    UploadLostError,
)
from skyferry.evidence import Comparer, needs_source_note, source_note, with_source_note
from skyferry.metadata import fit_metadata, restore_metadata
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.part_sender import PartSender
from skyferry.records import PlannedObject
from skyferry.stores.base import Capabilities, Store, Upload
from skyferry.upload_records import UploadGoal, UploadRecords
from skyferry.upload_session import UploadSession
from skyferry.verification import holds_content, source_algorithms, verify_destination, verify_source

SMALL_OBJECT_BYTES = 8 * 2**20
"""Objects up to this size travel whole; the part size of larger ones begins here. One part of this size costs S3,
Azure and GCS one request each, and 12 of them fill the memory budget."""

_BASE_ALGORITHMS = frozenset({"crc32c"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """One object that arrived and was proven.

    Attributes:
        resumed_bytes: What earlier attempts had sent, and this one did not send again.
    """

    committed: ObjectInfo
    digests: Mapping[str, str]
    verified_by: str
    source_verified_by: str
    lost: tuple[str, ...]
    was_there: bool
    resumed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProvenContent:
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
        uploads: Where large objects on their way are remembered; None for nowhere.
    """

    def __init__(
        self,
        source: Store,
        destination: Store,
        *,
        reads_back: bool,
        budget: ByteBudget,
        attempts: Attempts,
        uploads: UploadRecords | None = None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._reads_back = reads_back
        self._budget = budget
        self._attempts = attempts
        self._uploads = uploads
        self._comparer = Comparer(source, destination, budget=budget, attempts=attempts)

    async def transfer(self, planned: PlannedObject) -> Transferred:
        """Copy the planned version to the planned key.

        Costs one read and one write for a small object, plus a second read where no checksum proves the first one, and
        a read of the destination where its answer proves nothing. A large object that an earlier attempt left half-sent
        costs the parts that are missing; parts that are there are read again only for digests that cannot be combined.

        Raises:
            SourceChangedError, SourceMissingError: The planned version is not there any more; plan again.
            DestinationChangedError: The key holds other content than was planned for, and was left alone.
            ChecksumMismatchError: Bytes changed on the way, in every attempt; the wrong ones are nowhere to be seen.
        """
        resumed_bytes = 0
        if planned.source.size_bytes <= SMALL_OBJECT_BYTES:
            content, committed, was_there = await self._transfer_small(planned)
        else:
            content, committed, was_there, resumed_bytes = await self._transfer_large(planned)
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
            resumed_bytes=resumed_bytes,
        )

    def _algorithms(self, info: ObjectInfo, *, in_parts: bool = False) -> frozenset[str]:
        destination = self._destination.capabilities
        needed = destination.commit_digests if in_parts else destination.digests
        return _BASE_ALGORITHMS | needed | source_algorithms(self._source, info)

    def _content(self, info: ObjectInfo, digests: Mapping[str, str], source_verified_by: str) -> _ProvenContent:
        metadata, lost = fit_metadata(restore_metadata(info.metadata or ObjectMetadata()), self._destination.kind)
        if self._leaves_note(info):
            metadata = with_source_note(metadata, source_note(self._source.url(info.key), info))
        if not self._source.capabilities.holds_metadata:
            lost = ()  # a content type guessed from a file's name is nobody's loss
        return _ProvenContent(
            info=info, digests=digests, source_verified_by=source_verified_by, metadata=metadata, lost=lost
        )

    def _leaves_note(self, info: ObjectInfo) -> bool:
        """Tell whether the copy says which source version it holds; a local source is compared by reading it."""
        destination = self._destination.capabilities
        if self._source.capabilities.reads_are_trusted or not destination.holds_metadata:
            return False
        is_small = info.size_bytes <= SMALL_OBJECT_BYTES
        published = destination.publishes if is_small else destination.publishes_of_parts
        return needs_source_note(info, published=published)

    # Small objects

    async def _transfer_small(self, planned: PlannedObject) -> tuple[_ProvenContent, Committed, bool]:
        try:
            async with self._budget.hold(planned.source.size_bytes):
                content, body = await self._attempts.call(lambda: self._read_small(planned.source))
                return content, await self._put_small(planned, content, body), False
        except DestinationChangedError as conflict:
            # Outside the budget: comparing may read the destination, and whoever holds memory must not wait for more.
            return content, await self._settle(conflict, planned, content), True

    async def _read_small(self, pinned: ObjectInfo) -> tuple[_ProvenContent, Content]:
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

    async def _put_small(self, planned: PlannedObject, content: _ProvenContent, body: Content) -> Committed:
        return await self._attempts.call(
            lambda: self._destination.put_object(
                planned.destination_key,
                body,
                metadata=content.metadata,
                digests=content.digests,
                replaces=planned.replaces,
            )
        )

    async def _settle(self, conflict: TransferError, planned: PlannedObject, content: _ProvenContent) -> Committed:
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

    async def _transfer_large(self, planned: PlannedObject) -> tuple[_ProvenContent, Committed, bool, int]:
        info = await self._attempts.call(lambda: self._stat_pinned(planned.source))
        session = UploadSession(self._destination, self._goal(planned, info), self._uploads)

        async def attempt() -> tuple[_ProvenContent, Committed, bool]:
            upload = await session.open()
            try:
                content = await self._send(info, upload, session)
                committed, was_there = await self._commit(upload, planned, content)
            except BaseException as error:
                await asyncio.shield(session.pause(error))
                raise
            await asyncio.shield(session.finish(is_ours=not was_there))
            return content, committed, was_there

        # Where parts can be sent again one by one, a lost request is no reason to send the rest again.
        in_order = self._destination.capabilities.parts_in_order
        on = (RetryableError,) if in_order else (ChecksumMismatchError, UploadLostError)
        try:
            return *await self._attempts.call(attempt, on=on, takes_long=True), session.kept_bytes
        finally:
            await asyncio.shield(session.close())

    def _goal(self, planned: PlannedObject, info: ObjectInfo) -> UploadGoal:
        return UploadGoal(
            source=self._source.url(info.key),
            info=info,
            destination=self._destination.url(planned.destination_key),
            key=planned.destination_key,
            part_bytes=part_size_bytes(info.size_bytes, self._destination.capabilities),
            metadata=self._content(info, {}, "").metadata,
            replaces=planned.replaces,
        )

    async def _stat_pinned(self, pinned: ObjectInfo) -> ObjectInfo:
        info = await self._source.stat(pinned.key)
        if info is None:
            raise SourceMissingError(f"{self._source.url(pinned.key)} is gone")
        if info.etag != pinned.etag:
            raise SourceChangedError(
                f"{self._source.url(pinned.key)} is no longer the version that was planned (etag {pinned.etag})"
            )
        return info

    async def _send(self, info: ObjectInfo, upload: Upload, session: UploadSession) -> _ProvenContent:
        """Send all parts the store does not hold, and prove that what was read is the source's."""
        etag_digest = None if source_algorithms(self._source, info) else await self._source.etag_digest(info)
        sender = PartSender(
            self._source,
            info,
            upload,
            session,
            capabilities=self._destination.capabilities,
            algorithms=self._algorithms(info, in_parts=True),
            etag_digest=etag_digest,
            budget=self._budget,
            attempts=self._attempts,
        )
        await sender.send_all()
        digests = sender.hexdigests()

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

    async def _commit(self, upload: Upload, planned: PlannedObject, content: _ProvenContent) -> tuple[Committed, bool]:
        try:
            return await self._commit_upload(upload, content), False
        except (DestinationChangedError, ConnectionLostError, UploadLostError) as conflict:
            return await self._settle(conflict, planned, content), True

    async def _commit_upload(self, upload: Upload, content: _ProvenContent) -> Committed:
        if self._destination.capabilities.parts_in_order:
            return await upload.commit(content.digests)  # the stream that carried the parts broke off with the answer
        return await self._attempts.call(lambda: upload.commit(content.digests))
