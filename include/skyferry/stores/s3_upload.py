"""A large object on its way to S3: one multipart upload."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore import exceptions as botocore_errors

from skyferry.checksums import base64_of, composite_etag
from skyferry.errors import SizeMismatchError
from skyferry.objects import Committed, ObjectInfo
from skyferry.stores.s3_requests import TRANSPORT_ERRORS, condition, in_time

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

    async def put_part(self, index: int, body: bytes, digests: Mapping[str, str]) -> None:
        number = index + 1
        integrity = self._store.integrity(digests)
        try:
            request = self._client.upload_part(**self._where, PartNumber=number, Body=body, **integrity)
            answer = await in_time(request, len(body))
        except Exception as error:
            self._store.fail(error, f"writing part {number} of", self._key, needs="s3:PutObject")
        integrity.pop("ContentMD5", None)
        self._parts[index] = {"PartNumber": number, "ETag": answer["ETag"], **integrity}
        self._part_bytes[index] = len(body)
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

    async def abort(self) -> None:
        # Whatever the store answers, the caller has a better error to report; a lifecycle rule removes what is left.
        with contextlib.suppress(botocore_errors.BotoCoreError, botocore_errors.ClientError, *TRANSPORT_ERRORS):
            await in_time(self._client.abort_multipart_upload(**self._where))
