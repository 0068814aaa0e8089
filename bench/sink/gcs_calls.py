"""The calls of Google Cloud Storage's JSON API the contenders make.

Uploads come as one multipart request, or as a resumable session in any number of requests. A session keeps what has
arrived when a request breaks off, says how much that is when asked, and takes no byte twice.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from bench.sink.buckets import LAST_MODIFIED_ISO, Buckets, Digests, StoredObject
from bench.sink.content import base64_text, content_answer
from bench.sink.http_server import Answer, Collected, Intake, Request

_SESSIONS = "/upload/session/"
_JSON = {"Content-Type": "application/json; charset=UTF-8"}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-")
_BUCKET = re.compile(r"(?:/upload)?/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?")


class GcsCalls:
    """Answers the JSON API's requests from the buckets."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._sessions: dict[str, _Session] = {}

    def intake(self, request: Request) -> Intake:
        """Return the session's running digests for its content, and something that collects for everything else."""
        if request.path.startswith(_SESSIONS) and request.method in ("PUT", "POST"):  # Google's Go client posts
            return _Rest(self._buckets, self._sessions[request.path], request)
        return Collected()

    def answer(self, request: Request) -> Answer:
        if request.path.startswith(_SESSIONS):
            return self._continue(request)
        match = _BUCKET.fullmatch(request.path)
        if match is None:
            return Answer(status=501)
        bucket, key = match[1], match[2]
        if request.path.startswith("/upload/"):
            return self._upload(request, bucket)
        if key:
            return Answer(status=204) if request.method == "DELETE" else self._get(request, bucket, key)
        return self._list(request, bucket) if request.path.endswith("/o") else _json({"name": bucket})

    def _list(self, request: Request, bucket: str) -> Answer:
        query = request.query
        after, max_keys = query.get("pageToken", ""), int(query.get("maxResults", 1000))
        found, last = self._buckets.bucket(bucket).page(query.get("prefix", ""), after=after, max_keys=max_keys)
        page: dict[str, Any] = {"kind": "storage#objects", "items": [_resource(bucket, one) for one in found]}
        return _json(page | ({"nextPageToken": last} if last else {}))

    def _get(self, request: Request, bucket: str, key: str) -> Answer:
        stored = self._buckets.bucket(bucket).get(key)
        if stored is None:
            return Answer(status=404, headers=_JSON, body=b'{"error": {"code": 404, "message": "No such object"}}')
        if request.query.get("alt") != "media":
            # Google's own clients read a described object from where this says.
            address = f"http://{request.headers['host']}/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media"
            return _json(_resource(bucket, stored) | {"mediaLink": address})
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Goog-Generation": "1",
            "X-Goog-Hash": f"crc32c={base64_text(stored.crc32c)}",
        }
        return content_answer(self._buckets, request, stored, headers)

    def _upload(self, request: Request, bucket: str) -> Answer:
        if request.query.get("uploadType") == "resumable":
            name = json.loads(request.body or b"{}").get("name") or request.query["name"]
            path = f"{_SESSIONS}{len(self._sessions)}"
            self._sessions[path] = _Session(bucket, name)
            return Answer(headers={"Location": f"http://{request.headers['host']}{path}"})
        resource, content = _parts(request)
        digests = Digests()
        digests.update(content)
        return self._store(bucket, resource.get("name") or request.query["name"], digests)

    def _continue(self, request: Request) -> Answer:
        session = self._sessions.get(request.path)
        if session is None:
            return Answer(status=410, headers=_JSON, body=b'{"error": {"code": 410, "message": "No such session"}}')
        if request.method == "DELETE":
            del self._sessions[request.path]
            return Answer(status=499, headers=_JSON, body=b'{"error": {"code": 499, "message": "Cancelled"}}')
        digests = session.digests
        total = request.headers.get("content-range", "").rpartition("/")[2]
        if total in ("", str(digests.size_bytes)):
            return self._store(session.bucket, session.name, digests)
        kept = {"Range": f"bytes=0-{digests.size_bytes - 1}"} if digests.size_bytes else {}
        if request.headers.get("x-guploader-no-308") == "yes":  # how Google's Go client, and so rclone, asks for it
            return Answer(headers=kept | {"X-Http-Status-Code-Override": "308"})
        return Answer(status=308, headers=kept)

    def _store(self, bucket: str, name: str, digests: Digests) -> Answer:
        md5 = digests.md5
        stored = StoredObject(key=name, size_bytes=digests.size_bytes, etag=md5.hex(), md5=md5, crc32c=digests.crc32c)
        self._buckets.bucket(bucket).put(stored)
        return _json(_resource(bucket, stored))


class _Session:
    """A resumable session: where it leads, and what has arrived."""

    def __init__(self, bucket: str, name: str) -> None:
        self.bucket = bucket
        self.name = name
        self.digests = Digests()


class _Rest:
    """Takes in what a session lacks, of a body that begins where its `Content-Range` says."""

    def __init__(self, buckets: Buckets, session: _Session, request: Request) -> None:
        self._buckets = buckets
        self._session = session
        match = _CONTENT_RANGE.match(request.headers.get("content-range", ""))
        self._position = int(match[1]) if match else session.digests.size_bytes

    def update(self, data: bytes) -> None:
        self._buckets.upload_bytes += len(data)
        known_bytes = max(0, self._session.digests.size_bytes - self._position)
        self._position += len(data)
        self._session.digests.update(data[known_bytes:])


def _parts(request: Request) -> tuple[dict[str, Any], memoryview]:
    """Return the resource and the content of a `multipart/related` body of two parts."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip("\"'").encode()
    body = request.body
    resource_start = body.index(b"\r\n\r\n") + 4
    resource_end = body.index(b"--" + boundary, resource_start)
    content_start = body.index(b"\r\n\r\n", resource_end) + 4
    content_end = body.rindex(b"\r\n--" + boundary)
    return json.loads(body[resource_start:resource_end]), memoryview(body)[content_start:content_end]


def _resource(bucket: str, stored: StoredObject) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "name": stored.key,
        "bucket": bucket,
        "size": str(stored.size_bytes),
        "generation": "1",
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "timeCreated": LAST_MODIFIED_ISO,
        "updated": LAST_MODIFIED_ISO,
        "crc32c": base64_text(stored.crc32c),
        "mediaLink": f"/storage/v1/b/{bucket}/o/{quote(stored.key, safe='')}?alt=media",
    } | ({"md5Hash": base64_text(stored.md5)} if stored.md5 else {})


def _json(values: dict[str, Any]) -> Answer:
    return Answer(headers=_JSON, body=json.dumps(values).encode())
