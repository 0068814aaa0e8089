"""What all requests to Azure have in common: what they depend on, how metadata is told, what writing needs."""

from __future__ import annotations

import urllib.parse

from skyferry.objects import ObjectInfo, ObjectMetadata

_HEADER_FIELDS = {
    "x-ms-blob-content-type": "content_type",
    "x-ms-blob-content-encoding": "content_encoding",
    "x-ms-blob-content-language": "content_language",
    "x-ms-blob-content-disposition": "content_disposition",
    "x-ms-blob-cache-control": "cache_control",
}
WRITE_RIGHT = "Storage Blob Data Contributor (Owner for tags), or a SAS with the letters c and w (and t for tags)"


def metadata_headers(metadata: ObjectMetadata) -> dict[str, str]:
    """Return the headers that a blob is written with, its MD5 aside."""
    headers = {name: value for name, field in _HEADER_FIELDS.items() if (value := getattr(metadata, field))}
    headers |= {f"x-ms-meta-{name}": value for name, value in metadata.user.items()}
    if metadata.tags:
        headers["x-ms-tags"] = urllib.parse.urlencode(metadata.tags, quote_via=urllib.parse.quote)
    return headers


def condition_headers(replaces: ObjectInfo | None) -> dict[str, str]:
    return {"If-None-Match": "*"} if replaces is None else {"If-Match": quoted(replaces.etag)}


def quoted(etag: str) -> str:
    return f'"{etag}"'


def unquoted(etag: str) -> str:
    return etag.strip('"')
