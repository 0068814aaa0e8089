"""The independent check: does a bucket hold exactly the files of the demo, with exactly their content?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final

from demo.files import READ_BYTES, Original, blocks
from demo.parallel import run_parallel
from demo.vendor_buckets import Stored, VendorBucket

SAMPLE: Final = 200
READ: Final = "read"
"""Downloaded and compared byte for byte."""

_MAX_PROBLEMS: Final = 10


@dataclass(slots=True)
class Check:
    """What a check has found.

    Attributes:
        compared: How many objects were compared by what; one object may be compared in two ways.
        problems: A sentence each; empty when all is well.
    """

    compared: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The comparisons in words."""
        return ", ".join(f"{count:,} {way}" for way, count in self.compared.items())


def check_bucket(
    bucket: VendorBucket,
    originals: Mapping[str, Original],
    *,
    sample: int = SAMPLE,
    progress: Callable[[int, int], None],
) -> Check:
    """Compare every object of a bucket with its file on disk.

    Every key, size and checksum the store tells is compared. What the store has no checksum of is downloaded and
    compared byte for byte; so are a sample and the largest object.

    Args:
        progress: Told after each download how many there have been, of how many.
    """
    check, stored = Check(), bucket.objects()
    check.problems += [f"{bucket.url}{key} is missing" for key in sorted(originals.keys() - stored.keys())]
    check.problems += [f"{bucket.url}{key} should not be there" for key in sorted(stored.keys() - originals.keys())]
    present = sorted(originals.keys() & stored.keys())
    to_download = set(sampled_keys({key: originals[key].size_bytes for key in present}, sample))
    for key in present:
        compared_by = _compare_told(check, f"{bucket.url}{key}", originals[key], stored[key])
        if compared_by is None:
            to_download.add(key)
        else:
            check.compared[compared_by] += 1

    def download(key: str) -> tuple[str, bool]:
        return key, same_content(originals[key], bucket.read(key))

    for done, (key, is_same) in enumerate(run_parallel(download, sorted(to_download)), 1):
        if not is_same:
            check.problems.append(f"{bucket.url}{key} has other bytes than {originals[key].path}")
        progress(done, len(to_download))
    check.compared[READ] = len(to_download)
    return check


def _compare_told(check: Check, url: str, original: Original, stored: Stored) -> str | None:
    """Compare with what the listing tells; returns by which checksum, or None when it tells none."""
    if stored.size_bytes != original.size_bytes:
        check.problems.append(f"{url} has {stored.size_bytes:,} bytes; expected {original.size_bytes:,}")
    for name in ("md5", "crc32c"):
        told, expected = getattr(stored, name), getattr(original, name)
        if told and told != expected:
            check.problems.append(f"{url} has the {name} {told}; expected {expected}")
    return next((name for name in ("md5", "crc32c") if getattr(stored, name)), None)


def sampled_keys(sizes: Mapping[str, int], count: int) -> list[str]:
    """Return about that many keys, evenly spread, and the one of the largest object."""
    keys = sorted(sizes)
    step = max(len(keys) // max(count, 1), 1)
    return [*keys[::step][:count], *([max(keys, key=lambda key: sizes[key])] if keys else [])]


def same_content(original: Original, content: Iterator[bytes]) -> bool:
    """Tell whether a stream has exactly the bytes of a file; holds two blocks in memory."""
    with original.path.open("rb") as stream:
        pairs = zip_longest(blocks(stream), _in_blocks(content), fillvalue=b"")
        return all(mine == theirs for mine, theirs in pairs)


def _in_blocks(content: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a stream in blocks of the size in which files are read, whatever size it comes in."""
    pending = bytearray()
    for part in content:
        pending += part
        while len(pending) >= READ_BYTES:
            yield bytes(pending[:READ_BYTES])
            del pending[:READ_BYTES]
    if pending:
        yield bytes(pending)


def check_empty(bucket: VendorBucket) -> list[str]:
    """Return a problem for each object that is still there."""
    return [f"{bucket.url}{key} is still there after it was moved" for key in sorted(bucket.objects())]


def check_untouched(bucket: VendorBucket, before: Mapping[str, Stored]) -> list[str]:
    """Return a problem for each object that was written or deleted since."""
    after = bucket.objects()
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [f"{bucket.url}{key} was touched" for key in changed]


def check_report(
    report: Mapping[str, Any], originals: Mapping[str, Original], *, copies: bool, moves: bool
) -> list[str]:
    """Return the problems of a run's report, and one for each of its numbers that the files say must be another.

    Args:
        copies: Whether the run had to copy everything, or to find that all of it is there.
        moves: Whether the sources had to be deleted.
    """
    objects, size_bytes = len(originals), sum(original.size_bytes for original in originals.values())
    expected = {
        "state": "success",
        "objects_planned": objects,
        "objects_copied": objects if copies else 0,
        "objects_skipped": 0 if copies else objects,
        "objects_refused": 0,
        "objects_failed": 0,
        "objects_deleted_at_source": objects if moves else 0,
        "bytes_copied": size_bytes if copies else 0,
    }
    problems = list(report.get("problems", ()))
    problems += [
        f"the report says {name} {report.get(name)!r}; expected {value!r}"
        for name, value in expected.items()
        if report.get(name) != value
    ]
    proven = sum(report.get("verified_by", {}).values())
    if proven != expected["objects_copied"]:
        problems.append(f"the report says {proven:,} copies were verified; expected {expected['objects_copied']:,}")
    return problems


def shortened(problems: Sequence[str]) -> list[str]:
    """Return the first problems, and how many there are besides."""
    more = len(problems) - _MAX_PROBLEMS
    return [*problems[:_MAX_PROBLEMS], *([f"... and {more:,} more"] if more > 0 else [])]
