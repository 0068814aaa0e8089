"""S3 and everything that speaks its protocol, as a store.

Every write is conditional (`If-None-Match`, `If-Match`) and carries a CRC64NVME, which S3 checks before it shows the
object. Endpoints that do not know those headers ignore the checksum, so its etag is compared with the MD5 that was
sent as well; where neither proves anything, the caller reads the object back.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

import aiohttp
from botocore import exceptions as botocore_errors

from skyferry.checksums import CompositeEtag, base64_of, hex_of
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    ChecksumMismatchError,
    ConnectionConfigError,
    ConnectionLostError,
    DestinationChangedError,
    ObjectArchivedError,
    PermanentError,
    SizeMismatchError,
    SourceChangedError,
    SourceMissingError,
    ThrottledError,
    TransferError,
    UploadLostError,
)
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.stores.base import Capabilities, UploadToken
from skyferry.stores.s3_requests import TRANSPORT_ERRORS, condition, in_time, quoted, unquoted
from skyferry.stores.s3_upload import S3Upload

_MEBIBYTE = 2**20
_CHECKSUM_FIELDS = {
    "ChecksumCRC64NVME": "crc64nvme",
    "ChecksumCRC32C": "crc32c",
    "ChecksumCRC32": "crc32",
    "ChecksumSHA256": "sha256",
    "ChecksumSHA1": "sha1",
}
_HEADER_FIELDS = {
    "ContentType": "content_type",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "ContentDisposition": "content_disposition",
    "CacheControl": "cache_control",
}
_COMPOSITE_ETAG = re.compile(r"[0-9a-f]{32}-(?P<parts>[0-9]+)")
_ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_ARCHIVE_STATUSES = frozenset({"ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"})
_ACCESS_CODES = frozenset(
    {
        "403", "401", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
        "SignatureDoesNotMatch", "AuthFailure", "UnauthorizedAccess", "AccountProblem",
    }
)  # fmt: skip
_THROTTLE_CODES = frozenset(
    {
        "429", "503", "SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded",
        "TooManyRequests",
    }
)  # fmt: skip
_CHECKSUM_CODES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
_CONDITION_CODES = frozenset({"412", "409", "PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload"})
_LOST_UPLOAD_CODES = frozenset({"NoSuchUpload", "InvalidPart"})


class S3Store:
    """One bucket; implements `skyferry.stores.base.Store`.

    Args:
        client: An aiobotocore S3 client whose own retries are off; it stays the caller's to close.
        bucket: Name of the bucket.
        region: Where `create_bucket` creates it.
        sends_checksums: False for endpoints that refuse `x-amz-checksum-*` headers: they get Content-MD5 instead.
    """

    kind = "s3"
    # Limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html; the object limit is 50 TB since
    # December 2025 (CopyObject in the API reference).
    capabilities = Capabilities(
        lists_in_key_order=True,
        parts_in_order=False,
        digests=frozenset({"md5", "crc64nvme"}),
        commit_digests=frozenset({"crc64nvme"}),
        part_digests=frozenset({"md5", "crc64nvme"}),
        min_part_bytes=5 * _MEBIBYTE,
        part_multiple_bytes=1,
        max_part_bytes=5 * 2**30,
        max_parts=10_000,
        max_object_bytes=50 * 10**12,
        publishes=frozenset({"md5", "crc64nvme"}),
        publishes_of_parts=frozenset({"crc64nvme"}),
        holds_metadata=True,
        reads_are_trusted=False,
    )

    def __init__(self, client: Any, bucket: str, region: str, *, sends_checksums: bool = True) -> None:
        self.client = client
        self.bucket = bucket
        self._region = region
        self.sends_checksums = sends_checksums

    def url(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{key}"

    async def aclose(self) -> None:
        """The client is the caller's to close."""

    async def check_bucket(self) -> None:
        try:
            await in_time(self.client.head_bucket(Bucket=self.bucket))
        except Exception as error:
            self.fail(error, "looking at", "", needs="s3:ListBucket")

    async def create_bucket(self) -> None:
        # us-east-1 is the default, and the one place that refuses to be named.
        where = {} if self._region in ("", "us-east-1") else {"LocationConstraint": self._region}
        try:
            await in_time(
                self.client.create_bucket(Bucket=self.bucket, **({"CreateBucketConfiguration": where} if where else {}))
            )
        except botocore_errors.ClientError as error:
            if _code(error) != "BucketAlreadyOwnedByYou":
                self.fail(error, "creating", "", needs="s3:CreateBucket")
        except Exception as error:
            self.fail(error, "creating", "", needs="s3:CreateBucket")

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix}
        if start_after:
            arguments["StartAfter"] = start_after
        while True:
            try:
                page = await in_time(self.client.list_objects_v2(**arguments))
            except Exception as error:
                self.fail(error, "listing", prefix, needs="s3:ListBucket")
            for entry in page.get("Contents", ()):
                yield _from_listing(entry)
            token = page.get("NextContinuationToken")
            if not token:
                return
            if token == arguments.get("ContinuationToken"):
                raise ConnectionLostError(
                    f"listing {self.url(prefix)} goes round in circles: the store gave the same continuation twice"
                )
            arguments["ContinuationToken"] = token

    async def stat(self, key: str) -> ObjectInfo | None:
        try:
            answer = await in_time(self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED"))
        except botocore_errors.ClientError as error:
            if _code(error) in ("404", "NoSuchKey", "NotFound"):
                return None
            self.fail(error, "looking at", key, needs="s3:GetObject")
        except Exception as error:
            self.fail(error, "looking at", key, needs="s3:GetObject")
        return await self._describe(key, answer, answer["ContentLength"])

    async def etag_digest(self, info: ObjectInfo) -> CompositeEtag | None:
        """As the protocol says; asks for the size of the first part where there are several (one request)."""
        match = _COMPOSITE_ETAG.fullmatch(info.etag)
        if match is None:
            return None
        if match.group("parts") == "1":
            return CompositeEtag(max(info.size_bytes, 1))
        try:
            answer = await in_time(
                self.client.head_object(Bucket=self.bucket, Key=info.key, PartNumber=1, IfMatch=quoted(info.etag))
            )
        except Exception as error:
            if isinstance(error, (botocore_errors.ClientError, botocore_errors.BotoCoreError, *TRANSPORT_ERRORS)):
                return None  # an endpoint without this call; the caller finds another proof
            raise
        return CompositeEtag(answer["ContentLength"]) if "PartsCount" in answer else None

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, bytes]:
        answer, body = await self._get(info, {"ChecksumMode": "ENABLED"}, info.size_bytes)
        return await self._describe(info.key, answer, len(body)), body

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> bytes:
        _, body = await self._get(info, {"Range": f"bytes={start_byte}-{start_byte + size_bytes - 1}"}, size_bytes)
        return body

    async def _get(self, info: ObjectInfo, options: dict[str, str], size_bytes: int) -> tuple[dict[str, Any], bytes]:
        if info.version_id:
            options = options | {"VersionId": info.version_id}
        try:
            answer, body = await in_time(self._download(info, options, size_bytes), size_bytes)
        except TransferError:
            raise
        except botocore_errors.ClientError as error:
            if _code(error) in ("412", "PreconditionFailed"):
                raise self._changed(info) from None
            self.fail(error, "reading", info.key, needs="s3:GetObject")
        except Exception as error:
            self.fail(error, "reading", info.key, needs="s3:GetObject")
        if len(body) != size_bytes:
            raise SizeMismatchError(f"read {len(body):,} of {size_bytes:,} bytes of {self.url(info.key)}")
        return answer, body

    async def _download(
        self, info: ObjectInfo, options: dict[str, str], size_bytes: int
    ) -> tuple[dict[str, Any], bytes]:
        """Return answer and body; a body of another version, or a larger one than asked for, is not even read.

        Endpoints that ignore `If-Match` or `Range` would otherwise mix versions, or fill the memory.
        """
        answer = await self.client.get_object(Bucket=self.bucket, Key=info.key, IfMatch=quoted(info.etag), **options)
        async with answer["Body"] as stream:
            if unquoted(answer.get("ETag", info.etag)) != info.etag:
                raise self._changed(info)
            if answer.get("ContentLength", size_bytes) > size_bytes:
                raise SizeMismatchError(
                    f"{self.url(info.key)} came with {answer['ContentLength']:,} bytes; {size_bytes:,} were asked for"
                )
            return answer, await stream.read()

    def _changed(self, info: ObjectInfo) -> SourceChangedError:
        return SourceChangedError(
            f"{self.url(info.key)} is no longer the version that was planned (etag {info.etag})",
            hint="it will be looked at again",
        )

    async def _describe(self, key: str, answer: dict[str, Any], size_bytes: int) -> ObjectInfo:
        etag = unquoted(answer["ETag"])
        checksums = _whole_checksums(answer, etag)
        may_be_md5 = _etag_is_md5(answer, etag)
        if may_be_md5:
            checksums["md5"] = etag
        return ObjectInfo(
            key=key,
            size_bytes=size_bytes,
            etag=etag,
            version_id=_version(answer),
            modified_at=answer.get("LastModified"),
            checksums=checksums,
            etag_may_be_md5=may_be_md5,
            metadata=await self._metadata(key, answer),
            is_archived=_is_archived(answer),
        )

    async def _metadata(self, key: str, answer: dict[str, Any]) -> ObjectMetadata:
        tags = await self._tags(key, _version(answer)) if answer.get("TagCount") else {}
        headers: dict[str, Any] = {field: answer.get(name) or "" for name, field in _HEADER_FIELDS.items()}
        return ObjectMetadata(**headers, user=dict(answer.get("Metadata") or {}), tags=tags)

    async def _tags(self, key: str, version_id: str | None) -> dict[str, str]:
        version = {"VersionId": version_id} if version_id else {}
        try:
            answer = await in_time(self.client.get_object_tagging(Bucket=self.bucket, Key=key, **version))
        except Exception as error:
            self.fail(error, "reading the tags of", key, needs="s3:GetObjectTagging")
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    async def put_object(
        self,
        key: str,
        body: bytes,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        try:
            request = self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                **_metadata_arguments(metadata),
                **self.integrity(digests),
                **condition(replaces),
            )
            answer = await in_time(request, len(body))
        except Exception as error:
            self.fail_writing(error, key)
        return self.committed(
            key, len(body), answer, expected_etag=digests["md5"], etag_proof="md5", crc64nvme=digests["crc64nvme"]
        )

    def integrity(self, digests: Mapping[str, str]) -> dict[str, str]:
        """Return the header by which the endpoint itself checks what it received."""
        if self.sends_checksums:
            return {"ChecksumCRC64NVME": base64_of(digests["crc64nvme"])}
        return {"ContentMD5": base64_of(digests["md5"])}

    def committed(
        self, key: str, size_bytes: int, answer: dict[str, Any], *, expected_etag: str, etag_proof: str, crc64nvme: str
    ) -> Committed:
        etag = unquoted(answer["ETag"])
        verified_by = etag_proof if etag == expected_etag else None
        if verified_by is None and _is_encrypted_apart(answer):
            # Such etags are not MD5s. The checksum counts where the answer has it: an endpoint that does not know it
            # has ignored the header, and S3 refuses a body that does not fit it.
            verified_by = "crc64nvme" if answer.get("ChecksumCRC64NVME") == base64_of(crc64nvme) else None
        info = ObjectInfo(key=key, size_bytes=size_bytes, etag=etag, version_id=_version(answer))
        return Committed(info=info, verified_by=verified_by)

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> S3Upload:
        del part_bytes
        checksum = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"} if self.sends_checksums else {}
        try:
            answer = await in_time(
                self.client.create_multipart_upload(
                    Bucket=self.bucket, Key=key, **_metadata_arguments(metadata), **checksum
                )
            )
        except Exception as error:
            self.fail_writing(error, key)
        return S3Upload(self, key, answer["UploadId"], size_bytes=size_bytes, replaces=replaces)

    async def resume_upload(
        self,
        key: str,
        token: UploadToken,
        *,
        size_bytes: int,
        part_bytes: int,
        metadata: ObjectMetadata,
        replaces: ObjectInfo | None,
    ) -> S3Upload | None:
        """As the protocol says; asks for the list of parts (one request for each 1,000)."""
        del part_bytes, metadata  # S3 has them since the upload began
        upload = S3Upload(self, key, token.get("upload_id", ""), size_bytes=size_bytes, replaces=replaces)
        return upload if await upload.find_parts() else None

    async def abort_upload(self, key: str, token: UploadToken) -> None:
        try:
            await in_time(
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=token.get("upload_id", ""))
            )
        except botocore_errors.ClientError as error:
            if _code(error) not in ("NoSuchUpload", "404"):
                self.fail(error, "ending the upload of", key, needs="s3:AbortMultipartUpload")
        except Exception as error:
            self.fail(error, "ending the upload of", key, needs="s3:AbortMultipartUpload")

    async def delete_object(self, info: ObjectInfo) -> bool:
        """As the protocol says; the look before the delete is for endpoints that ignore `If-Match` on a delete.

        In a versioned bucket this leaves a delete marker: the version itself stays recoverable.
        """
        found = await self.stat(info.key)
        if found is None:
            return False
        if found.etag != info.etag:
            raise self._source_replaced(info)
        try:
            await in_time(self.client.delete_object(Bucket=self.bucket, Key=info.key, IfMatch=quoted(info.etag)))
        except botocore_errors.ClientError as error:
            if _code(error) in _CONDITION_CODES:
                raise self._source_replaced(info) from None
            if _code(error) in ("404", "NoSuchKey"):
                return False
            self.fail(error, "deleting", info.key, needs="s3:DeleteObject")
        except Exception as error:
            self.fail(error, "deleting", info.key, needs="s3:DeleteObject")
        return True

    def _source_replaced(self, info: ObjectInfo) -> SourceChangedError:
        return SourceChangedError(
            f"{self.url(info.key)} was overwritten after it was copied (etag {info.etag} then)",
            hint="the new version was kept; the next run copies it",
        )

    def fail_writing(self, error: Exception, key: str) -> NoReturn:
        if isinstance(error, botocore_errors.ClientError):
            code = _code(error)
            if code in _CONDITION_CODES or (code in ("404", "NoSuchKey") and key):
                raise DestinationChangedError(
                    f"{self.url(key)} was written or removed by somebody else since it was looked at",
                    hint="it was left alone",
                ) from None
        self.fail(error, "writing", key, needs="s3:PutObject")

    def fail(self, error: Exception, action: str, key: str, *, needs: str) -> NoReturn:
        raise self._translate(error, action, key, needs) from error

    def _translate(self, error: Exception, action: str, key: str, needs: str) -> TransferError:
        what = f"{action} {self.url(key)} failed"
        if isinstance(error, botocore_errors.ClientError):
            return self._translate_answer(error, what, key, needs)
        if isinstance(error, botocore_errors.SSLError | aiohttp.ClientSSLError):
            return ConnectionConfigError(
                f"{what}: the certificate of the endpoint is not trusted", hint="set `verify` in the connection"
            )
        if isinstance(error, botocore_errors.NoCredentialsError | botocore_errors.PartialCredentialsError):
            return AccessDeniedError(f"{what}: the connection has no credentials", hint="add them to the connection")
        if isinstance(error, TRANSPORT_ERRORS):
            return ConnectionLostError(
                f"{what}: {type(error).__name__}", hint=f"{self.client.meta.endpoint_url} did not answer properly"
            )
        return PermanentError(f"{what}: {type(error).__name__}: {error}")

    def _translate_answer(self, error: botocore_errors.ClientError, what: str, key: str, needs: str) -> TransferError:
        code, status = _code(error), _status(error)
        if code == "NoSuchBucket" or (code == "404" and not key):
            return BucketMissingError(
                f"there is no bucket {self.url()}", hint="create it, or set create_destination for a destination"
            )
        if code in ("404", "NoSuchKey"):
            return SourceMissingError(f"{self.url(key)} is gone")
        if code in _LOST_UPLOAD_CODES:
            return UploadLostError(f"{what}: the upload is gone, or holds other parts ({code})", hint="it begins anew")
        if code == "InvalidObjectState":
            return ObjectArchivedError(f"{self.url(key)} is archived", hint="restore it first")
        if code == "RequestTimeTooSkewed":
            return PermanentError(f"{what}: the clock of this machine differs from the store's", hint="set the clock")
        if code in _ACCESS_CODES or status in (401, 403):
            return AccessDeniedError(f"access denied {what.removesuffix(' failed')} ({code})", hint=f"it needs {needs}")
        if code in _THROTTLE_CODES or status in (429, 503):
            return ThrottledError(
                f"{what}: the store asked for fewer requests", retry_after_seconds=_retry_after(error)
            )
        if code in _CHECKSUM_CODES:
            return ChecksumMismatchError(f"{what}: the store received other bytes than were sent ({code})")
        if status >= 500 or code in ("RequestTimeout", "InternalError", "IncompleteBody"):
            return ConnectionLostError(f"{what}: the store answered {status} {code}")
        return PermanentError(
            f"{what}: the store answered {status} {code}: {error.response['Error'].get('Message', '')}"
        )


def _from_listing(entry: dict[str, Any]) -> ObjectInfo:
    etag = unquoted(entry.get("ETag", ""))
    return ObjectInfo(
        key=entry["Key"],
        size_bytes=entry["Size"],
        etag=etag,
        modified_at=entry.get("LastModified"),
        etag_may_be_md5=_looks_like_md5(etag),
        is_archived=entry.get("StorageClass") in _ARCHIVE_CLASSES,
    )


def _whole_checksums(answer: dict[str, Any], etag: str) -> dict[str, str]:
    """Return the checksums of the whole content; composite ones (`value-parts`) say nothing about it.

    An object that was uploaded in parts has composite ones unless the store says otherwise: stores that do not tell
    the type (or tell the value without `-parts`, as moto's HEAD does) would make every such object look damaged.
    Only CRC64NVME is never composite.
    """
    if answer.get("ChecksumType") == "COMPOSITE":
        return {}
    is_in_parts = _COMPOSITE_ETAG.fullmatch(etag) and answer.get("ChecksumType") != "FULL_OBJECT"
    return {
        name: hex_of(answer[field])
        for field, name in _CHECKSUM_FIELDS.items()
        if answer.get(field) and "-" not in answer[field] and (name == "crc64nvme" or not is_in_parts)
    }


def _etag_is_md5(answer: dict[str, Any], etag: str) -> bool:
    return _looks_like_md5(etag) and not _is_encrypted_apart(answer)


def _is_encrypted_apart(answer: dict[str, Any]) -> bool:
    """Tell whether the object lies under KMS or a customer's key, which makes its etag something else than an MD5."""
    return str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in answer


def _looks_like_md5(etag: str) -> bool:
    return len(etag) == 32 and all(character in "0123456789abcdef" for character in etag)


def _is_archived(answer: dict[str, Any]) -> bool:
    archived = answer.get("StorageClass") in _ARCHIVE_CLASSES or answer.get("ArchiveStatus") in _ARCHIVE_STATUSES
    return archived and 'ongoing-request="false"' not in answer.get("Restore", "")


def _version(answer: dict[str, Any]) -> str | None:
    version = answer.get("VersionId")
    return version if version and version != "null" else None


def _metadata_arguments(metadata: ObjectMetadata) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        name: getattr(metadata, field) for name, field in _HEADER_FIELDS.items() if getattr(metadata, field)
    }
    if metadata.user:
        arguments["Metadata"] = dict(metadata.user)
    if metadata.tags:
        arguments["Tagging"] = urllib.parse.urlencode(metadata.tags)
    return arguments


def _code(error: botocore_errors.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: botocore_errors.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _retry_after(error: botocore_errors.ClientError) -> float | None:
    value = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(value) if value.isdigit() else None
