"""The promises of Cloud Storage that fake-gcs-server leaves out, put in front of it as documented by the vendor.

fake-gcs-server 1.54 ignores `ifGenerationMatch` on reads, deletes and upload sessions, the CRC32C a multipart upload
declares, and `X-Goog-Hash`; a cancelled session can still be finished; it moves no objects, and copies them under any
condition. Clients that send these rightly must be seen to
get what they ask for, so this front decides them from what the emulator holds, one request at a time.

Source: https://cloud.google.com/storage/docs/request-preconditions and .../docs/data-validation
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from awscrt import checksums as crt

from tests.faults.proxy import Fault, Forward, Request, Response


def cloud_storage() -> Fault:
    """Return the front, for `fault_proxy(..., always=cloud_storage())`."""
    return _Front().respond


class _Front:
    def __init__(self) -> None:
        # Upload session to bucket, key, required generation and the bytes the session was given.
        self._sessions: dict[str, tuple[str, str, str, bytearray]] = {}
        self._lock = asyncio.Lock()

    async def respond(self, request: Request, forward: Forward) -> Response:
        async with self._lock:
            return await self._respond(request, forward)

    async def _respond(self, request: Request, forward: Forward) -> Response:
        parts = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "upload_id" in query:
            return await self._session(request, forward, query["upload_id"])
        if "uploadType" in query:
            return await self._upload(request, forward, parts.path.split("/b/")[1].split("/")[0], query)
        if "/moveTo/o/" in parts.path or "/rewriteTo/b/" in parts.path:
            return await self._rename(request, forward, parts.path, query)
        if "/o/" in parts.path and "ifGenerationMatch" in query:
            bucket, _, key = parts.path.split("/b/")[1].partition("/o/")
            found = await _generation(forward, bucket, key)
            if found is not None and found != query["ifGenerationMatch"]:
                return _error(412, "conditionNotMet", "At least one of the pre-conditions did not hold.")
        return await forward(request)

    async def _upload(self, request: Request, forward: Forward, bucket: str, query: dict[str, str]) -> Response:
        is_session = query["uploadType"] == "resumable"
        resource, content = ({}, b"") if is_session else _multipart(request)
        if is_session:
            resource = json.loads(request.body)
        refusal = await self._refusal(forward, bucket, quote(resource["name"], safe=""), query["ifGenerationMatch"])
        if refusal is not None:
            return refusal
        if not is_session and resource["crc32c"] != _crc32c(content):
            return _checksum_error()
        response = await forward(_without_condition(request, query["ifGenerationMatch"]))
        if is_session and response.status == 200:
            upload_id = parse_qs(urlsplit(response.header("Location")).query)["upload_id"][0]
            key = quote(resource["name"], safe="")
            self._sessions[upload_id] = (bucket, key, query["ifGenerationMatch"], bytearray())
        return response

    async def _session(self, request: Request, forward: Forward, upload_id: str) -> Response:
        if upload_id not in self._sessions:
            return _error(410, "gone", "The upload session was cancelled.")
        bucket, key, condition, content = self._sessions[upload_id]
        if request.method == "DELETE":
            del self._sessions[upload_id]
            return await forward(request)
        content += request.body
        if not request.header("Content-Range").endswith("/*"):
            refusal = await self._refusal(forward, bucket, key, condition)
            if refusal is not None:
                return refusal
            declared = request.header("X-Goog-Hash")
            if declared and declared != f"crc32c={_crc32c(bytes(content))}":
                return _checksum_error()
        return await forward(request)

    async def _rename(self, request: Request, forward: Forward, path: str, query: dict[str, str]) -> Response:
        """Copy an object in the emulator, and delete the original if that is what was asked for."""
        is_move = "/moveTo/o/" in path
        source_path, target = path.split("/moveTo/o/" if is_move else "/rewriteTo/b/")
        bucket, _, key = source_path.split("/b/")[1].partition("/o/")
        target_key = target.partition("/o/")[2] or target
        found = await _generation(forward, bucket, key)
        if found is None:
            return _error(404, "notFound", f"No such object: {bucket}/{key}")
        refusal = await self._refusal(forward, bucket, target_key, query["ifGenerationMatch"])
        if refusal is None and found != query["ifSourceGenerationMatch"]:
            refusal = _error(412, "conditionNotMet", "At least one of the pre-conditions did not hold.")
        if refusal is not None:
            return refusal
        rewrite_path = f"{source_path}/rewriteTo/b/{bucket}/o/{target_key}"
        done = await forward(replace(request, target=rewrite_path))
        if is_move and done.status == 200:
            await forward(Request("DELETE", source_path, (), b""))
            return replace(
                done,
                body=json.dumps(json.loads(done.body)["resource"]).encode(),
                headers=(("Content-Type", "application/json"),),
            )
        return done

    async def _refusal(self, forward: Forward, bucket: str, key: str, condition: str) -> Response | None:
        found = await _generation(forward, bucket, key)
        if (found or "0") == condition:
            return None
        return _error(412, "conditionNotMet", "At least one of the pre-conditions did not hold.")


async def _generation(forward: Forward, bucket: str, key: str) -> str | None:
    """Return the generation an already encoded key shows now."""
    response = await forward(Request("GET", f"/storage/v1/b/{bucket}/o/{key}", (), b""))
    return str(json.loads(response.body)["generation"]) if response.status == 200 else None


def _without_condition(request: Request, condition: str) -> Request:
    # The emulator's own check knows creating only.
    return replace(request, target=request.target.replace(f"ifGenerationMatch={condition}&", ""))


def _multipart(request: Request) -> tuple[dict[str, Any], bytes]:
    boundary = request.header("Content-Type").split("boundary=")[1].encode()
    _, head, rest = request.body.split(b"--" + boundary, 2)
    content = rest[: rest.rindex(b"\r\n--" + boundary)].split(b"\r\n\r\n", 1)[1]
    return json.loads(head.split(b"\r\n\r\n", 1)[1]), content


def _crc32c(content: bytes) -> str:
    return base64.b64encode(crt.crc32c(content).to_bytes(4, "big")).decode()


def _checksum_error() -> Response:
    return _error(400, "invalid", 'Provided CRC32C "x" doesn\'t match calculated CRC32C "y".')


def _error(status: int, reason: str, message: str) -> Response:
    document = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
    return Response(status, (("Content-Type", "application/json"),), json.dumps(document).encode())
