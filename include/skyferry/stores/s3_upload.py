"""A large object on its way to S3: one multipart upload."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore import exceptions as botocore_errors

from skyferry.checksums import base64_of, composite_etag
from skyferry.errors import SizeMismatchError
from skyferry.objects import Committed, ObjectInfo
from skyferry.stores.base import UploadToken
from skyferry.stores.s3_requests import TRANSPORT_ERRORS, condition, in_time, unquoted

if TYPE_CHECKING:
    from skyferry.stores.s3 import S3Store


class S3Upload:
    """A multipart upload; parts may be sent in any order."""

    def __init__(
        self, store: S3Store, key: str, upload_id: str, *, size_bytes: int, replaces: ObjectInfo | None
    ) -> None:
        self._store = store
        self._client = store.client
        self._key = key
        self._where = {"Bucket": store.bucket, "Key": key, "UploadId": upload_id}
        self._size_bytes = size_bytes
        self._replaces = replaces
        self._parts: dict[int, dict[str, Any]] = {}
        self._part_md5s: dict[int, str] = {}
        self._part_bytes: dict[int, int] = {}
        self._found: dict[int, Mapping[str, Any]] = {}

    @property
    def token(self) -> UploadToken:
        return {"upload_id": self._where["UploadId"]}

    async def find_parts(self) -> bool:
        """Look up what the store holds of an earlier attempt; False when it knows no such upload."""
        marker: dict[str, int] = {}
        while True:
            try:
                answer = await in_time(self._client.list_parts(**self._where, **marker))
            except botocore_errors.ClientError as error:
                if error.response["Error"].get("Code") in ("NoSuchUpload", "404"):
                    return False
                self._store.fail(error, "listing the parts of", self._key, needs="s3:ListMultipartUploadParts")
            except Exception as error:
                self._store.fail(error, "listing the parts of", self._key, needs="s3:ListMultipartUploadParts")
            self._found |= {part["PartNumber"] - 1: part for part in answer.get("Parts", ())}
            next_marker = int(answer.get("NextPartNumberMarker") or 0)
            if not answer.get("IsTruncated") or next_marker <= marker.get("PartNumberMarker", 0):
                return True
            marker = {"PartNumberMarker": next_marker}

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        """As the protocol says; proven by the part's etag, which is its MD5, or by its CRC64NVME (under KMS)."""
        part = self._found.get(index)
        if part is None or part.get("Size") != size_bytes:
            return False
        has_checksum = part.get("ChecksumCRC64NVME") == base64_of(digests["crc64nvme"])
        if unquoted(part["ETag"]) != digests["md5"] and not has_checksum:
            return False
        self._take(index, part["ETag"], size_bytes, digests)
        return True

    async def put_part(self, index: int, body: bytes, digests: Mapping[str, str]) -> None:
        number = index + 1
        integrity = self._store.integrity(digests)
        try:
            request = self._client.upload_part(**self._where, PartNumber=number, Body=body, **integrity)
            answer = await in_time(request, len(body))
        except Exception as error:
            self._store.fail(error, f"writing part {number} of", self._key, needs="s3:PutObject")
        self._take(index, answer["ETag"], len(body), digests)

    def _take(self, index: int, etag: str, size_bytes: int, digests: Mapping[str, str]) -> None:
        checksum = {"ChecksumCRC64NVME": base64_of(digests["crc64nvme"])} if self._store.sends_checksums else {}
        self._parts[index] = {"PartNumber": index + 1, "ETag": etag, **checksum}
        self._part_bytes[index] = size_bytes
        self._part_md5s[index] = digests["md5"]

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        self._require_all_parts()
        whole = (
            {"ChecksumCRC64NVME": base64_of(digests["crc64nvme"]), "ChecksumType": "FULL_OBJECT"}
            if self._store.sends_checksums
            else {}
        )
        try:
            request = self._client.complete_multipart_upload(
                **self._where,
                MultipartUpload={"Parts": [self._parts[index] for index in sorted(self._parts)]},
                **whole,
                **condition(self._replaces),
            )
            # The larger the object, the longer S3 takes to put it together: minutes, its documentation says.
            answer = await in_time(request, self._size_bytes)
        except Exception as error:
            self._store.fail_writing(error, self._key)
        expected = composite_etag(self._part_md5s[index] for index in sorted(self._part_md5s))
        return self._store.committed(
            self._key,
            self._size_bytes,
            answer,
            expected_etag=expected,
            etag_proof="etag",
            crc64nvme=digests["crc64nvme"],
        )

    def _require_all_parts(self) -> None:
        """Refuse to commit less than was announced: endpoints that ignore checksums would show it."""
        sent_bytes = sum(self._part_bytes.values())
        if sent_bytes != self._size_bytes:
            raise SizeMismatchError(
                f"{sent_bytes:,} of {self._size_bytes:,} bytes of {self._store.url(self._key)} were sent in "
                f"{len(self._parts)} parts; the key was left as it was"
            )

    async def leave(self) -> None:
        """Nothing is held here."""

    async def abort(self) -> None:
        # Whatever the store answers, the caller has a better error to report; a lifecycle rule removes what is left.
        with contextlib.suppress(botocore_errors.BotoCoreError, botocore_errors.ClientError, *TRANSPORT_ERRORS):
            await in_time(self._client.abort_multipart_upload(**self._where))
