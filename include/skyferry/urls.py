"""Locations: the URLs a transfer reads from and writes to, checked before anything else happens.

    s3://bucket/prefix        az://container/prefix        gs://bucket/prefix        file:///absolute/folder

A prefix is a folder: `s3://shop/orders` means the keys below `orders/`, never `orders-old/1.csv`.

Every character of a prefix stands for itself: nothing is percent-decoded, so `a%20b` is a folder of that very name.
`?` and `#` are refused although stores allow them in keys, because what follows them in a URL is where signatures and
tokens travel (shared access signatures, presigned URLs), and a location is stored and shown. To reach such a folder,
name the one above it and select with `data`. `.` and `..` as path elements are refused everywhere: clients resolve
them.

Known limitation: bucket names follow the rules of today; S3 buckets from before March 2018 with capital letters or
underscores are refused.
"""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import os
import posixpath
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from skyferry.errors import RequestError

Kind = Literal["s3", "az", "gs", "file"]

KINDS: tuple[Kind, ...] = ("s3", "az", "gs", "file")
"""The stores there are, by the scheme of their URLs."""

URL_PATTERN = r"^(s3|az|gs)://[^/?#@:]+(/[^?#]*)?$|^file:///[^?#]*$"
"""What a form can check by itself; `parse_location` checks the rest."""

EXAMPLES: dict[Kind, str] = {
    "s3": "s3://bucket/prefix",
    "az": "az://container/prefix",
    "gs": "gs://bucket/prefix",
    "file": "file:///folder",
}
"""The shape of each kind of URL, for messages and documentation."""

_MAX_URL_CHARACTERS = 4096
_S3: Kind = "s3"
_AZ: Kind = "az"
_GS: Kind = "gs"
_FILE: Kind = "file"
_OTHER_NAMES: dict[str, Kind] = {
    **dict.fromkeys(("s3a", "s3n", "aws", "amazon"), _S3),
    **dict.fromkeys(("azure", "azblob", "wasb", "wasbs", "abfs", "abfss", "adl", "blob"), _AZ),
    **dict.fromkeys(("gcs", "google", "gsutil"), _GS),
    **dict.fromkeys(("local", "path", "folder", "dir"), _FILE),
}
_HOSTS: tuple[tuple[str, Kind], ...] = (
    ("amazonaws.com", "s3"),
    ("core.windows.net", "az"),
    ("storage.googleapis.com", "gs"),
    ("storage.cloud.google.com", "gs"),
)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_S3_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_AZ_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*|\$web|\$logs")
# https://cloud.google.com/storage/docs/buckets#naming
_GS_BUCKET = re.compile(r"(?=.{3,222}\Z)[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*")
_BUCKET_RULES: dict[Kind, str] = {
    "s3": "3 to 63 lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit,"
    " without two dots in a row, and not an IP address",
    "az": "3 to 63 lower-case letters, digits and single hyphens, beginning and ending with a letter or digit",
    "gs": "3 to 63 lower-case letters, digits, hyphens, underscores and dots, beginning and ending with a letter or"
    ' digit, not an IP address, and without "google" in it',
}
_BUCKET_WORDS: dict[Kind, str] = {"s3": "bucket", "az": "container", "gs": "bucket"}


@dataclass(frozen=True, slots=True)
class Location:
    """A folder in a store.

    Attributes:
        kind: The store: `s3`, `az`, `gs` or `file`.
        bucket: Bucket or container; for `file` the absolute, normalised path of the folder.
        prefix: Empty, or the leading part of the keys, ending in `/`; always empty for `file`.
    """

    kind: Kind
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """The one spelling of this location, ending in `/`."""
        if self.kind == "file":
            return "file://" + self.bucket.rstrip("/") + "/"
        return f"{self.kind}://{self.bucket}/{self.prefix}"


def parse_location(url: str, *, what: str = "source") -> Location:
    """Return the location a URL names; costs no I/O, so the bucket need not exist.

    Args:
        url: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix` or `file:///folder`.
        what: The parameter the URL was given for, named in messages.

    Raises:
        RequestError: The URL names no location; the message says how to write it. It never repeats what stands where
            secrets are put (user name, query, fragment).
    """
    _check_text(url, what)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in KINDS:
        _refuse_scheme(url, what)
    kind = _kind_of(scheme)
    _check_no_secret_place(kind, rest, url, what)
    if kind == "file":
        return Location("file", _local_folder(rest, url, what), "")
    bucket, _, prefix = rest.partition("/")
    _check_bucket(kind, bucket, url, what)
    _check_elements(prefix, url, what)
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return Location(kind, bucket, prefix)


def ensure_disjoint(source: Location, destination: Location, *, same_connection: bool = True) -> None:
    """Refuse a destination that is the source, or lies inside it.

    Such a transfer would feed itself: each run would find the copies of the one before, and a move of a location onto
    itself would delete what it has just proven equal. The other way round (copying `s3://b/a/` to `s3://b/`) is sound
    as long as no single key lands in the source; `lands_in_source` tells which would.

    Local folders are compared as they are on this machine's disk, with symbolic links followed and mounts recognised:
    two paths of one folder would otherwise let a move delete the only copy. That is the one look this module takes.

    Args:
        same_connection: Whether both sides talk to the same account and endpoint. Buckets of one name behind two
            endpoints are two buckets. Local folders need no connection: for them it does not matter.

    Raises:
        RequestError: Choose a destination outside the source.
    """
    if not is_inside(destination, source, same_connection=same_connection):
        return
    relation = "the same as" if source == destination else "inside"
    raise RequestError(
        f"destination {destination.url} is {relation} source {source.url}, so the transfer would feed itself",
        hint="choose a destination outside the source, or a narrower source; nothing was changed",
    )


def is_inside(inner: Location, outer: Location, *, same_connection: bool) -> bool:
    """Return whether a location is another one, or lies in it; compared as in `ensure_disjoint`."""
    if inner.kind != outer.kind or not (same_connection or outer.kind == "file"):
        return False
    if _whole_path(inner).startswith(_whole_path(outer)):
        return True
    return outer.kind == "file" and _is_inside_on_disk(inner.bucket, outer.bucket)


def lands_in_source(destination_key: str, *, source: Location, destination: Location) -> bool:
    """Return whether a destination key is a key of the source too (both behind the same connection)."""
    if source.kind != destination.kind:
        return False
    if destination.kind == "file":
        path = os.path.realpath(destination.bucket).rstrip("/") + "/" + destination_key
        return path.startswith(os.path.realpath(source.bucket).rstrip("/") + "/")
    return source.bucket == destination.bucket and destination_key.startswith(source.prefix)


def _kind_of(scheme: str) -> Kind:
    return next(kind for kind in KINDS if kind == scheme)


def _whole_path(location: Location) -> str:
    return location.bucket.rstrip("/") + "/" + location.prefix


def _is_inside_on_disk(folder: str, parent: str) -> bool:
    """Return whether a folder, existing or not, is the other one or lies in it, whatever they are called."""
    try:
        parent_status = Path(parent).stat()
    except OSError:
        return False
    real = Path(os.path.realpath(folder))
    for each in (real, *real.parents):
        with contextlib.suppress(OSError):
            if os.path.samestat(each.stat(), parent_status):
                return True
    return False


def _check_text(url: str, what: str) -> None:
    if not url.strip():
        raise RequestError(f"{what} is empty; expected a URL such as {_shapes()}")
    if len(url) > _MAX_URL_CHARACTERS:
        raise RequestError(
            f"{what} has {len(url):,} characters; expected a URL of at most {_MAX_URL_CHARACTERS:,},"
            f" such as {EXAMPLES['s3']}"
        )
    odd = next((character for character in url if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}), None)
    if odd is not None:
        raise RequestError(
            f"{what} {_shown(url)} holds the control character U+{ord(odd):04X}; expected only printable ones",
            hint='name the folder above it and select with "data"',
        )
    if url != url.strip():
        raise RequestError(
            f"{what} {_shown(url)} begins or ends with a space",
            hint='remove it; if the folder\'s name ends in a space, end the URL with "/"',
        )


def _check_no_secret_place(kind: Kind, rest: str, url: str, what: str) -> None:
    authority = rest.partition("/")[0]
    found = ""
    if "@" in authority:
        found = "a user name or password"
    elif "?" in rest:
        found = "a query (?)"
    elif "#" in rest:
        found = "a fragment (#)"
    elif ":" in authority:
        found = "a port (:)"
    if found:
        raise RequestError(
            f"{what} {_shown(url)} holds {found}; expected only {EXAMPLES[kind]}",
            hint="put keys, tokens and endpoints into the Airflow connection;"
            ' for a folder of such a name use the folder above it and select with "data"',
        )


def _refuse_scheme(url: str, what: str) -> NoReturn:
    scheme, separator, rest = url.partition("://")
    if url.startswith("/"):
        raise RequestError(f"{what} {_shown(url)} has no scheme; for a local folder write {_shown('file://' + url)}")
    kind: Kind | None = None
    if separator and scheme.lower() in {"http", "https"}:
        host = re.split(r"[/?#:]", rest.rpartition("@")[2], maxsplit=1)[0].lower()
        kind = next((kind for suffix, kind in _HOSTS if host == suffix or host.endswith("." + suffix)), None)
    elif separator:
        close = difflib.get_close_matches(scheme.lower(), KINDS, n=1, cutoff=0.5)
        kind = _OTHER_NAMES.get(scheme.lower()) or (_kind_of(close[0]) if close else None)
    hint = f"did you mean {EXAMPLES[kind]}?" if kind else ""
    problem = "has no scheme" if not separator else f'has the unknown scheme "{scheme[:20]}"'
    raise RequestError(f"{what} {_shown(url)} {problem}; expected {_shapes()}", hint=hint)


def _check_bucket(kind: Kind, bucket: str, url: str, what: str) -> None:
    word = _BUCKET_WORDS[kind]
    if not bucket:
        raise RequestError(f"{what} {_shown(url)} names no {word}; expected {EXAMPLES[kind]}")
    if not _is_bucket_name(kind, bucket):
        raise RequestError(
            f'{what} {_shown(url)} has "{bucket[:80]}" for a {word}; expected {_BUCKET_RULES[kind]}',
            hint=f"check the {word}'s name with the owner of the account",
        )


def _is_bucket_name(kind: Kind, bucket: str) -> bool:
    if kind == "az":
        return _AZ_CONTAINER.fullmatch(bucket) is not None
    if _is_ip_address(bucket):
        return False
    if kind == "s3":
        return (
            _S3_BUCKET.fullmatch(bucket) is not None
            and ".." not in bucket
            and not bucket.startswith(("xn--", "sthree-"))
        )
    return _GS_BUCKET.fullmatch(bucket) is not None and "google" not in bucket and not bucket.startswith("goog")


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _check_elements(path: str, url: str, what: str) -> None:
    odd = next((element for element in path.split("/") if element in {".", ".."}), None)
    if odd is not None:
        raise RequestError(
            f'{what} {_shown(url)} holds the path element "{odd}", which clients resolve to another folder',
            hint="write the folder's full name without it",
        )


def _local_folder(path: str, url: str, what: str) -> str:
    if not path.startswith("/"):
        example = "file:///" + path.lstrip("./")
        problem = "is a relative path" if path.startswith(".") or not path else "names a host"
        raise RequestError(
            f"{what} {_shown(url)} {problem}; expected an absolute folder with three slashes, such as {_shown(example)}"
        )
    _check_elements(path, url, what)
    # POSIX gives exactly two leading slashes a meaning of their own; normpath keeps them, Linux ignores them.
    return posixpath.normpath("/" + path.lstrip("/"))


def _shapes() -> str:
    *first, last = EXAMPLES.values()
    return ", ".join(first) + " or " + last


def _shown(url: str) -> str:
    """Return the URL for a message, shortened, and without anything that may hold a secret."""
    scheme, separator, rest = url.partition("://")
    if "?" in url or "#" in url or "@" in rest.partition("/")[0] or (not separator and "@" in url):
        return f'"{scheme[:20]}://..."' if separator else '"..."'
    return f'"{url}"' if len(url) <= 200 else f'"{url[:160]}..." ({len(url):,} characters)'
