"""Renames a local file in one step, if it is still the file that was listed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from skyferry.errors import DestinationChangedError, PermanentError, SourceChangedError, SourceMissingError
from skyferry.objects import ObjectInfo
from skyferry.stores.local_files import describe_file, is_renamed
from skyferry.stores.local_moves import move, open_parent

if TYPE_CHECKING:
    from skyferry.stores.local import LocalStore

_Name = tuple[int, str]
"""A descriptor of a folder, and a name in it."""

_HINTS = {
    errno.EXDEV: "they lie on different file systems; put the file there, and remove it here",
    errno.EINVAL: "this file system has no rename that overwrites nothing; use mv",
    errno.ENOSYS: "this system has no rename that overwrites nothing; use mv",
}


def rename_file(store: LocalStore, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> None:
    """Rename as `skyferry.stores.base.Store.rename_object` says; folders that are missing are created.

    A name that must be free is taken atomically. One that is replaced is looked at right before, and a writer that
    slips in between is replaced unseen, as in `LocalStore`.
    """
    source_name, target_name = (store.path(each).name for each in (info.key, key))  # refuses what cannot be a name
    try:
        with open_parent(store.root, info.key) as source_folder:
            if _etag(store, info, source_name, source_folder) != info.etag:
                raise _changed(store, info)
            with open_parent(store.root, key, creates=True) as target_folder:
                source, target = (source_folder, source_name), (target_folder, target_name)
                if replaces is None:
                    _move(store, info, source, target, url=store.url(key))
                else:
                    _replace(store, replaces, source, target)
                os.fsync(target_folder)
            os.fsync(source_folder)
    except OSError as error:
        if error.errno not in _HINTS:
            raise
        what = f"renaming {store.url(info.key)} to {store.url(key)} failed: {error.strerror}"
        raise PermanentError(what, hint=_HINTS[error.errno or 0]) from None


def _move(store: LocalStore, info: ObjectInfo, source: _Name, target: _Name, *, url: str) -> None:
    try:
        move(*source, *target)
    except FileExistsError:
        raise _not_as_it_was(url) from None
    if not is_renamed(os.stat(target[1], dir_fd=target[0], follow_symlinks=False), info.etag):
        move(*target, *source)  # a file that took the place of the one that was listed
        raise _changed(store, info)


def _replace(store: LocalStore, replaces: ObjectInfo, source: _Name, target: _Name) -> None:
    try:
        found = _etag(store, replaces, target[1], target[0])
    except SourceMissingError:
        found = ""
    if found != replaces.etag:
        raise _not_as_it_was(store.url(replaces.key))
    os.replace(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])


def _etag(store: LocalStore, info: ObjectInfo, name: str, folder: int) -> str:
    try:
        return describe_file(info.key, os.stat(name, dir_fd=folder, follow_symlinks=False)).etag
    except FileNotFoundError:
        raise SourceMissingError(f"{store.url(info.key)} is gone") from None


def _changed(store: LocalStore, info: ObjectInfo) -> SourceChangedError:
    return SourceChangedError(
        f"{store.url(info.key)} is no longer the file that was listed ({info.size_bytes:,} bytes)",
        hint="it was left where it is",
    )


def _not_as_it_was(url: str) -> DestinationChangedError:
    return DestinationChangedError(
        f"{url} was written or removed by somebody else since it was looked at", hint="it was left alone"
    )
