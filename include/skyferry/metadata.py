"""Metadata between stores: what the destination holds as it is, what is kept in one reserved entry, and what is lost.

| | header fields | user metadata keys | values | total | tags |
|---|---|---|---|---|---|
| S3 | ASCII, 2 KiB in all | lower-case ASCII header names | ASCII | 2 KiB | 10, most of Unicode |
| Azure | ASCII | C# identifiers in ASCII, case folded | ASCII, not empty | 8 KiB | 10, `A-Za-z0-9 +-./:=_` |
| GCS | Unicode | ASCII | Unicode | 8 KiB | none |
| local folder | none | none | none | 0 | none |

What fits none of this goes into the user metadata entry `skyferry_metadata` (compact ASCII JSON) as long as there is
room, and comes back out when the object is read again: S3 -> Azure -> S3 loses nothing. Entries whose keys begin with
`skyferry_` are ours; they describe one copy and never travel on.

Texts with line breaks or other control characters are dropped, always: in a header they would start another header.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from skyferry.errors import printable
from skyferry.objects import ObjectMetadata

RESERVED_PREFIX = "skyferry_"
KEPT_ENTRY = "skyferry_metadata"

HEADER_NAMES = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")
"""The fields of `ObjectMetadata` that are content headers."""

_GROUPS = ("headers", "user", "tags")
# Room for what the engine adds to user metadata after fitting (a note of which source version this is).
_SPARE_BYTES = 64
_MAX_TAGS = 10
_MAX_TAG_KEY = 128
_MAX_TAG_VALUE = 256


@dataclass(frozen=True, slots=True)
class _Rules:
    """What one kind of store holds as it is; sizes in bytes of UTF-8, keys and values together."""

    holds_header: Callable[[str], bool]
    holds_user_key: Callable[[str], bool]
    holds_user_value: Callable[[str], bool]
    holds_tag: Callable[[str, str], bool]
    max_header_bytes: int
    max_user_bytes: int
    folds_case: bool


@dataclass(slots=True)
class _Fitted:
    """The outcome as it grows: what the destination gets, and what does not fit as it is."""

    rest: dict[str, dict[str, str]] = field(default_factory=lambda: {group: {} for group in _GROUPS})
    losses: list[str] = field(default_factory=list)


def fit_metadata(metadata: ObjectMetadata, kind: str) -> tuple[ObjectMetadata, tuple[str, ...]]:
    """Return what a store of this kind can hold of the metadata, and what is lost, in words.

    Nothing is changed to make it fit: each entry is held exactly, kept in the reserved entry, or named as lost. So
    `restore_metadata` of the result differs from `metadata` in just the entries that are named.

    Args:
        metadata: What the source object carries, after `restore_metadata`.
        kind: The destination's kind: `s3`, `az`, `gs` or `file`.

    Returns:
        The fitted metadata, and one line for each loss, such as `user metadata "owner": ...`; what the source withheld
        is a loss too.
    """
    rules = _RULES.get(kind)
    if rules is None:
        return ObjectMetadata(), _all_lost(metadata)
    fitted = _Fitted(losses=list(metadata.withheld))
    headers: dict[str, Any] = dict(_fit_headers(metadata, rules, fitted))
    tags = _fit_tags(metadata.tags, rules, fitted)
    user = _fit_user(metadata.user, rules, fitted)
    kept = _kept_entry(fitted, rules.max_user_bytes - _SPARE_BYTES - _size_bytes(user))
    if kept:
        user[KEPT_ENTRY] = kept
    return ObjectMetadata(user=user, tags=tags, **headers), tuple(fitted.losses)


def restore_metadata(metadata: ObjectMetadata) -> ObjectMetadata:
    """Return the metadata with the reserved entry unpacked and all entries of ours left out.

    What stands in the object's own metadata wins over what was kept: somebody set it after the copy. A reserved entry
    that we did not write like this is left out; it never fails a transfer.
    """
    if not any(map(_is_reserved, metadata.user)):
        return metadata
    own = {key: value for key, value in metadata.user.items() if not _is_reserved(key)}
    kept = _parse_kept(next((value for key, value in metadata.user.items() if key.lower() == KEPT_ENTRY), ""))
    kept_user = {key: value for key, value in kept["user"].items() if not _is_reserved(key)}
    restored = replace(metadata, user={**kept_user, **own}, tags={**kept["tags"], **metadata.tags})
    return _with_headers(restored, kept["headers"])


def _with_headers(metadata: ObjectMetadata, headers: Mapping[str, str]) -> ObjectMetadata:
    """Return the metadata with the headers it does not have yet."""
    return replace(
        metadata,
        content_type=metadata.content_type or headers.get("content_type", ""),
        content_encoding=metadata.content_encoding or headers.get("content_encoding", ""),
        content_language=metadata.content_language or headers.get("content_language", ""),
        content_disposition=metadata.content_disposition or headers.get("content_disposition", ""),
        cache_control=metadata.cache_control or headers.get("cache_control", ""),
    )


def _fit_headers(metadata: ObjectMetadata, rules: _Rules, fitted: _Fitted) -> dict[str, str]:
    held: dict[str, str] = {}
    room_bytes = rules.max_header_bytes
    for name in HEADER_NAMES:
        value: str = getattr(metadata, name)
        if not value:
            continue
        if not _is_one_line(value):
            fitted.losses.append(f"{name}: holds control characters")
        elif rules.holds_header(value) and len(value.encode()) <= room_bytes:
            held[name] = value
            room_bytes -= len(value.encode())
        else:
            fitted.rest["headers"][name] = value
    return held


def _fit_user(user: Mapping[str, str], rules: _Rules, fitted: _Fitted) -> dict[str, str]:
    held: dict[str, str] = {}
    folded: set[str] = set()
    room_bytes = rules.max_user_bytes - _SPARE_BYTES
    for key, value in sorted(user.items()):
        if _is_reserved(key):
            continue
        size_bytes = _size_bytes({key: value}) if _is_one_line(key + value) else 0
        is_twin = rules.folds_case and key.lower() in folded
        if not _is_one_line(key + value):
            fitted.losses.append(f"{_named('user metadata', key)}: holds control characters")
        elif rules.holds_user_key(key) and rules.holds_user_value(value) and not is_twin and size_bytes <= room_bytes:
            held[key] = value
            folded.add(key.lower())
            room_bytes -= size_bytes
        else:
            fitted.rest["user"][key] = value
    return held


def _fit_tags(tags: Mapping[str, str], rules: _Rules, fitted: _Fitted) -> dict[str, str]:
    held: dict[str, str] = {}
    for key, value in sorted(tags.items()):
        if not _is_one_line(key + value):
            fitted.losses.append(f"{_named('tag', key)}: holds control characters")
        elif len(held) < _MAX_TAGS and rules.holds_tag(key, value):
            held[key] = value
        else:
            fitted.rest["tags"][key] = value
    return held


def _kept_entry(fitted: _Fitted, room_bytes: int) -> str:
    """Return the reserved entry's value with as much of the rest as there is room for; the others become losses."""
    kept: dict[str, dict[str, str]] = {}
    room_bytes -= len(KEPT_ENTRY) + len(json.dumps({group: {} for group in _GROUPS}))
    for group in _GROUPS:
        for key, value in fitted.rest[group].items():
            size_bytes = len(json.dumps(key)) + len(json.dumps(value)) + len(":,")
            if size_bytes <= room_bytes:
                room_bytes -= size_bytes
                kept.setdefault(group, {})[key] = value
            else:
                fitted.losses.append(
                    f"{_loss_name(group, key)}: does not fit the destination, nor beside the other entries"
                )
    return json.dumps(kept, separators=(",", ":")) if kept else ""


def _parse_kept(text: str) -> dict[str, dict[str, str]]:
    nothing: dict[str, dict[str, str]] = {group: {} for group in _GROUPS}
    if not text:
        return nothing
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):  # the entry may come from a stranger
        return nothing
    if not isinstance(parsed, dict):
        return nothing
    return {group: _texts(parsed.get(group)) for group in _GROUPS}


def _texts(entries: object) -> dict[str, str]:
    if not isinstance(entries, dict):
        return {}
    return {str(key): value for key, value in entries.items() if isinstance(value, str)}


def _all_lost(metadata: ObjectMetadata) -> tuple[str, ...]:
    names = [name for name in HEADER_NAMES if getattr(metadata, name)]
    names += [_named("user metadata", key) for key in sorted(metadata.user) if not _is_reserved(key)]
    names += [_named("tag", key) for key in sorted(metadata.tags)]
    return metadata.withheld + tuple(f"{name}: a local folder holds no metadata" for name in names)


def _loss_name(group: str, key: str) -> str:
    return key if group == "headers" else _named({"user": "user metadata", "tags": "tag"}[group], key)


def _named(what: str, key: str) -> str:
    return printable(f'{what} "{key}"' if len(key) <= 128 else f'{what} "{key[:100]}..." ({len(key)} characters)')


def _is_reserved(key: str) -> bool:
    return key.lower().startswith(RESERVED_PREFIX)


def _size_bytes(entries: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in entries.items())


def _is_one_line(text: str) -> bool:
    """Return whether a text holds no control character but tab, and no half of a surrogate pair."""
    return text.isprintable() or not any(
        character != "\t" and unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text
    )


# HTTP trims white space around a field value (RFC 9110 section 5.5), so a value with some would not come back exactly.
_ASCII_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
# RFC 9110 section 5.6.2, without capital letters: S3 lower-cases.
_S3_KEY = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_AZURE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GCS_KEY = re.compile(r"[!-~]+")
_AZURE_TAG = re.compile(r"[A-Za-z0-9 +./:=_-]*")


def _is_ascii_value(value: str) -> bool:
    return _ASCII_VALUE.fullmatch(value) is not None


def _is_trimmed_text(value: str) -> bool:
    return value == value.strip() and "\t" not in value


def _is_s3_tag(key: str, value: str) -> bool:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
    return (
        0 < len(key) <= _MAX_TAG_KEY
        and len(value) <= _MAX_TAG_VALUE
        and not key.lower().startswith("aws:")
        and all(character in "+-=._:/@ " or unicodedata.category(character)[0] in "LN" for character in key + value)
    )


def _is_azure_tag(key: str, value: str) -> bool:
    # https://learn.microsoft.com/azure/storage/blobs/storage-manage-find-blobs#setting-blob-index-tags
    is_spelled = _AZURE_TAG.fullmatch(key + value) is not None
    return is_spelled and 0 < len(key) <= _MAX_TAG_KEY and len(value) <= _MAX_TAG_VALUE


def _is_no_tag(key: str, value: str) -> bool:
    return False


_RULES: Mapping[str, _Rules] = {
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    "s3": _Rules(
        holds_header=_is_ascii_value,
        holds_user_key=lambda key: _S3_KEY.fullmatch(key) is not None,
        holds_user_value=_is_ascii_value,
        holds_tag=_is_s3_tag,
        max_header_bytes=2048,
        max_user_bytes=2048,
        folds_case=True,
    ),
    # https://learn.microsoft.com/rest/api/storageservices/setting-and-retrieving-properties-and-metadata-for-blob-resources
    "az": _Rules(
        holds_header=_is_ascii_value,
        holds_user_key=lambda key: _AZURE_KEY.fullmatch(key) is not None,
        holds_user_value=lambda value: value != "" and _is_ascii_value(value),
        holds_tag=_is_azure_tag,
        max_header_bytes=8192,
        max_user_bytes=8192,
        folds_case=True,
    ),
    # https://cloud.google.com/storage/docs/metadata#custom-metadata
    "gs": _Rules(
        holds_header=_is_trimmed_text,
        holds_user_key=lambda key: _GCS_KEY.fullmatch(key) is not None,
        holds_user_value=_is_trimmed_text,
        holds_tag=_is_no_tag,
        max_header_bytes=8192,
        max_user_bytes=8192,
        folds_case=False,
    ),
}
