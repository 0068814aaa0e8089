"""The calls of Azure Blob Storage the contenders make, at `/account/container/blob`.

Every write is answered with the MD5 of what arrived; that of a blob in blocks is the one its uploader names.
"""

from __future__ import annotations

import base64
import re
from xml.sax.saxutils import escape

from bench.sink.buckets import LAST_MODIFIED, Buckets, Crc64, Digests, PartDigests, StoredObject
from bench.sink.content import base64_text, content_answer
from bench.sink.http_server import Answer, Collected, Intake, Request

_BLOCK = re.compile(rb"<(?:Latest|Uncommitted|Committed)>([^<]+)<")
_VERSION = {"x-ms-version": "2024-11-04", "x-ms-request-id": "0", "x-ms-request-server-encrypted": "true"}


class AzureCalls:
    """Answers Azure's requests from the buckets."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._block_bytes: dict[tuple[str, str], dict[bytes, int]] = {}

    def intake(self, request: Request) -> Intake:
        """Return running digests for content, and something that collects for lists of blocks."""
        if request.method == "PUT" and request.query.get("comp") == "block":
            # As the service does: it computes a CRC64 unless the client names an MD5.
            return PartDigests(self._buckets) if "content-md5" in request.headers else Crc64(self._buckets)
        return Digests() if request.method == "PUT" and "comp" not in request.query else Collected()

    def answer(self, request: Request) -> Answer:
        _, _, rest = request.path.lstrip("/").partition("/")
        bucket, _, key = rest.partition("/")
        if not key:
            return self._answer_for_container(request, bucket)
        if request.method == "PUT":
            return self._put(request, bucket, key)
        if request.method == "DELETE":
            return Answer(status=202, headers=_VERSION)
        return self._get(request, bucket, key)

    def _answer_for_container(self, request: Request, bucket: str) -> Answer:
        if request.query.get("comp") == "list":
            return self._list(request, bucket)
        headers = {**_VERSION, "ETag": '"0x1"', "Last-Modified": LAST_MODIFIED}
        return Answer(status=201 if request.method == "PUT" else 200, headers=headers)

    def _list(self, request: Request, bucket: str) -> Answer:
        query = request.query
        max_keys = int(query.get("maxresults", 5000))
        prefix, after = query.get("prefix", ""), query.get("marker", "")
        found, last = self._buckets.bucket(bucket).page(prefix, after=after, max_keys=max_keys)
        entries = "".join(
            f"<Blob><Name>{escape(one.key)}</Name><Properties><Last-Modified>{LAST_MODIFIED}</Last-Modified>"
            f"<Etag>{_etag(one)}</Etag><Content-Length>{one.size_bytes}</Content-Length>"
            f"<Content-Type>application/octet-stream</Content-Type>"
            f"<Content-MD5>{base64_text(one.md5) if one.md5 else ''}</Content-MD5>"
            f"<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for one in found
        )
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{bucket}">'
            f"<Blobs>{entries}</Blobs><NextMarker>{last}</NextMarker></EnumerationResults>"
        )
        return Answer(headers={**_VERSION, "Content-Type": "application/xml"}, body=body.encode())

    def _get(self, request: Request, bucket: str, key: str) -> Answer:
        if request.query.get("comp") == "blocklist":
            return self._list_blocks(bucket, key)
        stored = self._buckets.bucket(bucket).get(key)
        if stored is None:
            return Answer(status=404, headers={**_VERSION, "x-ms-error-code": "BlobNotFound"})
        headers = {**_VERSION, "ETag": _etag(stored), "Last-Modified": LAST_MODIFIED, "x-ms-blob-type": "BlockBlob"}
        headers |= {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **stored.metadata}
        if stored.md5:
            headers["x-ms-blob-content-md5"] = base64_text(stored.md5)
            if "range" not in request.headers and "x-ms-range" not in request.headers:
                headers["Content-MD5"] = base64_text(stored.md5)
        return content_answer(self._buckets, request, stored, headers)

    def _list_blocks(self, bucket: str, key: str) -> Answer:
        blocks = "".join(
            f"<Block><Name>{name.decode()}</Name><Size>{size_bytes}</Size></Block>"
            for name, size_bytes in self._block_bytes.get((bucket, key), {}).items()
        )
        body = f"<BlockList><UncommittedBlocks>{blocks}</UncommittedBlocks></BlockList>"
        return Answer(headers={**_VERSION, "Content-Type": "application/xml"}, body=body.encode())

    def _put(self, request: Request, bucket: str, key: str) -> Answer:
        if request.query.get("comp") == "blocklist":
            return self._commit(request, bucket, key)
        digests = request.intake
        if isinstance(digests, Crc64):
            self._keep_block(request, bucket, key, digests.size_bytes)
            return Answer(status=201, headers={**_VERSION, "x-ms-content-crc64": base64_text(digests.crc64)})
        assert isinstance(digests, Digests)
        headers = {**_VERSION, "Content-MD5": base64_text(digests.md5)}
        if request.query.get("comp") == "block":
            self._keep_block(request, bucket, key, digests.size_bytes)
            return Answer(status=201, headers=headers)
        stored = StoredObject(
            key=key,
            size_bytes=digests.size_bytes,
            etag=digests.md5.hex(),
            md5=digests.md5,
            crc32c=digests.crc32c,
            metadata=_metadata(request),
        )
        return self._stored(bucket, stored, headers)

    def _keep_block(self, request: Request, bucket: str, key: str, size_bytes: int) -> None:
        self._block_bytes.setdefault((bucket, key), {})[request.query["blockid"].encode()] = size_bytes

    def _commit(self, request: Request, bucket: str, key: str) -> Answer:
        block_bytes = self._block_bytes.pop((bucket, key), {})
        names = _BLOCK.findall(request.body)
        named_md5 = request.headers.get("x-ms-blob-content-md5")
        stored = StoredObject(
            key=key,
            size_bytes=sum(block_bytes[name] for name in names),
            etag=f"blocks-{len(names)}",
            md5=base64.b64decode(named_md5) if named_md5 else None,
            crc32c=b"",
            metadata=_metadata(request),
        )
        return self._stored(bucket, stored, dict(_VERSION))

    def _stored(self, bucket: str, stored: StoredObject, headers: dict[str, str]) -> Answer:
        self._buckets.bucket(bucket).put(stored)
        return Answer(status=201, headers={**headers, "ETag": _etag(stored), "Last-Modified": LAST_MODIFIED})


def _etag(stored: StoredObject) -> str:
    return f'"0x{stored.etag}"'


def _metadata(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.startswith("x-ms-meta-")}
