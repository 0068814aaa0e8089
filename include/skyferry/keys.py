"""Keys: which names each store holds exactly, how a key becomes a destination key, and which keys exclude each other.

A name is kept exactly or refused before the first byte: a store or client that would quietly turn it into another name
counts as unable to hold it, even where it answers 200.

Folder markers (`photos/`, 0 bytes) are objects like any other between stores. A local folder appears with the first
file in it, so there they are skipped (see `folder_marker_skip`), while an object with content whose key ends in `/` is
refused.

Known limitation: keys that differ only in case, or only in their Unicode normal form, are different objects in every
store and on the usual Linux file systems. A local folder on a file system that folds case (macOS, Windows shares, ext4
`casefold`) would show them as one; use no such folder as a destination.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from skyferry.errors import KeyRefusedError

TEMPORARY_PREFIX = ".skyferry-"
TEMPORARY_SUFFIX = ".part"
"""Names in local folders that begin and end so are unfinished copies of ours, invisible to listings."""

PROBE_PREFIX = ".skyferry-probe-"
"""Names that begin so, with 32 hexadecimal digits behind it, are of the doctor: no transfer takes them for objects."""

_PROBE_NAME = re.compile(re.escape(PROBE_PREFIX) + "[0-9a-f]{32}")
_STORE_NAMES: Mapping[str, str] = {
    "s3": "S3",
    "az": "Azure Blob",
    "gs": "Google Cloud Storage",
    "file": "a local folder",
}
_MAX_KEY = 1024
_MAX_AZURE_ELEMENTS = 254
_MAX_LOCAL_NAME_BYTES = 255
_MAX_LOCAL_PATH_BYTES = 4096
_DOT_ELEMENT = re.compile(r"(?:^|/)\.\.?(?:/|$)")
_DOT_AT_END_OF_ELEMENT = re.compile(r"\.(?:/|$)")


def is_temporary_name(name: str) -> bool:
    """Return whether a file of this name (without its folder) is an unfinished copy of ours."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


def is_probe_key(key: str) -> bool:
    """Return whether an object of this key is one of the doctor's, which is about to be removed."""
    return PROBE_PREFIX in key and _PROBE_NAME.fullmatch(key.rpartition("/")[2]) is not None


def check_key(key: str, kind: str) -> None:
    """Return if a store of this kind holds an object of exactly this name.

    Args:
        key: The full name inside the bucket; for `file` the path below the folder. Bytes that are no UTF-8 come as
            surrogates (`surrogateescape`) and are refused everywhere.
        kind: `s3`, `az`, `gs` or `file`.

    Raises:
        KeyRefusedError: With the reason. Rename the object, or leave it out with `data`.
    """
    reason = refusal(key, kind)
    if reason:
        shown = key if len(key) <= 300 else f"{key[:200]}... ({len(key):,} characters)"
        raise KeyRefusedError(
            f'{_STORE_NAMES[kind]} cannot hold the name "{shown}": {reason}', hint="rename the object or leave it out"
        )


def refusal(key: str, kind: str) -> str:
    """Return why a store of this kind cannot hold this key; empty when it can."""
    if not key:
        return "it is empty"
    try:
        key_bytes = key.encode()
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    return _RULES[kind](key, key_bytes)


def map_key(source_key: str, *, source_prefix: str, destination_prefix: str) -> str:
    """Return the destination key of a source key: the same name below the other prefix.

    Different keys stay different. The key that equals `source_prefix` maps to `destination_prefix`, which may be empty:
    see `folder_marker_skip`.

    Raises:
        KeyRefusedError: The key does not begin with the prefix: the store listed something else than it was asked for.
    """
    if not source_key.startswith(source_prefix):
        raise KeyRefusedError(
            f'the source listed "{source_key[:200]}", which is not below "{source_prefix}"',
            hint="the store's listing is wrong; the object was left alone",
        )
    return destination_prefix + source_key[len(source_prefix) :]


def folder_marker_skip(source_key: str, *, size_bytes: int, source_prefix: str, destination_kind: str) -> str:
    """Return why an object is skipped as a folder marker; empty when it is to be copied like any other.

    Skipped are markers (0 bytes, key ending in `/`) on their way to a local folder, and the marker of the source prefix
    itself, which has no name below it.
    """
    if size_bytes or not source_key.endswith("/"):
        return ""
    if source_key == source_prefix:
        return "folder marker of the source itself"
    if destination_kind == "file":
        return "folder marker; a local folder appears with its first file"
    return ""


class CollisionDetector:
    """Finds destination keys that cannot stand beside an earlier one, in one pass over sorted keys.

    Two equal keys collide everywhere. For a local folder `a` and `a/b` collide too: one path cannot be a file and a
    folder. Between them in byte order there may be any number of others (`a-b` < `a/b`), so the open string prefixes of
    the current key are kept: once a key does not begin with `a`, none that follows does.
    Holds at most one key for each character of the longest key.

    Args:
        kind: The destination's kind of store.
    """

    def __init__(self, kind: str) -> None:
        self._folders_are_real = kind == "file"
        self._last_key_bytes: bytes | None = None
        self._open_lengths: list[int] = []
        self._open_key = ""

    def check(self, key: str) -> None:
        """Take in the next key; the first of a colliding pair passes, the later one is refused.

        Args:
            key: Accepted by `check_key`; not before the key of the last call in the order of UTF-8 bytes.

        Raises:
            KeyRefusedError: The key collides with an earlier one, which the message names.
            ValueError: The keys are not in order; the detector would miss collisions.
        """
        key_bytes = key.encode()
        if self._last_key_bytes is not None and key_bytes < self._last_key_bytes:
            raise ValueError(f"keys are not in byte order: {key!r} after {self._last_key_bytes.decode()!r}")
        is_twin = key_bytes == self._last_key_bytes
        self._last_key_bytes = key_bytes
        if is_twin:
            raise KeyRefusedError(f'two source objects map to "{key}"', hint="the first one listed was kept")
        if self._folders_are_real:
            self._check_ancestors(key)

    def _check_ancestors(self, key: str) -> None:
        while self._open_lengths and not key.startswith(self._open_key[: self._open_lengths[-1]]):
            self._open_lengths.pop()
        # Only the longest open key can be the folder: a longer one below the folder would have been refused itself.
        longest = self._open_lengths[-1] if self._open_lengths else 0
        if longest and key[longest : longest + 1] == "/":
            raise KeyRefusedError(
                f'"{key}" needs a folder where the object "{key[:longest]}" becomes a file',
                hint="a local folder cannot hold both; rename one of them, or leave one out",
            )
        self._open_lengths.append(len(key))
        self._open_key = key


def _check_s3(key: str, key_bytes: bytes) -> str:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
    return _too_long(len(key_bytes), "bytes") or _holds_nul(key)


def _check_azure(key: str, key_bytes: bytes) -> str:
    # https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
    # The limit is in characters; characters outside the first plane are taken as the two UTF-16 units .NET counts.
    reason = _too_long(len(key.encode("utf-16-le")) // 2, "characters")
    if reason:
        return reason
    is_plain = key.isascii() and key.isprintable()
    odd = None if is_plain else next((character for character in key if _is_refused_by_azure(character)), None)
    if odd is not None:
        return f"Azure does not allow the character U+{ord(odd):04X}"
    if "\\" in key:
        return 'it holds a backslash, which Azure turns into "/"'
    if _DOT_ELEMENT.search(key):
        return 'it holds "." or ".." as a path element, which is resolved to another name, even in another container'
    if _DOT_AT_END_OF_ELEMENT.search(key):
        # "Avoid blob names that end with a dot": the service drops it by design, and two names become one
        # (github.com/microsoft/AzureStorageExplorer issue 2833, github.com/Azure/azure-sdk-for-java issue 36674).
        return "a path element ends in a dot, which Azure drops"
    elements = key.count("/") + 1
    return f"it has {elements} path elements; at most {_MAX_AZURE_ELEMENTS}" if elements > _MAX_AZURE_ELEMENTS else ""


def _is_refused_by_azure(character: str) -> bool:
    category = unicodedata.category(character)
    # Control and private-use characters, and the code points that are reserved as no characters at all (RFC 3987).
    return category in {"Cc", "Co"} or (category == "Cn" and _is_noncharacter(ord(character)))


def _is_noncharacter(code_point: int) -> bool:
    return code_point & 0xFFFE == 0xFFFE or 0xFDD0 <= code_point <= 0xFDEF


def _check_gcs(key: str, key_bytes: bytes) -> str:
    # https://cloud.google.com/storage/docs/objects#naming
    if key in {".", ".."}:
        return 'Google Cloud Storage does not allow the names "." and ".."'
    if key.startswith(".well-known/acme-challenge/"):
        return 'Google Cloud Storage reserves names that begin with ".well-known/acme-challenge/"'
    if "\r" in key or "\n" in key:
        return "it holds a carriage return or line feed"
    return _too_long(len(key_bytes), "bytes")


def _check_local(key: str, key_bytes: bytes) -> str:
    if len(key_bytes) >= _MAX_LOCAL_PATH_BYTES:
        return f"it has {len(key_bytes):,} bytes; a path has at most {_MAX_LOCAL_PATH_BYTES - 1:,}"
    if key.startswith("/"):
        return "it is an absolute path, outside the folder"
    if _DOT_ELEMENT.search(key):
        return 'it holds "." or ".." as a path element, which leads to another file'
    if key.endswith("/"):
        return 'it ends in "/", which is a folder on a file system, not a file'
    if "//" in key:
        return "it has an empty path element, which a file system leaves out"
    names = key_bytes.split(b"/")
    longest = max(len(name) for name in names)
    if longest > _MAX_LOCAL_NAME_BYTES:
        return f"a path element has {longest} bytes; a file name has at most {_MAX_LOCAL_NAME_BYTES}"
    if any(is_temporary_name(name) for name in key.split("/")):
        return f'it is a name of our own temporary files ("{TEMPORARY_PREFIX}...{TEMPORARY_SUFFIX}")'
    return _holds_nul(key)


def _too_long(length: int, unit: str) -> str:
    return f"it has {length:,} {unit}; at most {_MAX_KEY:,}" if length > _MAX_KEY else ""


def _holds_nul(key: str) -> str:
    return "it holds a NUL character" if "\0" in key else ""


_RULES: Mapping[str, Callable[[str, bytes], str]] = {
    "s3": _check_s3,
    "az": _check_azure,
    "gs": _check_gcs,
    "file": _check_local,
}
