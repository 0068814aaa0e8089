"""What a URL of a storage verb names: one object, all below a folder, or all that a glob takes.

    s3://bucket/2026/may.csv      an object of exactly this name; without one, the folder s3://bucket/2026/may.csv/
    s3://bucket/2026/             a folder
    s3://bucket/2026/**/*.csv     a glob, as in the parameter `data`; but `?` is refused in URLs

The rules for URLs are those of `skyferry.urls`. An object whose name holds `?`, `#` or control characters is reached by
a glob, or with `key` from a URL above it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from skyferry.errors import RequestError
from skyferry.urls import Location, parse_location

_GLOB = re.compile(r"[*\[{]")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart.

    Attributes:
        bucket: The bucket, container or local folder; its prefix is empty.
        folder: A prefix that ends in `/`, or nothing: all that is named lies below it.
        name: What is named there: an object, a folder (without the `/`), a glob; nothing for all of it.
        is_literal: The name stands for nothing but an object of this name.
    """

    bucket: Location
    folder: str
    name: str
    is_literal: bool = False

    @property
    def key(self) -> str:
        """The whole name in the bucket."""
        return self.folder + self.name

    @property
    def has_glob(self) -> bool:
        """Whether the name may stand for several objects."""
        return not self.is_literal and _GLOB.search(self.name) is not None

    def as_folder(self) -> Target:
        """Return the folder of this name."""
        if not self.name:
            return self
        if self.bucket.kind == "file":
            return Target(replace(self.bucket, bucket=f"{self.bucket.bucket.rstrip('/')}/{self.key}"), "", "")
        return self.as_folder_of_keys()

    def as_folder_of_keys(self) -> Target:
        """Return the folder of this name in the same bucket, even if that is a local folder."""
        return Target(self.bucket, f"{self.key}/", "") if self.name else self


def parse_target(url: str, *, key: str | None = None, what: str = "URL") -> Target:
    """Return what a URL names.

    Looks at the local disk for `file:` URLs, to tell a folder from a file.

    Args:
        key: Name of one object below the URL, with whatever characters it holds.
        what: What the URL is to the command, for messages.

    Raises:
        RequestError: It is no URL of a store; the message says how to write it.
    """
    location = parse_location(url, what=what)
    bucket = Location(location.kind, location.bucket, "")
    if key is not None:
        return Target(bucket, location.prefix, key, is_literal=True)
    if location.kind == "file":
        return _local_target(location.bucket, is_folder=url.endswith("/"))
    folder, name = _split(url.partition("://")[2].partition("/")[2])
    return Target(bucket, folder, name)


def local_target(path: str | Path, *, what: str = "PATH") -> Target:
    """Return what a path as a shell has it names: relative to the working folder, any character allowed.

    Args:
        path: A `file:` URL is one, too.

    Raises:
        RequestError: It is the URL of another kind of store, or a wrong one.
    """
    text = str(path)
    if "://" in text:
        location = parse_location(text, what=what)
        if location.kind != "file":
            raise RequestError(f"{what} {location.url} is not on this machine; expected a path or a file: URL")
        return parse_target(text, what=what)
    return _local_target(os.path.abspath(text), is_folder=text.endswith("/"))  # noqa: PTH100 - resolves `..` as well


def parse_bucket(url: str, *, what: str = "URL") -> Location:
    """Return the bucket, container or local folder a URL names.

    Raises:
        RequestError: It is no URL of a store, or names something in a bucket.
    """
    location = parse_location(url, what=what)
    if location.prefix:
        raise RequestError(f"{what} {location.url} names a folder; expected a bucket alone")
    return location


def _local_target(path: str, *, is_folder: bool) -> Target:
    if is_folder or Path(path).is_dir():
        return Target(Location("file", path, ""), "", "")
    is_there = os.path.lexists(path)
    folder, name = (path[: path.rindex("/") + 1], path[path.rindex("/") + 1 :]) if is_there else _split(path)
    return Target(Location("file", folder.rstrip("/") or "/", ""), "", name, is_literal=is_there)


def _split(key: str) -> tuple[str, str]:
    """Return what stands before the last `/` that comes before any glob, with it, and what follows."""
    glob = _GLOB.search(key)
    folder = key[: glob.start() if glob else None].rpartition("/")
    return folder[0] + folder[1], key[len(folder[0] + folder[1]) :]
