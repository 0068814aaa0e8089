"""What requests to S3 have in common: what they depend on, how metadata is told, and how etags are written."""

from __future__ import annotations

import urllib.parse

from skyferry.objects import ObjectInfo, ObjectMetadata

HEADER_FIELDS = {
    "Content-Type": "content_type",
    "Content-Encoding": "content_encoding",
    "Content-Language": "content_language",
    "Content-Disposition": "content_disposition",
    "Cache-Control": "cache_control",
}


def metadata_headers(metadata: ObjectMetadata) -> dict[str, str]:
    headers = {name: value for name, field in HEADER_FIELDS.items() if (value := getattr(metadata, field))}
    headers |= {f"x-amz-meta-{name}": value for name, value in metadata.user.items()}
    if metadata.tags:
        headers["x-amz-tagging"] = urllib.parse.urlencode(metadata.tags)
    return headers


def condition(replaces: ObjectInfo | None) -> dict[str, str]:
    return {"If-None-Match": "*"} if replaces is None else {"If-Match": quoted(replaces.etag)}


def quoted(etag: str) -> str:
    return f'"{etag}"'


def unquoted(etag: str) -> str:
    return etag.strip('"')
