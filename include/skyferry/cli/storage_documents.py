"""What storage verbs write with `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.storage.listing import Entry
from skyferry.storage.removing import Removed
from skyferry.storage.renaming import Renamed
from skyferry.storage.rows import Row
from skyferry.storage.sending import Sent
from skyferry.storage.session import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDocument:
    """An object or a folder; what holds for objects only is null for a folder.

    `checksums` are of the whole content, lower-case hex by algorithm, as far as the store tells them. `metadata` is
    null where a listing does not tell it.
    """

    url: str
    name: str
    is_folder: bool
    size_bytes: int | None
    modified_at: datetime | None
    etag: str | None
    version_id: str | None
    checksums: dict[str, str] | None
    metadata: ObjectMetadata | None
    is_archived: bool
    unreadable_because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingDocument:
    """What `transfer ls` and `transfer find` write, entry by entry as they come: without its end it is no JSON."""

    url: str
    entries: tuple[EntryDocument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDocument:
    """What `transfer du` writes; the folders are those of the depth that was asked for."""

    total: Usage
    folders: tuple[Usage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentDocument:
    """What `transfer put` and `transfer get` write, row by row as they come: without its end it is no JSON.

    In a dry run nothing is copied. `objects` are all that were named.
    """

    is_dry_run: bool
    rows: tuple[Row, ...]
    objects: int
    size_bytes: int
    copied: int
    bytes_copied: int
    skipped: int
    refused: int
    failed: int
    verified_by: dict[str, int]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamedDocument:
    """What `transfer rename` writes, row by row as they come: without its end it is no JSON.

    In a dry run nothing is renamed. `cautions` say what the endpoint could not be held to.
    """

    is_dry_run: bool
    rows: tuple[Row, ...]
    objects: int
    size_bytes: int
    renamed: int
    failed: int
    cautions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedDocument:
    """What `transfer rm` writes, row by row as they come: without its end it is no JSON.

    In a dry run nothing is removed.
    """

    is_dry_run: bool
    rows: tuple[Row, ...]
    objects: int
    size_bytes: int
    removed: int
    already_gone: int
    failed: int


def sent_totals(sent: Sent, *, seconds: float) -> dict[str, JsonValue]:
    """Return what a `SentDocument` says behind its rows."""
    return _totals(sent, SentDocument) | {"verified_by": dict(sent.verified_by), "seconds": round(seconds, 3)}


def renamed_totals(renamed: Renamed) -> dict[str, JsonValue]:
    """Return what a `RenamedDocument` says behind its rows."""
    cautions: list[JsonValue] = [*sorted(renamed.cautions)]
    return _totals(renamed, RenamedDocument) | {"cautions": cautions}


def removed_totals(removed: Removed) -> dict[str, JsonValue]:
    """Return what a `RemovedDocument` says behind its rows."""
    return _totals(removed, RemovedDocument)


def _totals(counts: object, document: type) -> dict[str, JsonValue]:
    """Return the numbers a document and what was counted have in common, in the document's order."""
    values = {name: getattr(counts, name, None) for name in document.__slots__}  # type: ignore[attr-defined]
    return {name: value for name, value in values.items() if isinstance(value, int)}


def entry_document(entry: Entry) -> EntryDocument:
    """Return the document of one entry."""
    info: ObjectInfo | None = entry.info
    return EntryDocument(
        url=entry.url,
        name=entry.name,
        is_folder=info is None,
        size_bytes=info.size_bytes if info else None,
        modified_at=info.modified_at if info else None,
        etag=info.etag if info else None,
        version_id=info.version_id if info else None,
        checksums=dict(info.checksums) if info else None,
        metadata=info.metadata if info else None,
        is_archived=bool(info and info.is_archived),
        unreadable_because=info.unreadable_because if info else "",
    )
