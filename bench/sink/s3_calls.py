"""The calls of S3 the contenders make, with the bucket in the path.

Uploads may come raw or `aws-chunked`, in one piece or in parts. The etag is the MD5, or that of the parts' MD5s. Like
S3, the sink has a CRC64NVME of every object, tells it to whoever asks, and refuses content that does not fit the one it
was sent with.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote
from xml.sax.saxutils import escape

from awscrt import checksums as crt

from bench.sink.buckets import LAST_MODIFIED, LAST_MODIFIED_ISO, Buckets, Digests, PartDigests, StoredObject
from bench.sink.content import base64_text, content_answer
from bench.sink.http_server import Answer, Collected, Intake, Request

_PART_ETAG = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([0-9a-f]{32})")
_XML = {"Content-Type": "application/xml"}
_CRC = "x-amz-checksum-crc64nvme"
_BAD_DIGEST = b"<Error><Code>BadDigest</Code><Message>The CRC64NVME does not match what we received.</Message></Error>"


class S3Calls:
    """Answers S3's requests from the buckets."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._uploads: dict[str, dict[str, str]] = {}
        self._parts: dict[str, dict[int, Digests]] = {}

    def intake(self, request: Request) -> Intake:
        """Return running digests for raw content, and something that collects for everything else."""
        is_framed = request.headers.get("x-amz-content-sha256", "").startswith("STREAMING")
        if request.method != "PUT" or is_framed:
            return Collected()
        return PartDigests(self._buckets) if "uploadId" in request.query else Digests()

    def answer(self, request: Request) -> Answer:
        bucket, _, key = request.path.lstrip("/").partition("/")
        if not key:
            return self._answer_for_bucket(request, bucket)
        match request.method:
            case "PUT":
                return self._put(request, bucket, key)
            case "POST":
                return self._start(request, bucket, key) if "uploads" in request.query else self._complete(request, key)
            case "DELETE":
                return Answer(status=204)
            case _ if "uploadId" in request.query:
                return self._list_parts(request.query["uploadId"])
            case _:
                return self._get(request, bucket, key)

    def _answer_for_bucket(self, request: Request, bucket: str) -> Answer:
        if request.method in ("HEAD", "PUT"):
            return Answer()
        if "location" in request.query:
            return Answer(headers=_XML, body=b"<LocationConstraint/>")
        return self._list(request, bucket)

    def _list(self, request: Request, bucket: str) -> Answer:
        query = request.query
        after = query.get("continuation-token") or query.get("start-after") or query.get("marker", "")
        max_keys = int(query.get("max-keys", 1000))
        wanted = self._buckets.bucket(bucket)
        list_page = wanted.level if query.get("delimiter") == "/" else wanted.page
        found, last = list_page(query.get("prefix", ""), after=after, max_keys=max_keys)
        is_quoted = query.get("encoding-type") == "url"
        entries = "".join(_entry(one, quote if is_quoted else escape) for one in found)
        more = f"<NextContinuationToken>{last}</NextContinuationToken><NextMarker>{last}</NextMarker>" if last else ""
        body = (
            f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><KeyCount>{len(found)}</KeyCount><MaxKeys>{max_keys}</MaxKeys>"
            f"<IsTruncated>{'true' if last else 'false'}</IsTruncated>{'<EncodingType>url</EncodingType>' * is_quoted}"
            f"{entries}{more}</ListBucketResult>"
        )
        return Answer(headers=_XML, body=body.encode())

    def _get(self, request: Request, bucket: str, key: str) -> Answer:
        stored = self._buckets.bucket(bucket).get(key)
        if stored is None:
            return Answer(status=404, headers=_XML, body=b"<Error><Code>NoSuchKey</Code></Error>")
        headers = {
            "ETag": f'"{stored.etag}"',
            "Last-Modified": LAST_MODIFIED,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            **stored.metadata,
        }
        if stored.crc64 and "x-amz-checksum-mode" in request.headers:
            headers |= {_CRC: base64_text(stored.crc64), "x-amz-checksum-type": "FULL_OBJECT"}
        return content_answer(self._buckets, request, stored, headers)

    def _put(self, request: Request, bucket: str, key: str) -> Answer:
        digests = request.intake if isinstance(request.intake, Digests) else _digests_of_chunks(request.body)
        if request.headers.get(_CRC, base64_text(digests.crc64)) != base64_text(digests.crc64):
            return Answer(status=400, headers=_XML, body=_BAD_DIGEST)
        if upload_id := request.query.get("uploadId"):
            self._parts[upload_id][int(request.query["partNumber"])] = digests
        else:
            self._buckets.bucket(bucket).put(
                StoredObject(
                    key=key,
                    size_bytes=digests.size_bytes,
                    etag=digests.md5.hex(),
                    md5=digests.md5,
                    crc32c=digests.crc32c,
                    crc64=digests.crc64,
                    metadata=_metadata(request),
                )
            )
        return Answer(headers={"ETag": f'"{digests.md5.hex()}"', _CRC: base64_text(digests.crc64)})

    def _start(self, request: Request, bucket: str, key: str) -> Answer:
        upload_id = f"upload-{len(self._uploads)}"
        self._uploads[upload_id] = {"bucket": bucket, **_metadata(request)}
        self._parts[upload_id] = {}
        body = f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
        # S3 tells the algorithm to those who named one.
        algorithm = request.headers.get("x-amz-checksum-algorithm")
        told = {"x-amz-checksum-algorithm": algorithm} if algorithm == "CRC64NVME" else {}
        return Answer(headers=_XML | told, body=body.encode())

    def _list_parts(self, upload_id: str) -> Answer:
        if upload_id not in self._parts:
            return Answer(status=404, headers=_XML, body=b"<Error><Code>NoSuchUpload</Code></Error>")
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{part.md5.hex()}&quot;</ETag>"
            f"<Size>{part.size_bytes}</Size><ChecksumCRC64NVME>{base64_text(part.crc64)}</ChecksumCRC64NVME></Part>"
            for number, part in sorted(self._parts[upload_id].items())
        )
        body = f"<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>"
        return Answer(headers=_XML, body=body.encode())

    def _complete(self, request: Request, key: str) -> Answer:
        upload_id = request.query["uploadId"]
        metadata, parts = dict(self._uploads[upload_id]), self._parts[upload_id]
        by_md5 = {part.md5.hex(): part for part in parts.values()}
        md5s = [found.decode() for found in _PART_ETAG.findall(request.body)]
        crc64 = _combined([by_md5[md5] for md5 in md5s])
        if request.headers.get(_CRC, base64_text(crc64)) != base64_text(crc64):
            return Answer(status=400, headers=_XML, body=_BAD_DIGEST)
        whole = hashlib.md5(bytes.fromhex("".join(md5s)), usedforsecurity=False).hexdigest()
        stored = StoredObject(
            key=key,
            size_bytes=sum(by_md5[md5].size_bytes for md5 in md5s),
            etag=f"{whole}-{len(md5s)}",
            md5=None,
            crc32c=b"",
            crc64=crc64,
            metadata={name: value for name, value in metadata.items() if name != "bucket"},
        )
        self._buckets.bucket(metadata["bucket"]).put(stored)
        del self._parts[upload_id]
        checksum = (
            f"<ChecksumCRC64NVME>{base64_text(crc64)}</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>"
        )
        etag = f"<ETag>&quot;{stored.etag}&quot;</ETag>"
        body = f"<CompleteMultipartUploadResult>{etag}{checksum}</CompleteMultipartUploadResult>"
        return Answer(headers=_XML, body=body.encode())


def _entry(one: StoredObject | str, as_text: Callable[[str], str]) -> str:
    if isinstance(one, str):
        return f"<CommonPrefixes><Prefix>{as_text(one)}</Prefix></CommonPrefixes>"
    return (
        f"<Contents><Key>{as_text(one.key)}</Key>"
        f"<LastModified>{LAST_MODIFIED_ISO}</LastModified><ETag>&quot;{one.etag}&quot;</ETag>"
        f"<Size>{one.size_bytes}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _combined(parts: list[Digests]) -> bytes:
    whole = 0
    for part in parts:
        whole = crt.combine_crc64nvme(whole, int.from_bytes(part.crc64, "big"), part.size_bytes)
    return whole.to_bytes(8, "big")


def _metadata(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.startswith("x-amz-meta-")}


def _digests_of_chunks(body: bytes) -> Digests:
    """Return the digests of a body in `aws-chunked` encoding: `<hex size>[;extension]`, bytes, and so on, trailers."""
    digests, place = Digests(), 0
    while True:
        line_end = body.index(b"\r\n", place)
        size_bytes = int(body[place:line_end].partition(b";")[0], 16)
        if not size_bytes:
            return digests
        place = line_end + 2
        digests.update(body[place : place + size_bytes])
        place += size_bytes + 2
