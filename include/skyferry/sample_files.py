"""Writes files of random content into a folder, to see a route at work: how many, how fast and how large is up to you.

The same seed gives the same names, sizes and contents. A file appears whole: it is written under a hidden name and gets
its own when it is finished. Nothing is overwritten.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skyferry.errors import RequestError
from skyferry.keys import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

_PIECE_BYTES = 1024 * 1024
_SLOW_PIECES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFiles:
    """What is written.

    Attributes:
        count: Number of files.
        per_second: Files a second, at most; 0 for as fast as possible.
        min_size_bytes: No file is smaller.
        max_size_bytes: No file is larger.
        slow_seconds: Write each file under its own name in ten pieces over so long, as programs do that never heard of
            renaming; 0 for files that appear whole.

    Raises:
        RequestError: A number is out of range; the message says which.
    """

    seed: int
    count: int
    per_second: float = 0.0
    min_size_bytes: int = 1024
    max_size_bytes: int = _PIECE_BYTES
    slow_seconds: float = 0.0

    def __post_init__(self) -> None:
        if min(self.count, self.per_second, self.min_size_bytes, self.slow_seconds) < 0:
            raise RequestError("count, rate, sizes and seconds must be 0 or more; nothing was written")
        if self.max_size_bytes < self.min_size_bytes:
            raise RequestError(
                f"the maximum size is {self.max_size_bytes:,} bytes, which is less than the minimum of "
                f"{self.min_size_bytes:,}",
                hint="nothing was written",
            )

    def write_into(self, folder: Path) -> Iterator[int]:
        """Yield the size of each file once it is there; the folder is created if it is missing. Memory holds one MiB.

        Raises:
            RequestError: A file of that name exists, or the folder cannot be written; the files before were written.
        """
        try:
            yield from self._write_into(folder)
        except OSError as error:
            what = f"writing into {folder} failed: {error.strerror or error}"
            raise RequestError(what, hint="choose another folder, or see to that") from error

    def _write_into(self, folder: Path) -> Iterator[int]:
        folder.mkdir(parents=True, exist_ok=True)
        chance = random.Random(self.seed)  # noqa: S311 - sample content, no secret
        started = time.monotonic()
        for number in range(self.count):
            if self.per_second:
                time.sleep(max(0.0, started + number / self.per_second - time.monotonic()))
            path = folder / f"sample-{self.seed}-{number + 1:06d}.bin"
            size_bytes = chance.randint(self.min_size_bytes, self.max_size_bytes)
            self._write(path, size_bytes, chance)
            yield size_bytes

    def _write(self, path: Path, size_bytes: int, chance: random.Random) -> None:
        if path.exists():
            raise RequestError(f"{path} exists already", hint="choose another --seed; it was left alone")
        if self.slow_seconds:
            pause_seconds = self.slow_seconds / _SLOW_PIECES
            _write_pieces(path, size_bytes, chance, piece_bytes=-(-size_bytes // _SLOW_PIECES), pause=pause_seconds)
            return
        unfinished = path.with_name(f"{TEMPORARY_PREFIX}{path.name}{TEMPORARY_SUFFIX}")
        _write_pieces(unfinished, size_bytes, chance, piece_bytes=_PIECE_BYTES, pause=0.0)
        unfinished.rename(path)


def _write_pieces(path: Path, size_bytes: int, chance: random.Random, *, piece_bytes: int, pause: float) -> None:
    with path.open("wb") as file:
        for start in range(0, size_bytes, max(piece_bytes, 1)):
            file.write(chance.randbytes(min(piece_bytes, size_bytes - start)))
            file.flush()
            time.sleep(pause)
