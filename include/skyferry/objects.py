"""What the stores say about objects: the frozen values that travel between the stages of a transfer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# `json.dumps` would make an encoder for each line, which costs as much as a short line.
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMetadata:
    """What an object carries beside its bytes, in the source's own spelling.

    Header fields are empty strings when the store has none. `withheld` says in words what the object carries but the
    credentials did not allow to be read (tags have a right of their own); it belongs into the report of losses.
    """

    content_type: str = ""
    content_encoding: str = ""
    content_language: str = ""
    content_disposition: str = ""
    cache_control: str = ""
    user: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One version of one object, as its store describes it.

    Attributes:
        key: Full name inside the bucket; for a local folder the path below it, with `/`.
        size_bytes: Length of the content.
        etag: The store's opaque version token, without quotes. Compared only with itself, never across stores.
        version_id: S3 version id, GCS generation or Azure version id, where the store keeps versions.
        modified_at: When the store took the object in, with time zone.
        checksums: Algorithm (`md5`, `crc32`, `crc32c`, `crc64nvme`, `sha1`, `sha256`) to lower-case hex digest
            of the *whole* content, as published by the store. Composite checksums do not belong here.
        etag_may_be_md5: The etag looks like an MD5. If it equals one, that proves equal content; if it differs
            from one, that proves nothing (S3 objects under KMS have etags of the same shape).
        metadata: None when the call that made this value does not tell (most listings).
        is_archived: Cannot be read before it is restored.
        unreadable_because: Why this name is listed but is no object (a symbolic link, a pipe); empty for objects.
    """

    key: str
    size_bytes: int
    etag: str
    version_id: str | None = None
    modified_at: datetime | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    etag_may_be_md5: bool = False
    metadata: ObjectMetadata | None = None
    is_archived: bool = False
    unreadable_because: str = ""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A leading part of keys, ending in `/`; a listing of one level shows it in place of all that is below it."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A destination key that now shows the whole new object.

    Attributes:
        info: The new version (key, size, etag, version id).
        verified_by: What in the store's own answer proved that it holds the bytes that were sent: `md5`, `crc32c`,
            `etag` (a composite of the parts' MD5), `readback`. None when its answer proves nothing; the caller must
            then read the object back.
    """

    info: ObjectInfo
    verified_by: str | None


def info_to_json(info: ObjectInfo) -> dict[str, Any]:
    """Return the description as plain JSON values, leaving out what is empty."""
    values = {
        "key": info.key,
        "size_bytes": info.size_bytes,
        "etag": info.etag,
        "version_id": info.version_id,
        "modified_at": info.modified_at.isoformat() if info.modified_at else None,
        "checksums": dict(info.checksums),
        "etag_may_be_md5": info.etag_may_be_md5,
        "metadata": _metadata_to_json(info.metadata),
        "is_archived": info.is_archived,
        "unreadable_because": info.unreadable_because,
    }
    always = {"key", "size_bytes", "etag"} | ({"metadata"} if info.metadata is not None else set())
    return {name: value for name, value in values.items() if value or name in always}


def info_from_json(data: str | Mapping[str, Any]) -> ObjectInfo:
    """Undo `info_to_json`, from the values or from their JSON text."""
    values = dict(json.loads(data) if isinstance(data, str) else data)
    if "modified_at" in values:
        values["modified_at"] = datetime.fromisoformat(values["modified_at"])
    if "metadata" in values:
        metadata = values["metadata"]
        values["metadata"] = ObjectMetadata(**{**metadata, "withheld": tuple(metadata.get("withheld", ()))})
    return ObjectInfo(**values)


def json_line(values: Mapping[str, Any]) -> str:
    """Return values as one line of ASCII JSON: any key fits into it, lone surrogates included."""
    return _encode(values)


def _metadata_to_json(metadata: ObjectMetadata | None) -> dict[str, Any] | None:
    if metadata is None:
        return None
    # dataclasses.asdict would copy everything, which costs 0.1 ms for each object of a manifest.
    values = ((name, getattr(metadata, name)) for name in metadata.__slots__)
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values if value}
