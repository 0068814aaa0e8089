"""What all requests to S3 have in common: what they depend on, and how etags are written."""

from __future__ import annotations

from skyferry.objects import ObjectInfo


def condition(replaces: ObjectInfo | None) -> dict[str, str]:
    return {"If-None-Match": "*"} if replaces is None else {"If-Match": quoted(replaces.etag)}


def quoted(etag: str) -> str:
    return f'"{etag}"'


def unquoted(etag: str) -> str:
    return etag.strip('"')
