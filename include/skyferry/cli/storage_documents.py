"""What storage verbs write with `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.storage.listing import Entry
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
