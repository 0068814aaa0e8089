"""The promises of S3 that moto leaves out, put in front of it as documented by the vendor.

moto 5.2.5 stores bodies that do not fit their checksum, ignores `If-Match` when an upload is completed and every
condition of a copy, checks `If-None-Match` without excluding a second writer, answers 500 to a part of an upload that
is over, and lists parts without their checksums. Clients that send these rightly must be seen to get what they ask for,
so this front decides them from what moto holds, one write at a time.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from urllib.parse import parse_qs, quote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from awscrt import checksums as crt

from tests.faults.proxy import Fault, Forward, Headers, Request, Response

_CHECKSUM_HEADER = "x-amz-checksum-crc64nvme"


def simple_storage() -> Fault:
    """Return the front, for `fault_proxy(..., always=simple_storage())`."""
    return _Front().respond


class _Front:
    def __init__(self) -> None:
        self._parts: dict[str, dict[int, bytes]] = {}
        self._over: set[str] = set()
        self._lock = asyncio.Lock()

    async def respond(self, request: Request, forward: Forward) -> Response:
        if request.method not in ("PUT", "POST"):
            return self._with_part_checksums(request, await forward(request))
        async with self._lock:
            return await self._write(request, forward)

    def _with_part_checksums(self, request: Request, response: Response) -> Response:
        """Add what S3 lists of the parts of an upload with checksums."""
        query = parse_qs(urlsplit(request.target).query)
        if request.method != "GET" or "uploadId" not in query or response.status != 200:
            return response
        sent = self._parts.get(query["uploadId"][0], {})
        body = response.body.decode()
        for number, content in sent.items():
            entry = f"<PartNumber>{number}</PartNumber>"
            body = body.replace(entry, f"{entry}<ChecksumCRC64NVME>{_crc64nvme(content)}</ChecksumCRC64NVME>")
        return Response(response.status, _without_digest(response.headers), body.encode())

    async def _write(self, request: Request, forward: Forward) -> Response:
        parts = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if request.method == "POST" and "delete" in query:
            return await _delete(request, forward, parts.path)
        upload_id = query.get("uploadId", "")
        if request.header("x-amz-copy-source"):
            refusal = await _copy_refusal(request, forward, parts.path, is_part=bool(upload_id))
            return refusal or await forward(request)
        if request.method == "PUT" and upload_id in self._over:
            return _error(404, "NoSuchUpload", "The specified upload does not exist.")
        if request.method == "POST" and upload_id:
            refusal = await _refusal(request, forward, parts.path)
            whole = b"".join(body for _, body in sorted(self._parts.get(upload_id, {}).items()))
        else:
            refusal, whole = None, request.body
        declared = request.header(_CHECKSUM_HEADER)
        if refusal is None and declared and declared != _crc64nvme(whole):
            refusal = _error(400, "BadDigest", "The CRC64NVME you specified did not match what we received.")
        if refusal is not None:
            return refusal
        if request.method == "PUT" and upload_id:
            self._parts.setdefault(upload_id, {})[int(query["partNumber"])] = request.body
        response = await forward(request)
        if request.method == "POST" and upload_id and response.status == 200:
            self._over.add(upload_id)
        return response


async def _delete(request: Request, forward: Forward, path: str) -> Response:
    """Delete several objects, those with an etag only if they still have it, as `_refusal` says.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
    """
    root = ET.fromstring(request.body)
    space = root.tag.partition("}")[0] + "}"
    refused = []
    for entry in root.findall(f"{space}Object"):
        key, etag = entry.findtext(f"{space}Key", ""), entry.find(f"{space}ETag")
        if etag is None:
            continue
        headers = (("If-Match", etag.text or ""), ("Authorization", request.header("Authorization")))
        refusal = await _refusal(Request("HEAD", "", headers, b""), forward, f"{path.rstrip('/')}/{quote(key)}")
        entry.remove(etag)
        if refusal is not None and refusal.status == 412:
            root.remove(entry)
            refused.append(f"<Error><Key>{escape(key)}</Key><Code>PreconditionFailed</Code><Message/></Error>")
    forwarded = replace(
        request, body=ET.tostring(root, default_namespace=space[1:-1]), headers=_without_digest(request.headers)
    )
    response = await forward(forwarded)
    body = response.body.decode().replace("</DeleteResult>", "".join(refused) + "</DeleteResult>")
    return Response(response.status, (("Content-Type", "application/xml"),), body.encode())


def _without_digest(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() not in ("content-md5", "content-length"))


async def _copy_refusal(request: Request, forward: Forward, path: str, *, is_part: bool) -> Response | None:
    """Decide the conditions of a copy: those on what is copied, and those on the key that is to show it."""
    signed = (("Authorization", request.header("Authorization")),)
    bucket = request.header("x-amz-copy-source").split("/")[1]
    host_path = path[: path.index(f"/{bucket}/")]
    pinned = Request("HEAD", "", (("If-Match", request.header("x-amz-copy-source-if-match")), *signed), b"")
    refusal = await _refusal(pinned, forward, host_path + request.header("x-amz-copy-source"))
    if refusal is not None or is_part:
        return refusal
    if request.header("If-None-Match") == "*":
        found = await forward(Request("HEAD", path, signed, b""))
        if found.status == 200:
            return _error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    return await _refusal(request, forward, path)


async def _refusal(request: Request, forward: Forward, path: str) -> Response | None:
    required = request.header("If-Match")
    if not required:
        return None
    # moto refuses requests without a signature, and takes any.
    found = await forward(Request("HEAD", path, (("Authorization", request.header("Authorization")),), b""))
    if found.status == 404:
        return _error(404, "NoSuchKey", "The specified key does not exist.")
    if found.header("ETag") != required:
        return _error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    return None


def _crc64nvme(content: bytes) -> str:
    return base64.b64encode(crt.crc64nvme(content).to_bytes(8, "big")).decode()


def _error(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(status, (("Content-Type", "application/xml"),), body.encode())
