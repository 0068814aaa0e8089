"""The answers all three kinds of calls share: content with its range, and digests as text."""

from __future__ import annotations

import base64
import re

from bench.sink.buckets import Buckets, StoredObject
from bench.sink.http_server import Answer, Request


def content_answer(buckets: Buckets, request: Request, stored: StoredObject, headers: dict[str, str]) -> Answer:
    """Return what a GET or HEAD of an object answers, with its range; 410 for content that was thrown away."""
    start_byte, end_byte, status = 0, stored.size_bytes, 200
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("x-ms-range", request.headers.get("range", "")))
    if wanted and stored.size_bytes:
        start_byte = int(wanted[1])
        end_byte = min(int(wanted[2] or stored.size_bytes - 1) + 1, stored.size_bytes)
        headers = headers | {"Content-Range": f"bytes {start_byte}-{end_byte - 1}/{stored.size_bytes}"}
        status = 206
    if request.method == "HEAD":
        return Answer(status=status, headers=headers, size_bytes=end_byte - start_byte)
    if stored.starts_at is None:
        return Answer(status=410, body=b"the sink keeps no content")
    content = buckets.content(stored.starts_at, start_byte, end_byte)
    return Answer(status=status, headers=headers, content=content, size_bytes=end_byte - start_byte)


def base64_text(digest: bytes) -> str:
    """Return a digest as headers and JSON carry it."""
    return base64.b64encode(digest).decode()
