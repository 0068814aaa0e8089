"""What a local file looks like as an object, and how its name is made durable."""

from __future__ import annotations

import contextlib
import mimetypes
import os
import stat as stat_module
from datetime import UTC, datetime
from pathlib import Path

from skyferry.objects import ObjectInfo, ObjectMetadata

_UNREADABLE = {
    stat_module.S_IFLNK: "symbolic links are not followed",
    stat_module.S_IFIFO: "it is a pipe",
    stat_module.S_IFSOCK: "it is a socket",
    stat_module.S_IFCHR: "it is a device",
    stat_module.S_IFBLK: "it is a device",
}


def describe_file(key: str, status: os.stat_result) -> ObjectInfo:
    """Return what the status of a file (not of what a link leads to) says about the object of that key."""
    kind = stat_module.S_IFMT(status.st_mode)
    content_type, encoding = mimetypes.guess_type(key)
    return ObjectInfo(
        key=key,
        size_bytes=status.st_size,
        # The change time is in it, because the modification time can be set back; renaming and linking move it too:
        # see `is_renamed`.
        etag=f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}",
        # Unlike the modification time nobody can set it; a file inside a folder that is moved here keeps its own.
        modified_at=datetime.fromtimestamp(status.st_ctime, UTC),
        metadata=ObjectMetadata(content_type=(content_type or "") if encoding is None else ""),
        unreadable_because=_UNREADABLE.get(kind, ""),
    )


def is_renamed(status: os.stat_result, etag: str) -> bool:
    """Tell whether this is the file of that etag; renaming it has changed the time at its end, and nothing else."""
    return etag.rpartition("-")[0] == describe_file("", status).etag.rpartition("-")[0]


def remove_empty_folders(root: Path) -> None:
    """Remove the folders below one that hold nothing but such folders; symbolic links are not followed."""
    for folder, _, _ in os.walk(root, topdown=False):
        if folder != str(root):
            with contextlib.suppress(OSError):  # something is in it
                os.rmdir(folder)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
