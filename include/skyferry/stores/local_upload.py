"""An object on its way into a local folder: a temporary file beside its final name."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import stat as stat_module
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from skyferry.checksums import ContentDigests
from skyferry.content_memory import Content
from skyferry.errors import (
    ChecksumMismatchError,
    DestinationChangedError,
    PermanentError,
    RetryableError,
    UploadLostError,
)
from skyferry.objects import Committed, ObjectInfo
from skyferry.stores.base import UploadToken
from skyferry.stores.local_files import describe_file, sync_folder

if TYPE_CHECKING:
    from skyferry.stores.local import LocalStore

JOURNAL_SUFFIX = ".journal.part"
"""In place of the `.part` of a temporary file: the name of its journal, one line for each part that was written."""

FLUSH_BYTES = 64 * 2**20
"""Parts are made durable whenever so much was written: the disk then works while the network does, not after it."""

_READ_BYTES = 1024 * 1024
_NAME = re.compile(r"\.skyferry-[0-9a-f]{16}\.part")
_LINE = re.compile(r"([0-9]{1,10}) ([0-9]{1,15}) ([0-9a-f]{8})")


class TemporaryFile:
    """A temporary file beside its final name; every method blocks.

    Whoever has it open holds a lock on it. So a process that goes on with what another one left (`resumes`) never
    writes beside it, and one that was cut off never writes into a file that its successor has put in place.

    A task that is cancelled leaves its thread at work. The file is closed only when the last one is through: a moment
    later the number of its descriptor may be that of another file.
    """

    def __init__(self, store: LocalStore, key: str, replaces: ObjectInfo | None, *, resumes: str | None = None) -> None:
        self._store = store
        self._key = key
        self._replaces = replaces
        self._path = store.path(key)
        if resumes is None:
            store.make_parents(self._path, key)
            self._temporary = store.temporary_path(self._path)
        elif _NAME.fullmatch(resumes):
            self._temporary = self._path.with_name(resumes)
        else:
            raise UploadLostError(f"{resumes!r} is no file of an earlier attempt at {store.url(key)}")
        self._journal = self._temporary.with_suffix(JOURNAL_SUFFIX)
        self._idle = threading.Condition()
        self._threads_at_work = 0
        self._unflushed_bytes = 0
        self._is_lost = False
        if resumes is not None:
            self._descriptor = self._open_again()
            self.can_resume = True
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._temporary, flags, 0o600)
            self.can_resume = _lock(self._descriptor)

    @property
    def name(self) -> str:
        return self._temporary.name

    def _open_again(self) -> int:
        """Open the file that a record names, if it is one of ours and nobody is at work on it.

        Raises:
            UploadLostError: It is gone, or was put in place already, or is no such file.
            RetryableError: Somebody is at work on it.
        """
        lost = UploadLostError(f"the file {self.name} of an earlier attempt at {self._store.url(self._key)} is gone")
        try:
            descriptor = os.open(self._temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            raise lost from None
        try:
            if not _lock(descriptor):
                raise RetryableError(f"another process is at work on {self._store.url(self._key)}")
            self._store.require_below_root(descriptor, self._key)
            status = os.fstat(descriptor)
            if not stat_module.S_ISREG(status.st_mode) or status.st_nlink == 0:
                raise lost
            if status.st_nlink > 1:  # its maker was killed between giving it its name and taking the old one away
                self._temporary.unlink(missing_ok=True)
                raise lost
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def write_part(self, index: int, start_byte: int, body: Content, crc32c: str) -> None:
        """Write a part, and note that it was written; what is noted wrongly is found when the file is read back."""
        with self._at_work():  # around both: a note must not appear after the file was given up
            self.write(start_byte, body)
            self._note(index, len(body), crc32c)
            if self._is_flush_due(len(body)):
                self._make_durable()

    def _is_flush_due(self, written_bytes: int) -> bool:
        with self._idle:
            self._unflushed_bytes += written_bytes
            is_due = self._unflushed_bytes >= FLUSH_BYTES
            if is_due:
                self._unflushed_bytes = 0
            return is_due

    def _make_durable(self) -> None:
        """Bring to the disk what was written so far.

        Linux tells of a write that failed once. Afterwards a second call succeeds, and the bytes read back well from
        memory, though the disk lacks them. So after a failure the whole file is given up; nobody goes on with it.
        """
        try:
            os.fsync(self._descriptor)
        except OSError:
            with self._idle:
                self._is_lost = True
                self._unlink()
            raise

    def _note(self, index: int, size_bytes: int, crc32c: str) -> None:
        line = f"{index} {size_bytes} {crc32c}\n".encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._idle:
            if self._is_lost:
                return
            descriptor = os.open(self._journal, flags, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    def noted(self) -> dict[int, tuple[int, str]]:
        """Return index to size and CRC32C of the parts that were written, by an earlier process too."""
        try:
            text = self._journal.read_text(encoding="ascii", errors="replace")
        except OSError:
            return {}
        matches = (_LINE.fullmatch(line) for line in text.splitlines())
        return {int(match[1]): (int(match[2]), match[3]) for match in matches if match}

    def leave(self) -> None:
        """Close the file and let go of the lock."""
        self._close()

    def write(self, start_byte: int, body: Content) -> None:
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
            if self._is_lost:
                url = self._store.url(self._key)
                raise UploadLostError(f"the disk lost part of what was written for {url}", hint="it begins anew")
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
            self._make_durable()
            self._require_content(crc32c)
            os.fchmod(self._descriptor, self._store.file_mode)
            if self._replaces is None:
                self._create()
            else:
                self._replace(self._replaces)
            self._journal.unlink(missing_ok=True)
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
        self._unlink()

    def _unlink(self) -> None:
        for path in (self._temporary, self._journal):
            with contextlib.suppress(OSError):
                os.unlink(path)


class LocalUpload:
    """A large local file on its way; parts may come in any order."""

    def __init__(self, store: LocalStore, upload: TemporaryFile, *, key: str, part_bytes: int) -> None:
        self._store = store
        self._upload = upload
        self._key = key
        self._part_bytes = part_bytes
        self._noted = upload.noted()

    @property
    def part_digests(self) -> frozenset[str]:
        return frozenset({"crc32c"})

    @property
    def token(self) -> UploadToken | None:
        """None on file systems without locks: there nobody could tell who is at work."""
        return {"file": self._upload.name} if self._upload.can_resume else None

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        """As the protocol says, by the journal; it is proven at the commit, when the whole file is read back."""
        return self._noted.get(index) == (size_bytes, digests["crc32c"])

    async def put_part(self, index: int, body: Content, digests: Mapping[str, str]) -> None:
        start_byte = index * self._part_bytes
        await self._store.in_thread(
            "writing", self._key, lambda: self._upload.write_part(index, start_byte, body, digests["crc32c"])
        )

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        return await self._store.in_thread("writing", self._key, lambda: self._upload.finish(digests["crc32c"]))

    async def leave(self) -> None:
        await asyncio.to_thread(self._upload.leave)

    async def abort(self) -> None:
        await asyncio.to_thread(self._upload.discard)


def _lock(descriptor: int) -> bool:
    """Take the lock of a file; False when another process has it, or the file system has no locks.

    The kernel lets go of it when the last descriptor is closed, however the process ends.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_leftovers(root: Path, before: datetime, *, dry_run: bool) -> int:
    """Remove partial files that have a journal beside them, were not written since, and are nobody's any more.

    Names alone are not enough: a file that is claimed for deletion has such a name too, and may be the only copy.

    Returns:
        How many files there were, journals not counted.
    """
    count = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if not name.endswith(JOURNAL_SUFFIX) or not _NAME.fullmatch(name.replace(JOURNAL_SUFFIX, ".part")):
                continue
            journal = Path(folder) / name
            with contextlib.suppress(OSError):
                partial = journal.with_name(name.replace(JOURNAL_SUFFIX, ".part"))
                count += _remove_leftover(partial, journal, before, dry_run=dry_run)
    return count


def _remove_leftover(partial: Path, journal: Path, before: datetime, *, dry_run: bool) -> bool:
    if journal.stat().st_mtime > before.timestamp():
        return False
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # it was put in place, and only the journal is left
        if not dry_run:
            journal.unlink()
        return False
    try:
        if not _lock(descriptor):
            return False
        if not dry_run:
            partial.unlink()
            journal.unlink()
        return True
    finally:
        os.close(descriptor)
