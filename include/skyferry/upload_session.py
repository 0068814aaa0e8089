"""One large object on its way: it goes on where an earlier attempt stopped, in this process or another one.

An attempt that fails leaves what it sent, except when that is worthless: the bytes were wrong, or the source is another
one now. What is small enough to be sent anew leaves no record; then only the attempts of one process go on.
"""

from __future__ import annotations

import logging

from skyferry.checksums import PartDigests
from skyferry.errors import (
    AccessDeniedError,
    ChecksumMismatchError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
)
from skyferry.stores.base import Store, Upload, UploadToken
from skyferry.upload_records import FoundUpload, UploadGoal, UploadJournal, UploadRecords

RECORDED_BYTES = 32 * 2**20
"""Objects from this size on leave a record; below it, sending them anew costs less than keeping records."""

_MAX_CHANGE = 8
"""Parts of a recorded upload are at most so many times larger or smaller than they would be now: that bounds the
memory and the number of requests."""

_WORTHLESS = (ChecksumMismatchError, SourceChangedError, SourceMissingError)

_log = logging.getLogger(__name__)


class UploadSession:
    """The attempts at sending one object.

    Attributes:
        part_bytes: Size of the parts: that of the upload that goes on.
        known: Digests of source parts that were read already, by index; facts about the pinned source version.
        kept_bytes: What the store held already, and was not sent again.

    Args:
        records: Where unfinished uploads are remembered; None for nowhere.
    """

    def __init__(self, destination: Store, goal: UploadGoal, records: UploadRecords | None) -> None:
        self._destination = destination
        self._goal = goal
        self._records = records if goal.info.size_bytes >= RECORDED_BYTES else None
        self._journal: UploadJournal | None = None
        self._token: UploadToken | None = None
        self._others: list[FoundUpload] = []
        self._upload: Upload | None = None
        self.part_bytes = goal.part_bytes
        self.known: dict[int, PartDigests] = {}
        self.kept_bytes = 0

    async def open(self) -> Upload:
        """Return an upload: the one of the last attempt, one that a record names, or a new one."""
        self.kept_bytes = 0
        self._upload = await self._go_on() or await self._go_on_from_records() or await self._begin()
        return self._upload

    async def _go_on(self) -> Upload | None:
        if self._token is None:
            return None
        upload = await self._resume(self._token)
        if upload is None:
            await self._drop()
        return upload

    async def _go_on_from_records(self) -> Upload | None:
        if self._records is None:
            return None
        found = await self._records.find(self._goal)
        for one in found:
            if one.record.identity != self._goal.identity:
                if one.record.source == self._goal.source:
                    await self._discard_other(one)  # of a version the source no longer shows
            elif self._fits(one) and await self._adopt(one):
                self._others = [other for other in found if other.record.identity == one.record.identity]
                self._others.remove(one)
                assert self._upload is not None
                return self._upload
            else:
                await self._discard_other(one)
        return None

    def _fits(self, found: FoundUpload) -> bool:
        """Tell whether parts of that size may be sent: what is recorded is not trusted."""
        limits = self._destination.capabilities
        part_bytes, size_bytes = found.record.part_bytes, self._goal.info.size_bytes
        return (
            found.record.size_bytes == size_bytes
            and limits.min_part_bytes <= part_bytes <= limits.max_part_bytes
            and self._goal.part_bytes <= _MAX_CHANGE * part_bytes
            and part_bytes <= _MAX_CHANGE * self._goal.part_bytes
            and not part_bytes % limits.part_multiple_bytes
            and -(-size_bytes // part_bytes) <= limits.max_parts
        )

    async def _adopt(self, found: FoundUpload) -> bool:
        assert self._records is not None
        self.part_bytes = found.record.part_bytes
        upload = await self._resume(found.record.token)
        if upload is None:
            self.part_bytes = self._goal.part_bytes
            return False
        self.known = await self._records.parts(found)
        self._upload, self._token, self._journal = upload, found.record.token, self._records.go_on(found)
        _log.info("going on with the upload of %s that began at %s", self._goal.destination, found.record.began_at)
        return True

    async def _resume(self, token: UploadToken) -> Upload | None:
        try:
            return await self._destination.resume_upload(
                self._goal.key,
                token,
                size_bytes=self._goal.info.size_bytes,
                part_bytes=self.part_bytes,
                metadata=self._goal.metadata,
                replaces=self._goal.replaces,
            )
        except AccessDeniedError as error:
            _log.warning("%s begins anew, because its parts cannot be listed: %s", self._goal.destination, error)
            return None

    async def _begin(self) -> Upload:
        self.part_bytes, self.known = self._goal.part_bytes, {}
        upload = await self._destination.start_upload(
            self._goal.key,
            size_bytes=self._goal.info.size_bytes,
            part_bytes=self.part_bytes,
            metadata=self._goal.metadata,
            replaces=self._goal.replaces,
        )
        self._token = upload.token
        if self._records is not None and self._token is not None:
            self._journal = await self._records.begin(self._goal, self._token)
        return upload

    async def note(self, index: int, part: PartDigests) -> None:
        """Remember a part of the source that was read, for whoever goes on."""
        if index not in self.known:
            self.known[index] = part
            if self._journal is not None:
                await self._journal.note(index, part)

    async def pause(self, error: BaseException) -> None:
        """End an attempt that failed; the next one goes on unless what was sent is worthless."""
        if self._upload is None:
            return
        if isinstance(error, _WORTHLESS) or self._token is None:
            await self._upload.abort()
            await self._drop()
        else:
            await self._upload.leave()
            if self._journal is not None:
                await self._journal.flush()
        self._upload = None

    async def close(self) -> None:
        """End the last attempt; what no record names is thrown away."""
        if self._token is not None and self._journal is None:
            await self._destination.abort_upload(self._goal.key, self._token)

    async def finish(self, *, is_ours: bool) -> None:
        """Forget an upload that was committed, or whose object is there by somebody else's doing."""
        assert self._upload is not None
        if not is_ours:
            await self._upload.abort()
        await self._drop()
        for other in self._others:
            await self._discard_other(other)

    async def _drop(self) -> None:
        if self._records is not None and self._journal is not None:
            await self._records.forget(self._journal.folder)
        self._token, self._journal, self.known = None, None, {}

    async def _discard_other(self, found: FoundUpload) -> None:
        assert self._records is not None
        try:
            await self._destination.abort_upload(self._goal.key, found.record.token)
        except TransferError as error:
            _log.warning("an unfinished upload was left for the next clean: %s", error)
            return
        await self._records.forget(found.folder)
