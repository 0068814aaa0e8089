"""A local folder as a store: keys are paths below the folder, written so that no reader ever sees half a file.

Symbolic links are never followed, neither out of the folder nor inside it: they are listed as unreadable, and the plan
reports them. Hard links and bind mounts look like ordinary files to every program and are read as such.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import stat as stat_module
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from skyferry.content_memory import Content, allocate
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    BucketNotEmptyError,
    KeyRefusedError,
    PermanentError,
    RetryableError,
    SizeMismatchError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
    UploadLostError,
)
from skyferry.key_order import in_key_order
from skyferry.keys import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, is_temporary_name
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata, Prefix
from skyferry.stores.base import Capabilities, UploadToken, delete_each
from skyferry.stores.local_files import describe_file, is_renamed, sync_folder
from skyferry.stores.local_moves import open_parent
from skyferry.stores.local_rename import rename_file
from skyferry.stores.local_upload import LocalUpload, TemporaryFile

_READ_BYTES = 1024 * 1024

_Result = TypeVar("_Result")


class LocalStore:
    """One local folder; implements `skyferry.stores.base.Store`.

    Creating a key that must be absent is atomic (a hard link). Replacing one checks the file's identity right before
    an atomic rename; a writer that slips in between those two system calls is replaced unseen, because POSIX has no
    conditional rename.

    Listing holds the names of one folder level at a time.

    Args:
        root: Absolute path of the folder; the caller has checked that it may be used.
    """

    kind = "file"
    capabilities = Capabilities(
        lists_in_key_order=True,
        parts_in_order=False,
        digests=frozenset({"crc32c"}),
        commit_digests=frozenset({"crc32c"}),
        min_part_bytes=1,
        part_multiple_bytes=1,
        max_part_bytes=2**30,
        max_parts=2**31,
        max_object_bytes=2**63 - 1,
        publishes=frozenset(),
        publishes_of_parts=frozenset(),
        holds_metadata=False,
        reads_are_trusted=True,
    )

    def __init__(self, root: Path) -> None:
        self.root = root
        umask = os.umask(0)
        os.umask(umask)
        self.file_mode = 0o666 & ~umask

    @property
    def bucket(self) -> str:
        return str(self.root)

    def url(self, key: str = "") -> str:
        return f"file://{str(self.root).rstrip('/')}/{key}"

    async def check_bucket(self) -> None:
        await self.in_thread("looking at", "", self._check_root)

    def _check_root(self) -> None:
        if not self.root.is_dir():
            raise BucketMissingError(
                f"there is no folder {self.url()}", hint="create it, or set create_destination for a destination"
            )
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not readable")

    async def create_bucket(self) -> None:
        await self.in_thread("creating", "", lambda: self.root.mkdir(parents=True, exist_ok=True))

    async def delete_bucket(self) -> None:
        """As the protocol says; a folder that holds nothing but empty folders is not empty."""

        def remove() -> None:
            try:
                self.root.rmdir()
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    raise BucketNotEmptyError(f"{self.url()} is not empty") from None
                raise

        await self.in_thread("deleting", "", remove)

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        await self.check_bucket()
        first = os.fsencode(start_after)
        walk = walk_files(self.root, prefix)
        while page := await self.in_thread("listing", prefix, lambda: _take(walk, 1000)):
            for info in page:
                if os.fsencode(info.key) > first or not first:
                    yield info

    async def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """As the protocol says; memory holds the entries of the folder."""
        await self.check_bucket()
        for entry in await self.in_thread("listing", prefix, lambda: _entries(self.root, prefix)):
            yield entry

    async def stat(self, key: str) -> ObjectInfo | None:
        def look() -> ObjectInfo | None:
            try:
                status = os.lstat(self.path(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
            if stat_module.S_ISDIR(status.st_mode):
                return None
            return describe_file(key, status)

        return await self.in_thread("looking at", key, look)

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, Content]:
        return await self.in_thread("reading", info.key, lambda: self._read(info, 0, info.size_bytes))

    async def etag_digest(self, info: ObjectInfo) -> None:
        """Etags of local files are made of their identity and times."""

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> Content:
        _, body = await self.in_thread("reading", info.key, lambda: self._read(info, start_byte, size_bytes))
        return body

    def _read(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> tuple[ObjectInfo, Content]:
        with self._open(info) as file:
            body = _read_exactly(file.fileno(), start_byte, size_bytes)
            after = describe_file(info.key, os.fstat(file.fileno()))
        if after.etag != info.etag:
            raise self._changed(info)
        if len(body) != size_bytes:
            raise SizeMismatchError(
                f"read {len(body):,} of {size_bytes:,} bytes of {self.url(info.key)} from byte {start_byte:,}"
            )
        return after, body

    def _open(self, info: ObjectInfo) -> BinaryIO:
        """Open the very file `info` describes; O_NONBLOCK so that a pipe put in its place cannot hang the reader."""
        try:
            descriptor = os.open(self.path(info.key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise SourceMissingError(f"{self.url(info.key)} is gone") from None
            if error.errno == errno.ELOOP:
                raise self._changed(info) from None
            raise
        file = os.fdopen(descriptor, "rb", buffering=0)  # every read is a positioned one
        try:
            self.require_below_root(descriptor, info.key)
            if describe_file(info.key, os.fstat(descriptor)).etag != info.etag:
                raise self._changed(info)
        except BaseException:
            file.close()
            raise
        return file

    def _changed(self, info: ObjectInfo) -> SourceChangedError:
        return SourceChangedError(
            f"{self.url(info.key)} is no longer the file that was planned ({info.size_bytes:,} bytes)",
            hint="it will be looked at again",
        )

    async def put_object(
        self,
        key: str,
        body: Content,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        del metadata  # a plain file holds none; `skyferry.metadata` has reported the loss

        def write() -> Committed:
            upload = TemporaryFile(self, key, replaces)
            try:
                upload.write(0, body)
                return upload.finish(digests["crc32c"])
            except BaseException:
                upload.discard()
                raise

        return await self.in_thread("writing", key, write)

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> LocalUpload:
        del metadata, size_bytes
        raw = await self.in_thread("writing", key, lambda: TemporaryFile(self, key, replaces))
        return LocalUpload(self, raw, key=key, part_bytes=part_bytes)

    async def resume_upload(
        self,
        key: str,
        token: UploadToken,
        *,
        size_bytes: int,
        part_bytes: int,
        metadata: ObjectMetadata,
        replaces: ObjectInfo | None,
    ) -> LocalUpload | None:
        """As the protocol says; a file another process holds open is left to that process."""
        del metadata, size_bytes
        name = token.get("file", "")
        try:
            raw = await self.in_thread("writing", key, lambda: TemporaryFile(self, key, replaces, resumes=name))
        except RetryableError:
            return None
        return LocalUpload(self, raw, key=key, part_bytes=part_bytes)

    async def abort_upload(self, key: str, token: UploadToken) -> None:
        """As the protocol says.

        Raises:
            RetryableError: Another process is at work on it.
        """

        def discard() -> None:
            with contextlib.suppress(UploadLostError):
                TemporaryFile(self, key, None, resumes=token.get("file", "")).discard()

        await self.in_thread("ending the upload of", key, discard)

    async def delete_object(self, info: ObjectInfo) -> bool:
        return await self.in_thread("deleting", info.key, lambda: self._delete(info))

    async def delete_objects(self, infos: Sequence[ObjectInfo]) -> Sequence[bool | TransferError]:
        return await delete_each(self, infos)

    def _delete(self, info: ObjectInfo) -> bool:
        """Claim the file by renaming it, look at what was claimed, and only then remove it.

        A file put at the path between look and rename is claimed too; it is put back. The name of the claim follows
        from the file's, so that whoever deletes after a crash in between finds it and finishes.
        """
        path = self.path(info.key)
        claim = path.with_name(f"{TEMPORARY_PREFIX}claim-{_short_digest(path.name)}{TEMPORARY_SUFFIX}")
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return self._finish_claim(path, claim, info)
        if describe_file(info.key, status).etag != info.etag:
            raise self._changed(info)
        if claim.exists():
            claim = self.temporary_path(path)  # left by a crash, for another version; not ours to overwrite
        os.rename(path, claim)
        return self._finish_claim(path, claim, info)

    def _finish_claim(self, path: Path, claim: Path, info: ObjectInfo) -> bool:
        """Remove a claimed file if it is the version to be deleted, else put it back; False when nothing is claimed."""
        try:
            status = os.lstat(claim)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not is_renamed(status, info.etag):
            os.link(claim, path)
            os.unlink(claim)
            raise self._changed(info)
        with contextlib.suppress(FileNotFoundError):  # a cut-off worker finished it meanwhile
            os.unlink(claim)
        sync_folder(path.parent)
        return True

    async def rename_object(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> str:
        """As the protocol says, in one step; see `skyferry.stores.local_rename`."""
        await self.in_thread("renaming", info.key, lambda: rename_file(self, info, key, replaces=replaces))
        return ""

    async def aclose(self) -> None:
        """Nothing is held open between calls."""

    # Paths

    def path(self, key: str) -> Path:
        """Return the path of a key; `skyferry.keys` has refused the dangerous ones, and this refuses them again."""
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") for part in parts) or "\0" in key:
            raise KeyRefusedError(f"{self.url(key)} cannot be the name of a local file", hint="rename the object")
        return self.root.joinpath(*parts)

    def temporary_path(self, path: Path) -> Path:
        return path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")

    def require_below_root(self, descriptor: int, key: str) -> None:
        """Refuse a file that was reached through a symbolic link in the middle of its path."""
        real = os.path.realpath(f"/proc/self/fd/{descriptor}") if os.path.isdir("/proc/self/fd") else ""
        self._require_real_path_below_root(real or os.path.realpath(self.path(key)), key)

    def _require_real_path_below_root(self, real_path: str, key: str) -> None:
        real_root = os.path.realpath(self.root)
        if real_path != real_root and not real_path.startswith(real_root.rstrip("/") + "/"):
            raise KeyRefusedError(
                f"{self.url(key)} leads out of {self.url()} through a symbolic link", hint="remove the link"
            )

    def make_parents(self, path: Path, key: str) -> None:
        """Create the folders above a path and make their names durable."""
        missing = []
        folder = path.parent
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        self._require_real_path_below_root(os.path.realpath(folder), key)
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            sync_folder(folder.parent)

    # Threads and errors

    async def in_thread(self, action: str, key: str, function: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.to_thread(function)
        except TransferError:
            raise
        except OSError as error:
            raise self._translate(error, action, key) from error

    def _translate(self, error: OSError, action: str, key: str) -> TransferError:
        return error_of_folder(error, f"{action} {self.url(key)}", folder_url=self.url())


def error_of_folder(error: OSError, action: str, *, folder_url: str) -> TransferError:
    """Return what an error of the operating system means to a transfer.

    Args:
        action: What was being done, to which full URL: `writing file:///srv/out/a.csv`.
        folder_url: The folder that is the store.
    """
    what = f"{action} failed: {error.strerror or error}"
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessDeniedError(what, hint="give the user that runs the worker the right to do that")
        case errno.ENOSPC | errno.EDQUOT:
            return PermanentError(what, hint="free space and run the transfer again; nothing half-written is left")
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST | errno.ENAMETOOLONG | errno.EINVAL:
            return KeyRefusedError(what, hint="a file and a folder cannot share a name; rename the object")
        case errno.ENOENT:
            return BucketMissingError(what, hint=f"check that the folder {folder_url} still exists")
        case _:
            return RetryableError(what)


def _short_digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def walk_files(root: Path, prefix: str = "") -> Iterator[ObjectInfo]:
    """Yield what lies below a folder, in the order of the keys' bytes.

    A folder sorts as if its name ended in `/`: `a-b` comes before the contents of `a`, because `-` is below `/`.
    """
    yield from _walk_folder(root, "", os.fsencode(prefix))


def _entries(root: Path, prefix: str) -> list[ObjectInfo | Prefix]:
    """Return what one folder holds; nothing where there is none, or a symbolic link leads to it."""
    folder_key, slash, name_begin = prefix.rpartition("/")
    folder_key += slash
    try:
        with open_parent(root, f"{folder_key}any") as descriptor, os.scandir(descriptor) as found:
            names = [(each.name, each.is_dir(follow_symlinks=False)) for each in found]
            return in_key_order(
                Prefix(f"{folder_key}{name}/")
                if is_folder
                else describe_file(folder_key + name, os.stat(name, dir_fd=descriptor, follow_symlinks=False))
                for name, is_folder in names
                if name.startswith(name_begin) and not is_temporary_name(name)
            )
    except (FileNotFoundError, NotADirectoryError, KeyRefusedError):
        return []


def _walk_folder(folder: Path, folder_key: str, prefix: bytes) -> Iterator[ObjectInfo]:
    for sort_name in _sorted_names(folder, is_root=not folder_key):
        key_bytes = os.fsencode(folder_key) + sort_name
        name = os.fsdecode(sort_name.removesuffix(b"/"))
        if sort_name.endswith(b"/"):
            if key_bytes.startswith(prefix) or prefix.startswith(key_bytes):
                yield from _walk_folder(folder / name, folder_key + name + "/", prefix)
        elif key_bytes.startswith(prefix) and not is_temporary_name(name):
            with contextlib.suppress(FileNotFoundError):  # removed while we listed
                yield describe_file(folder_key + name, os.lstat(folder / name))


def _sorted_names(folder: Path, *, is_root: bool) -> list[bytes]:
    """Return the names in a folder, those of folders with a `/`; none if it went away, or became a link, meanwhile.

    Only names are kept, because one folder may hold millions of them (about 100 bytes each).
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if is_root else os.O_NOFOLLOW)
    try:
        descriptor = os.open(folder, flags)
    except OSError as error:
        if not is_root and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []
        raise
    try:
        with os.scandir(descriptor) as entries:
            return sorted(_sort_name(entry) for entry in entries)
    finally:
        os.close(descriptor)


def _sort_name(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name) + (b"/" if entry.is_dir(follow_symlinks=False) else b"")


def _read_exactly(descriptor: int, start_byte: int, size_bytes: int) -> memoryview:
    """Return so many bytes, or fewer where the file ends; the system may give less than asked at a time."""
    content = allocate(size_bytes)
    end = 0
    while end < size_bytes and (count := os.preadv(descriptor, [content[end:]], start_byte + end)):
        end += count
    return content[:end]


def _take(items: Iterator[ObjectInfo], count: int) -> list[ObjectInfo]:
    return list(itertools.islice(items, count))
