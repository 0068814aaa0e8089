"""An object on its way into a local folder: a temporary file beside its final name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from skyferry.checksums import ContentDigests
from skyferry.errors import ChecksumMismatchError, DestinationChangedError, PermanentError
from skyferry.objects import Committed, ObjectInfo
from skyferry.stores.local_files import describe_file, sync_folder

if TYPE_CHECKING:
    from skyferry.stores.local import LocalStore

_READ_BYTES = 1024 * 1024


class TemporaryFile:
    """A temporary file beside its final name; every method blocks.

    A task that is cancelled leaves its thread at work. The file is closed only when the last one is through: a moment
    later the number of its descriptor may be that of another file.
    """

    def __init__(self, store: LocalStore, key: str, replaces: ObjectInfo | None) -> None:
        self._store = store
        self._key = key
        self._replaces = replaces
        self._path = store.path(key)
        store.make_parents(self._path, key)
        self._temporary = store.temporary_path(self._path)
        self._idle = threading.Condition()
        self._threads_at_work = 0
        self._descriptor = os.open(
            self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )

    def write(self, start_byte: int, body: bytes) -> None:
        view = memoryview(body)
        with self._at_work():
            while view:
                written = os.pwrite(self._descriptor, view, start_byte)
                view, start_byte = view[written:], start_byte + written

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._idle:
            if self._descriptor < 0:
                raise PermanentError(f"the upload of {self._store.url(self._key)} was given up already")
            self._threads_at_work += 1
        try:
            yield
        finally:
            with self._idle:
                self._threads_at_work -= 1
                self._idle.notify_all()

    def _close(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._threads_at_work == 0)
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def finish(self, crc32c: str) -> Committed:
        """Make the bytes durable, read them back, and give them their name."""
        with self._at_work():
            os.fsync(self._descriptor)
            self._require_content(crc32c)
            os.fchmod(self._descriptor, self._store.file_mode)
            if self._replaces is None:
                self._create()
            else:
                self._replace(self._replaces)
            sync_folder(self._path.parent)
            info = describe_file(self._key, os.fstat(self._descriptor))
        self._close()
        return Committed(info=info, verified_by="readback")

    def _require_content(self, crc32c: str) -> None:
        digests = ContentDigests({"crc32c"})
        position = 0
        while chunk := os.pread(self._descriptor, _READ_BYTES, position):
            digests.update(chunk)
            position += len(chunk)
        found = digests.hexdigests()["crc32c"]
        if found != crc32c:
            raise ChecksumMismatchError(
                f"what was written for {self._store.url(self._key)} reads back as crc32c {found}; expected {crc32c}",
                hint="the file was not put in place",
            )

    def _create(self) -> None:
        try:
            os.link(self._temporary, self._path)
        except FileExistsError:
            raise self._conflict() from None
        os.unlink(self._temporary)

    def _replace(self, replaces: ObjectInfo) -> None:
        try:
            found = describe_file(self._key, os.lstat(self._path)).etag
        except FileNotFoundError:
            found = ""
        if found != replaces.etag:
            raise self._conflict()
        os.replace(self._temporary, self._path)

    def _conflict(self) -> DestinationChangedError:
        return DestinationChangedError(
            f"{self._store.url(self._key)} was written by somebody else since it was looked at",
            hint="it was left alone",
        )

    def discard(self) -> None:
        self._close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


class LocalUpload:
    """A large local file on its way; parts may come in any order."""

    def __init__(self, store: LocalStore, upload: TemporaryFile, *, key: str, part_bytes: int) -> None:
        self._store = store
        self._upload = upload
        self._key = key
        self._part_bytes = part_bytes

    async def put_part(self, index: int, body: bytes, digests: Mapping[str, str]) -> None:
        del digests
        await self._store.in_thread("writing", self._key, lambda: self._upload.write(index * self._part_bytes, body))

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        return await self._store.in_thread("writing", self._key, lambda: self._upload.finish(digests["crc32c"]))

    async def abort(self) -> None:
        await asyncio.to_thread(self._upload.discard)
