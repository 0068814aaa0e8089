"""Google Cloud Storage as a store, by its JSON API: conditional on generations, checked by CRC32C.

A small object is one multipart request that declares its CRC32C. A large one is a resumable session with two requests:
one streams every part but the last, the other brings the last part together with the CRC32C of the whole, so that the
service itself can refuse to show other bytes. Every answer holds the CRC32C of what was stored, and is compared.

A session whose stream broke is asked how much of it was kept, and goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from skyferry.checksums import base64_of, hex_of
from skyferry.content_memory import Content
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    BucketNotEmptyError,
    ChecksumMismatchError,
    ConnectionConfigError,
    ConnectionLostError,
    DestinationChangedError,
    PermanentError,
    SizeMismatchError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
    UploadLostError,
)
from skyferry.key_order import in_key_order
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata, Prefix
from skyferry.stores.base import Capabilities, EtagDigest, UploadToken, delete_each
from skyferry.stores.gcs_api import (
    WRITE_RIGHTS,
    AlreadyExistsError,
    BucketConflictError,
    ConditionNotMetError,
    GcsApi,
    TokenProvider,
    bucket_path,
    object_path,
)
from skyferry.stores.gcs_copy import GcsCopy
from skyferry.stores.gcs_upload import GcsUpload
from skyferry.stores.http_requests import Answer, Line, Target, stream_of
from skyferry.stores.renaming import rename_by_copy

_KIBIBYTE = 2**10
_PAGE_KEYS = 1_000
# Above this size a body is not copied to put what goes before and after it into one piece.
_JOINED_BYTES = 256 * 1024
_DEFAULT_TYPE = "application/octet-stream"
_HEADER_FIELDS = {
    "contentType": "content_type",
    "contentEncoding": "content_encoding",
    "contentLanguage": "content_language",
    "contentDisposition": "content_disposition",
    "cacheControl": "cache_control",
}
_OBJECT_FIELDS = ",".join(
    ("name", "size", "generation", "timeCreated", "crc32c", "md5Hash", "metadata", *_HEADER_FIELDS)
)
# Else the service undoes Content-Encoding: gzip; https://cloud.google.com/storage/docs/transcoding
_RAW = {"Accept-Encoding": "gzip"}


class GcsStore:
    """One bucket; implements `skyferry.stores.base.Store`.

    An object's etag is its generation: it changes whenever the content does, and every request names it. Listings tell
    content headers and user metadata, so that a listed object is read with one request.

    Args:
        line: How the endpoint is reached; it stays the caller's to close.
        token: Returns an access token that is valid now, or None for anonymous access; called for every request.
        bucket: Name of the bucket.
        endpoint: Scheme, host and port of the JSON API.
        project_id: Where `create_bucket` creates it.
    """

    kind = "gs"
    # Limits: https://cloud.google.com/storage/quotas#objects; the multiple and the order of parts:
    # https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload
    capabilities = Capabilities(
        lists_in_key_order=True,
        parts_in_order=True,
        digests=frozenset({"crc32c"}),
        commit_digests=frozenset({"crc32c"}),
        min_part_bytes=256 * _KIBIBYTE,
        part_multiple_bytes=256 * _KIBIBYTE,
        max_part_bytes=2**30,
        max_parts=2**31,
        max_object_bytes=5 * 2**40,
        publishes=frozenset({"md5", "crc32c"}),
        publishes_of_parts=frozenset({"md5", "crc32c"}),
        holds_metadata=True,
        reads_are_trusted=False,
    )

    def __init__(
        self,
        line: Line,
        token: TokenProvider,
        bucket: str,
        *,
        endpoint: str = "https://storage.googleapis.com",
        project_id: str | None = None,
    ) -> None:
        self.api = GcsApi(line, token, endpoint)
        self.bucket = bucket
        self._project_id = project_id

    def url(self, key: str = "") -> str:
        return f"gs://{self.bucket}/{key}"

    async def aclose(self) -> None:
        """The line is the caller's to close."""

    async def check_bucket(self) -> None:
        # A listing of one key, because reading a bucket's properties needs a right that object roles do not include.
        target = Target(action="looking at", url=self.url(), needs="storage.objects.list", absent="bucket")
        address = self.api.address(f"/storage/v1{bucket_path(self.bucket)}/o", {"maxResults": 1, "fields": "kind"})
        await self.api.ask("GET", address, target)

    async def create_bucket(self) -> None:
        if not self._project_id:
            raise ConnectionConfigError(
                f"creating {self.url()} failed: the connection names no project",
                hint="set its project id, or create the bucket yourself",
            )
        target = Target(action="creating", url=self.url(), needs="storage.buckets.create", absent="project")
        address = self.api.address("/storage/v1/b", {"project": self._project_id, "fields": "name"})
        body = json.dumps({"name": self.bucket}).encode()
        try:
            await self.api.ask("POST", address, target, headers={"Content-Type": "application/json"}, body=body)
        except AlreadyExistsError:
            await self.check_bucket()  # names are global: it may be somebody else's

    async def delete_bucket(self) -> None:
        target = Target(action="deleting", url=self.url(), needs="storage.buckets.delete", absent="bucket")
        try:
            await self.api.ask("DELETE", self.api.address(f"/storage/v1{bucket_path(self.bucket)}"), target)
        except BucketMissingError:
            return
        except (BucketConflictError, ConditionNotMetError):  # the latter is fake-gcs-server's answer
            raise BucketNotEmptyError(f"{self.url()} is not empty", hint="old generations count, too") from None

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        # `startOffset` is inclusive.
        async for page, target in self._pages(prefix, {"startOffset": start_after}, fields=""):
            for info in describe_all(page.get("items", ()), target):
                if info.key != start_after:
                    yield info

    async def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        told: set[str] = set()  # fake-gcs-server 1.54 tells prefixes again on later pages
        async for page, target in self._pages(prefix, {"delimiter": "/"}, fields=",prefixes"):
            prefixes = [Prefix(str(key)) for key in page.get("prefixes", ()) if key not in told]
            told.update(each.key for each in prefixes)
            for entry in in_key_order([*describe_all(page.get("items", ()), target), *prefixes]):
                yield entry

    async def _pages(
        self, prefix: str, options: Mapping[str, str], *, fields: str
    ) -> AsyncIterator[tuple[Mapping[str, Any], Target]]:
        target = Target(action="listing", url=self.url(prefix), needs="storage.objects.list", absent="bucket")
        query: dict[str, str | int] = {
            "prefix": prefix,
            **options,
            "maxResults": _PAGE_KEYS,
            "fields": f"nextPageToken,items({_OBJECT_FIELDS}){fields}",
        }
        while True:
            address = self.api.address(f"/storage/v1{bucket_path(self.bucket)}/o", query)
            page = (await self.api.ask("GET", address, target)).json()
            yield page, target
            token = page.get("nextPageToken")
            if not token:
                return
            if token == query.get("pageToken"):
                raise ConnectionLostError(
                    f"listing {self.url(prefix)} goes round in circles: the store gave the same continuation twice"
                )
            query["pageToken"] = token

    async def stat(self, key: str) -> ObjectInfo | None:
        target = self.target("looking at", key, needs="storage.objects.get")
        address = self._object_address(key, {"fields": _OBJECT_FIELDS})
        try:
            answer = await self.api.ask("GET", address, target)
            return describe_all([answer.json()], target)[0]
        except SourceMissingError:
            return None

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, Content]:
        """As the protocol says: one request for a listed object, two for one that was described without metadata."""
        if info.metadata is None:
            found = await self.stat(info.key)
            if found is None:
                raise SourceMissingError(f"{self.url(info.key)} is gone")
            if found.etag != info.etag:
                raise self.changed(info)
            info = found
        return info, await self._get(info, 0, info.size_bytes, is_whole=True)

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> Content:
        return await self._get(info, start_byte, size_bytes, is_whole=False)

    async def etag_digest(self, info: ObjectInfo) -> EtagDigest | None:
        """Return None: a generation is not made from content."""
        del info
        return None

    async def _get(self, info: ObjectInfo, start_byte: int, size_bytes: int, *, is_whole: bool) -> Content:
        target = self.target("reading", info.key, needs="storage.objects.get")
        address = self._object_address(info.key, {"alt": "media", "ifGenerationMatch": info.etag})
        span = {} if is_whole or not size_bytes else {"Range": f"bytes={start_byte}-{start_byte + size_bytes - 1}"}

        def accept(_: int, found: Mapping[str, str]) -> None:
            if found.get("X-Goog-Generation", info.etag) != info.etag:
                raise self.changed(info)

        try:
            answer = await self.api.ask(
                "GET", address, target, headers=_RAW | span, size_bytes=size_bytes, accept=accept
            )
        except ConditionNotMetError:
            raise self.changed(info) from None
        if len(answer.body) != size_bytes:
            raise SizeMismatchError(
                f"read {len(answer.body):,} of {size_bytes:,} bytes of {self.url(info.key)} from byte {start_byte:,}"
            )
        return answer.body

    def changed(self, info: ObjectInfo) -> SourceChangedError:
        return SourceChangedError(
            f"{self.url(info.key)} is no longer the version that was planned (generation {info.etag})",
            hint="it was left alone and will be looked at again",
        )

    async def put_object(
        self,
        key: str,
        body: Content,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        resource = _resource(key, metadata) | {"crc32c": base64_of(digests["crc32c"])}
        if "md5" in digests:
            resource["md5Hash"] = base64_of(digests["md5"])
        boundary = secrets.token_hex(16)
        head = _multipart_head(boundary, resource, metadata.content_type or _DEFAULT_TYPE)
        tail = f"\r\n--{boundary}--\r\n".encode()
        size_bytes = len(head) + len(body) + len(tail)
        headers = {"Content-Type": f"multipart/related; boundary={boundary}", "Content-Length": str(size_bytes)}
        answer = await self.write(
            "POST",
            self._upload_address(key, "multipart", replaces),
            key,
            headers=headers,
            body=b"".join((head, body, tail)) if size_bytes <= _JOINED_BYTES else stream_of(head, body, tail),
            size_bytes=size_bytes,
        )
        return await self.committed(key, answer, digests["crc32c"])

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> GcsUpload:
        content_type = metadata.content_type or _DEFAULT_TYPE
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "X-Upload-Content-Type": content_type,
            "X-Upload-Content-Length": str(size_bytes),
        }
        body = json.dumps(_resource(key, metadata)).encode()
        address = self._upload_address(key, "resumable", replaces)
        answer = await self.write("POST", address, key, headers=headers, body=body)
        location = answer.headers.get("Location")
        if not location:
            raise ConnectionLostError(f"writing {self.url(key)} failed: the store gave no upload session")
        session_address = self.api.session_address(location)
        return GcsUpload(
            self,
            key,
            session_address,
            size_bytes=size_bytes,
            part_bytes=part_bytes,
            content_type=content_type,
            replaces=replaces,
        )

    async def resume_upload(
        self,
        key: str,
        token: UploadToken,
        *,
        size_bytes: int,
        part_bytes: int,
        metadata: ObjectMetadata,
        replaces: ObjectInfo | None,
    ) -> GcsUpload | None:
        """As the protocol says; one request for how much was kept.

        The condition on what the key shows was fixed when the session began, so another one needs another session.
        """
        address = self._address_of(token)
        if address is None or token.get("replaces") != (replaces.etag if replaces else ""):
            return None
        upload = GcsUpload(
            self,
            key,
            address,
            size_bytes=size_bytes,
            part_bytes=part_bytes,
            content_type=metadata.content_type or _DEFAULT_TYPE,
            replaces=replaces,
        )
        return upload if await upload.find_kept() else None

    async def abort_upload(self, key: str, token: UploadToken) -> None:
        address = self._address_of(token)
        if address is not None:
            await self.end_session(key, address)

    def _address_of(self, token: UploadToken) -> str | None:
        """Return the address of a recorded session; None for what is none: a record must not name other resources."""
        address = self.api.session_address(token.get("session", ""))
        path = urlsplit(address).path.removeprefix(urlsplit(self.api.address("")).path)
        return address if path.startswith("/upload/") and "/../" not in path else None

    async def end_session(self, key: str, address: str) -> None:
        """Throw away what a session has kept; one that is gone already is fine.

        The service answers 499 to a cancelled session, and drops one it was not told about after a week:
        https://cloud.google.com/storage/docs/performing-resumable-uploads#cancel-upload
        """
        target = self.target("abandoning the upload of", key, needs=WRITE_RIGHTS, absent="session")
        with contextlib.suppress(UploadLostError):
            await self.api.ask("DELETE", address, target, headers={"Content-Length": "0"})

    async def write(
        self,
        method: str,
        address: str,
        key: str,
        *,
        headers: Mapping[str, str],
        body: Content | AsyncIterator[memoryview],
        size_bytes: int | None = 0,
        absent: str = "bucket",
    ) -> Answer:
        target = self.target("writing", key, needs=WRITE_RIGHTS, absent=absent)
        try:
            return await self.api.ask(method, address, target, headers=headers, body=body, size_bytes=size_bytes)
        except ConditionNotMetError:
            raise DestinationChangedError(
                f"{self.url(key)} was written or removed by somebody else since it was looked at",
                hint="it was left alone",
            ) from None

    async def committed(self, key: str, answer: Answer, crc32c: str) -> Committed:
        """Compare what the store says it holds with what was sent; wrong content is removed again."""
        info = describe_all([answer.json()], answer.target)[0]
        found = info.checksums.get("crc32c")
        if found is None or found == crc32c:
            return Committed(info=info, verified_by="crc32c" if found else None)
        what = f"{self.url(key)} was stored with crc32c {found}; {crc32c} was sent"
        try:
            await self.delete_object(info)
        except TransferError as error:
            mismatch = ChecksumMismatchError(what, hint="it could not be removed; a retry replaces it")
            mismatch.wrong_etag = info.etag
            raise mismatch from error
        raise ChecksumMismatchError(what, hint="that generation was removed again")

    async def delete_object(self, info: ObjectInfo) -> bool:
        """As the protocol says; with soft delete or versioning on, the bucket keeps what it is set to keep."""
        target = self.target("deleting", info.key, needs="storage.objects.delete")
        address = self._object_address(info.key, {"ifGenerationMatch": info.etag})
        try:
            await self.api.ask("DELETE", address, target)
        except SourceMissingError:
            return False
        except ConditionNotMetError:
            raise self.changed(info) from None
        return True

    async def rename_object(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> str:
        """As the protocol says; storage class and custom time stay, access lists and holds do not.

        Moved in one step. An endpoint that does not know that answers as if the request were wrong, or the object were
        not there; it is then asked to copy, which finds out.
        https://cloud.google.com/storage/docs/json_api/v1/objects/move
        """
        try:
            await GcsCopy(self).move(info, key, replaces=replaces)
        except AccessDeniedError:
            raise
        except (SourceMissingError, PermanentError):
            return await rename_by_copy(GcsCopy(self), info, key, replaces=replaces)
        return ""

    async def delete_objects(self, infos: Sequence[ObjectInfo]) -> Sequence[bool | TransferError]:
        return await delete_each(self, infos)

    def target(self, action: str, key: str, *, needs: str, absent: str = "object") -> Target:
        return Target(action=action, url=self.url(key), needs=needs, absent=absent)

    def _object_address(self, key: str, query: Mapping[str, str | int]) -> str:
        return self.api.address(f"/storage/v1{object_path(self.bucket, key, self.url(key))}", query)

    def _upload_address(self, key: str, upload_type: str, replaces: ObjectInfo | None) -> str:
        object_path(self.bucket, key, self.url(key))  # refuses what cannot be a name before the first byte
        # 0 stands for "no live object": https://cloud.google.com/storage/docs/request-preconditions
        generation = "0" if replaces is None else replaces.etag
        query = {"uploadType": upload_type, "ifGenerationMatch": generation, "fields": _OBJECT_FIELDS}
        return self.api.address(f"/upload/storage/v1{bucket_path(self.bucket)}/o", query)


def describe_all(items: Iterable[Mapping[str, Any]], target: Target) -> list[ObjectInfo]:
    """Return what the service says of objects."""
    try:
        return [_describe(item) for item in items]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ConnectionLostError(f"{target} failed: the answer lacks {error}") from None


def _describe(item: Mapping[str, Any]) -> ObjectInfo:
    checksums = {"crc32c": item.get("crc32c"), "md5": item.get("md5Hash")}
    created = item.get("timeCreated")
    return ObjectInfo(
        key=item["name"],
        size_bytes=int(item["size"]),
        etag=str(item["generation"]),
        version_id=str(item["generation"]),
        modified_at=datetime.fromisoformat(created) if created else None,
        checksums={name: hex_of(value) for name, value in checksums.items() if value},
        metadata=ObjectMetadata(
            content_type=str(item.get("contentType") or ""),
            content_encoding=str(item.get("contentEncoding") or ""),
            content_language=str(item.get("contentLanguage") or ""),
            content_disposition=str(item.get("contentDisposition") or ""),
            cache_control=str(item.get("cacheControl") or ""),
            user=dict(item.get("metadata") or {}),
        ),
    )


def _resource(key: str, metadata: ObjectMetadata) -> dict[str, Any]:
    """Return the object resource of an upload; tags have no place in it, which `skyferry.metadata` has reported."""
    headers = {name: getattr(metadata, field) for name, field in _HEADER_FIELDS.items() if getattr(metadata, field)}
    return {"name": key, **headers} | ({"metadata": dict(metadata.user)} if metadata.user else {})


def _multipart_head(boundary: str, resource: Mapping[str, Any], content_type: str) -> bytes:
    """Return what comes before the content in a multipart upload.

    Source: https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object (JSON API).
    """
    return (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(resource)}\r\n"
        f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
    ).encode()
