"""What all requests to Azure have in common: how often they are sent, what they depend on, how metadata is told."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob import ContentSettings

from skyferry.objects import ObjectInfo, ObjectMetadata

# One request each, and never to another host than the connection names.
ONE_REQUEST: Mapping[str, Any] = {"retry_total": 0, "permit_redirects": False}
_HEADER_FIELDS = {
    "x-ms-blob-content-type": "content_type",
    "x-ms-blob-content-encoding": "content_encoding",
    "x-ms-blob-content-language": "content_language",
    "x-ms-blob-content-disposition": "content_disposition",
    "x-ms-blob-cache-control": "cache_control",
}
WRITE_RIGHT = "Storage Blob Data Contributor (Owner for tags), or a SAS with the letters c and w (and t for tags)"


def metadata_arguments(metadata: ObjectMetadata, md5: str) -> dict[str, Any]:
    settings = ContentSettings(
        content_type=metadata.content_type or None,
        content_encoding=metadata.content_encoding or None,
        content_language=metadata.content_language or None,
        content_disposition=metadata.content_disposition or None,
        cache_control=metadata.cache_control or None,
        content_md5=bytearray.fromhex(md5),
    )
    arguments: dict[str, Any] = {"content_settings": settings, "metadata": dict(metadata.user)}
    if metadata.tags:
        arguments["tags"] = dict(metadata.tags)
    return arguments


def metadata_headers(metadata: ObjectMetadata) -> dict[str, str]:
    """Return the headers that a blob is written with, its MD5 aside."""
    headers = {name: value for name, field in _HEADER_FIELDS.items() if (value := getattr(metadata, field))}
    headers |= {f"x-ms-meta-{name}": value for name, value in metadata.user.items()}
    if metadata.tags:
        headers["x-ms-tags"] = urllib.parse.urlencode(metadata.tags, quote_via=urllib.parse.quote)
    return headers


def condition_headers(replaces: ObjectInfo | None) -> dict[str, str]:
    return {"If-None-Match": "*"} if replaces is None else {"If-Match": quoted(replaces.etag)}


def condition(replaces: ObjectInfo | None) -> dict[str, Any]:
    if replaces is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"etag": quoted(replaces.etag), "match_condition": MatchConditions.IfNotModified}


def quoted(etag: str) -> str:
    return f'"{etag}"'


def unquoted(etag: str) -> str:
    return etag.strip('"')


def hex_of_md5(md5: bytes | bytearray | None) -> str:
    return bytes(md5).hex() if md5 else ""
