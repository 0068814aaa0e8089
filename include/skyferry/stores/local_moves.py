"""Moves files between folders of one file system: in one step, never onto a name that is taken, never through a link.

A move is Linux's `renameat2` with RENAME_NOREPLACE: a plain rename would overwrite, and link-and-unlink has a moment in
which it could remove a newer file. Folders on the way are opened one below the other, and one that is a symbolic link
is refused, whoever put it there since the folder was listed.

Nothing is flushed to disk: after a power failure a file is at the one place or at the other.
Source: https://man7.org/linux/man-pages/man2/rename.2.html
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from skyferry.errors import KeyRefusedError

_RENAME_NOREPLACE = 1
_MAX_NAME_BYTES = 255
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def open_parent(root: Path, key: str, *, creates: bool = False) -> Iterator[int]:
    """Yield a descriptor of the folder that holds a key, and close it.

    Args:
        key: Path below the root, with `/`.
        creates: Create the folders on the way that are missing.

    Raises:
        KeyRefusedError: The key leads elsewhere (`..`).
        OSError: A folder is missing (ENOENT), or is something else, a symbolic link for example (ENOTDIR).
    """
    *folders, name = key.split("/")
    if any(part in ("", ".", "..") for part in (*folders, name)) or "\0" in key:
        raise KeyRefusedError(f"file://{root}/{key} cannot be the name of a local file", hint="rename the object")
    descriptor = os.open(root, _FOLDER_FLAGS)
    try:
        for folder in folders:
            if creates:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=descriptor)
            below = os.open(folder, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def move(source_folder: int, source_name: str, target_folder: int, target_name: str) -> None:
    """Give a file another name, in one step; the name must be free.

    Raises:
        FileExistsError: It is taken; nothing was moved.
        FileNotFoundError: The file is gone, mostly because somebody else has moved it.
        OSError: EXDEV for another file system, EINVAL or ENOSYS where this kind of rename does not exist.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = (source_folder, os.fsencode(source_name), target_folder, os.fsencode(target_name))
    if rename(*names, ctypes.c_uint(_RENAME_NOREPLACE)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def move_to_free_name(source_folder: int, name: str, target_folder: int) -> str:
    """Move a file under its own name or, where that is taken, under the first free one of `names_like`; return it.

    Raises:
        OSError: As `move`, but never FileExistsError.
    """
    for free_name in names_like(name):
        with contextlib.suppress(FileExistsError):
            move(source_folder, name, target_folder, free_name)
            return free_name
    raise AssertionError("there is always another name")


def names_like(name: str) -> Iterator[str]:
    """Yield a name, then others that people recognise: `orders.csv`, `orders (2).csv`, `orders (3).csv`, ..."""
    yield name
    path = PurePosixPath(name)
    for number in itertools.count(2):
        end = f" ({number}){path.suffix}"
        stem = path.stem
        while len(os.fsencode(stem + end)) > _MAX_NAME_BYTES and stem:
            stem = stem[:-1]
        yield stem + end
