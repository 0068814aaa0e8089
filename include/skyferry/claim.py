"""Claiming: settled files of a watched folder move into the folder that a transfer takes, and after it into a third.

    Watch  -- claim_files -->  QueuedForUpload  -- the transfer -->  UploadedToS3
                                                   copy, proof, message; then set_aside

A claim is one rename, so two runs never have the same file, and whoever dies leaves every file in one of the folders:
what is in the second one is taken up by the next run. Nothing is ever overwritten:

| a name that is taken | what happens |
|---|---|
| in the second folder (an earlier file of that name is under way) | the new one stays where it is, for a later run |
| in the third folder | the file gets the first free name: `orders (2).csv` |

A file is settled when neither its change time nor its modification time is within `settle_seconds` of now, both by the
clock of the file system. A change time cannot be set, so a time in the future only says that the clock was put back.
With a done-marker (`orders.csv.done`) the file is settled when its marker is there; the marker is removed by the claim.

Symbolic links, pipes and devices stay where they are, and so do folders, also empty ones.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import stat as stat_module
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from skyferry.detect.settled_files import DEFAULT_SETTLE_SECONDS
from skyferry.errors import (
    BucketMissingError,
    KeyRefusedError,
    PermanentError,
    RequestError,
    SourceChangedError,
    TransferError,
)
from skyferry.keys import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from skyferry.objects import ObjectInfo
from skyferry.stores.local import error_of_folder, walk_files
from skyferry.stores.local_files import describe_file, is_renamed
from skyferry.stores.local_moves import move, move_to_free_name, open_parent

_NO_SUCH_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NAME_TAKEN = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claiming:
    """From where to where files are claimed, and when.

    Attributes:
        watched: The folder that others write into; it has to exist.
        claimed: The folder that the transfer takes; created if it is missing.
        done: Where files go after the transfer, created if it is missing; None when they are deleted instead.
        settle_seconds: See above; without meaning for marked files.
        done_suffix: What a marker's name has at the end; empty when files settle.
    """

    watched: Path
    claimed: Path
    done: Path | None = None
    settle_seconds: float = DEFAULT_SETTLE_SECONDS
    done_suffix: str = ""

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders a file passes through, in their order."""
        return (self.watched, self.claimed, *([self.done] if self.done else []))


@dataclass(slots=True)
class Claimed:
    """What one look at the watched folder came to.

    Attributes:
        waiting: Files that are not settled yet.
        in_the_way: Files that wait because an earlier one of their name is under way.
        not_files: Names that are no files, with the reason.
        refused: Files that could not be moved, with the reason.
    """

    files: int = 0
    size_bytes: int = 0
    waiting: int = 0
    in_the_way: int = 0
    not_files: list[ObjectInfo] = field(default_factory=list)
    refused: list[tuple[ObjectInfo, str]] = field(default_factory=list)


def claim_files(claiming: Claiming, *, takes: Callable[[ObjectInfo], bool]) -> Claimed:
    """Move every settled file that is wanted into the folder of the transfer, under the same path.

    It is moved as it is: the transfer looks at it anew. Blocks; costs one scan of the watched folder and about ten
    system calls for each file that is moved. Memory holds the names of one folder level.

    Args:
        takes: Which files are wanted.

    Raises:
        BucketMissingError: There is no watched folder.
        RequestError: The folders lie on different file systems; nothing was claimed.
        PermanentError: The file system has no rename that spares what is there; nothing was claimed.
        AccessDeniedError: A folder may not be read or written.
    """
    if not claiming.watched.is_dir():
        raise BucketMissingError(
            f"there is no folder file://{claiming.watched}/", hint="create it; files are put there"
        )
    for folder in claiming.folders[1:]:
        with _translated(f"creating file://{folder}/", claiming):
            folder.mkdir(parents=True, exist_ok=True)
    clock = _FileClock(_try_out(claiming))
    found = Claimed()
    with _translated(f"listing file://{claiming.watched}/", claiming):
        for info in walk_files(claiming.watched):
            if info.unreadable_because:
                found.not_files.append(info)
            elif not _is_marker(info.key, claiming) and takes(info):
                _claim(info, claiming, clock, found)
    return found


def set_aside(info: ObjectInfo, *, claimed: Path, done: Path) -> bool:
    """Move exactly the version `info` names into another folder, under its own path or a free name like it.

    Blocks; safe to repeat.

    Returns:
        False when the file is gone: an earlier attempt has moved it.

    Raises:
        SourceChangedError: Another version is there now; it stays.
        TransferError: The file could not be moved, and is where it was.
    """
    url = f"file://{claimed}/{info.key}"
    try:
        done.mkdir(parents=True, exist_ok=True)
        with open_parent(done, info.key, creates=True) as target:
            return _set_aside(info, url, claimed, target)
    except OSError as error:
        raise error_of_folder(error, f"moving {url} to file://{done}/", folder_url=f"file://{done}/") from error


def _set_aside(info: ObjectInfo, url: str, claimed: Path, target: int) -> bool:
    name = info.key.rpartition("/")[2]
    changed = SourceChangedError(f"{url} is no longer the file that was copied", hint="it will be looked at again")
    try:
        with open_parent(claimed, info.key) as source:
            if describe_file(info.key, os.stat(name, dir_fd=source, follow_symlinks=False)).etag != info.etag:
                raise changed
            new_name = move_to_free_name(source, name, target)
            if not is_renamed(os.stat(new_name, dir_fd=target, follow_symlinks=False), info.etag):
                # Somebody put another file there between look and move. It is not copied yet, so it goes back.
                move(target, new_name, source, name)
                raise changed
    except FileNotFoundError:
        return False
    return True


class _FileClock:
    """The file system's clock, which need not be this machine's."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns
        self._read_at_ns = time.monotonic_ns()

    def is_settled(self, status: os.stat_result, settle_seconds: float) -> bool:
        now_ns = self._now_ns + time.monotonic_ns() - self._read_at_ns
        return all(abs(now_ns - at) >= settle_seconds * 1e9 for at in (status.st_ctime_ns, status.st_mtime_ns))


def _try_out(claiming: Claiming) -> int:
    """Send an empty file the way that the claimed ones go, before any of them; return when it was made, in ns."""
    name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    with _translated(f"writing to file://{claiming.watched}/", claiming):
        descriptor = os.open(claiming.watched / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        made_at_ns = os.fstat(descriptor).st_ctime_ns
        os.close(descriptor)
    try:
        for place, following in itertools.pairwise(claiming.folders):
            with (
                _translated(f"moving from file://{place}/ to file://{following}/", claiming),
                open_parent(place, name) as source,
                open_parent(following, name) as target,
            ):
                move(source, name, target, name)
    finally:
        for folder in claiming.folders:
            with contextlib.suppress(OSError):
                (folder / name).unlink()
    return made_at_ns


@contextlib.contextmanager
def _translated(action: str, claiming: Claiming) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _error_of_claim(error, action, claiming) from error


def _error_of_claim(error: OSError, action: str, claiming: Claiming) -> TransferError:
    urls = ", ".join(f"file://{folder}/" for folder in claiming.folders)
    if error.errno == errno.EXDEV:
        return RequestError(
            f"the folders {urls} lie on different file systems, so that no file can be claimed by one rename",
            hint="choose folders on one file system; nothing was claimed",
        )
    if error.errno in _NO_SUCH_RENAME:
        return PermanentError(
            f"the file system of {urls} has no rename that spares a file which is there already",
            hint="choose folders on a local file system of Linux; nothing was claimed",
        )
    return error_of_folder(error, action, folder_url=f"file://{claiming.watched}/")


def _claim(info: ObjectInfo, claiming: Claiming, clock: _FileClock, found: Claimed) -> None:
    """Move one file if it is settled, and count it; whatever is wrong with it costs no other file."""
    try:
        with open_parent(claiming.watched, info.key) as source:
            name = info.key.rpartition("/")[2]
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if not stat_module.S_ISREG(status.st_mode):
                return  # replaced since it was listed
            now = describe_file(info.key, status)
            if claiming.done_suffix:
                is_moved = _claim_marked(now, claiming, source)
            else:
                is_moved = clock.is_settled(status, claiming.settle_seconds)
                if is_moved:
                    with open_parent(claiming.claimed, info.key, creates=True) as target:
                        move(source, name, target, name)
        found.files += is_moved
        found.size_bytes += status.st_size if is_moved else 0
        found.waiting += not is_moved
    except FileNotFoundError:
        pass  # another run has it, or its writer took it away
    except OSError as error:
        if error.errno in _NAME_TAKEN:
            found.in_the_way += 1
        else:
            what = f"claiming file://{claiming.watched}/{info.key}"
            found.refused.append((info, str(_error_of_claim(error, what, claiming))))
    except KeyRefusedError as error:
        found.refused.append((info, str(error)))


def _claim_marked(info: ObjectInfo, claiming: Claiming, source: int) -> bool:
    """Move a file that is marked; return False when it is not.

    The marker goes first, under a hidden name that holds for this version of the file only: after a crash in between
    the file still counts as marked, and a later one of the same name does not.
    """
    name = info.key.rpartition("/")[2]
    marker = name + claiming.done_suffix
    with open_parent(claiming.claimed, info.key, creates=True) as target:
        version = hashlib.sha256(os.fsencode(f"{info.key}\0{info.etag}")).hexdigest()[:16]
        taken_marker = f"{TEMPORARY_PREFIX}marker-{version}{TEMPORARY_SUFFIX}"
        if not _exists(marker, source) and not _exists(taken_marker, target):
            return False
        if _exists(name, target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            move(source, marker, target, taken_marker)
        move(source, name, target, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(taken_marker, dir_fd=target)
    return True


def _is_marker(key: str, claiming: Claiming) -> bool:
    return bool(claiming.done_suffix) and key.endswith(claiming.done_suffix)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
