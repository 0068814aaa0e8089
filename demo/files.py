"""The files the demo moves: a fixed choice of what is installed here, copied into one folder, and one large file."""

from __future__ import annotations

import hashlib
import os
import shutil
import sysconfig
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c

LARGE_KEY: Final = "large/everything.bin"
LARGE_BYTES: Final = 256 * 2**20
FILES: Final = 3_000
MIN_BYTES: Final = 105_000_000
READ_BYTES: Final = 2**20

_SMALL_BYTES: Final = 2**20
_MAX_FILE_BYTES: Final = 16 * 2**20
# Python writes byte code while it runs, so what is in __pycache__ is another thing a second later.
_LEFT_OUT: Final = frozenset({"__pycache__", "site-packages", "dist-packages"})


class DemoError(Exception):
    """The demo cannot go on; the message is all that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file of this installation, and the key it would have."""

    key: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A file of the demo as it lies on disk: what every copy must be equal to.

    Attributes:
        md5: Lower-case hex.
        crc32c: Base64 of the big-endian value, as Google Cloud Storage tells it.
    """

    path: Path
    size_bytes: int
    md5: str
    crc32c: str


def installed_files() -> Iterator[Candidate]:
    """Yield the interpreter's standard library and the environment's packages; symbolic links are left out."""
    for name, kind in (("stdlib", "stdlib"), ("packages", "purelib")):
        root = Path(sysconfig.get_path(kind))
        for folder, folders, names in os.walk(root):
            folders[:] = [each for each in folders if each not in _LEFT_OUT]
            for path in (Path(folder, each) for each in names):
                if path.is_file() and not path.is_symlink():
                    key = f"{name}/{path.relative_to(root).as_posix()}"
                    yield Candidate(key=key, path=path, size_bytes=path.stat().st_size)


def choose_files(
    candidates: Iterator[Candidate] | Sequence[Candidate], *, files: int = FILES, min_bytes: int = MIN_BYTES
) -> list[Candidate]:
    """Return at least that many files with at least that many bytes, sorted by key; always the same ones.

    The order of the keys' digests spreads the choice over all packages and kinds of file, and does not depend on the
    order in which a file system lists them. Small files come first, then as many larger ones as the bytes need.

    Raises:
        DemoError: There are not enough files.
    """
    ordered = sorted(candidates, key=lambda each: hashlib.sha256(each.key.encode("utf-8", "surrogateescape")).digest())
    chosen = [each for each in ordered if each.size_bytes <= _SMALL_BYTES][:files]
    size_bytes = sum(each.size_bytes for each in chosen)
    for each in ordered:
        if size_bytes >= min_bytes:
            break
        if _SMALL_BYTES < each.size_bytes <= _MAX_FILE_BYTES:
            chosen.append(each)
            size_bytes += each.size_bytes
    if len(chosen) < files or size_bytes < min_bytes:
        raise DemoError(
            f"found {len(chosen):,} files with {size_bytes:,} bytes in this environment; expected {files:,} files with "
            f"{min_bytes:,} bytes. Is .venv complete? `make install` completes it."
        )
    return sorted(chosen, key=lambda each: each.key)


def write_files(
    chosen: Sequence[Candidate], folder: Path, *, large_bytes: int = LARGE_BYTES, progress: Callable[[int, int], None]
) -> dict[str, Original]:
    """Copy the files below a folder that is emptied first, make the large file of them, and return all by key.

    Args:
        progress: Told after each file how many files and bytes it was.
    """
    if folder.exists():
        shutil.rmtree(folder)
    originals: dict[str, Original] = {}
    for each in chosen:
        path = folder / each.key
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(each.path, path)
        originals[each.key] = original = digested(path)
        progress(1, original.size_bytes)
    if large_bytes:
        originals[LARGE_KEY] = _write_large_file(folder / LARGE_KEY, originals, large_bytes, progress)
    return originals


def _write_large_file(
    large: Path, originals: Mapping[str, Original], size_bytes: int, progress: Callable[[int, int], None]
) -> Original:
    """Write the contents of all files one after the other, again and again, until the size is reached."""
    large.parent.mkdir(parents=True, exist_ok=True)
    left = size_bytes
    with large.open("wb") as output:
        while left:
            for original in originals.values():
                content = original.path.read_bytes()[:left]
                output.write(content)
                left -= len(content)
                progress(0, len(content))
    progress(1, 0)
    return digested(large)


def digested(path: Path) -> Original:
    """Read a file and return its size and digests."""
    with path.open("rb") as stream:
        md5, crc32c, size_bytes = hashlib.md5(usedforsecurity=False), 0, 0
        for block in blocks(stream):
            md5.update(block)
            crc32c = google_crc32c.extend(crc32c, block)
            size_bytes += len(block)
    told = b64encode(crc32c.to_bytes(4, "big")).decode("ascii")
    return Original(path=path, size_bytes=size_bytes, md5=md5.hexdigest(), crc32c=told)


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a stream, a megabyte at a time."""
    while block := stream.read(READ_BYTES):
        yield block
