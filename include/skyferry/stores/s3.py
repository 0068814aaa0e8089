"""S3 and everything that speaks its protocol, as a store.

Every write is conditional (`If-None-Match`, `If-Match`) and carries a CRC64NVME, which S3 checks before it shows the
object. Endpoints that do not know those headers ignore the checksum, so the etag they answer is compared with the MD5
of what was sent; uploads in parts are spared that where the endpoint says that it checks. Where nothing proves
anything, the caller reads the object back.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, NoReturn
from xml.etree import ElementTree as ET

from skyferry.checksums import CompositeEtag, base64_of, hex_of
from skyferry.content_memory import Content
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    BucketNotEmptyError,
    ChecksumMismatchError,
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
from skyferry.key_order import in_key_order
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata, Prefix
from skyferry.stores.base import Capabilities, UploadToken, delete_each
from skyferry.stores.http_requests import Answer, Target, parse_xml
from skyferry.stores.pacing import retry_after_seconds
from skyferry.stores.renaming import rename_by_copy
from skyferry.stores.s3_api import S3AnswerError, S3Api, user_metadata
from skyferry.stores.s3_copy import S3Copy
from skyferry.stores.s3_deletes import delete_document, error_of_entry, fits_into_xml
from skyferry.stores.s3_requests import HEADER_FIELDS, condition, metadata_headers, quoted, unquoted
from skyferry.stores.s3_upload import S3Upload

_MEBIBYTE = 2**20
_CHECKSUM_HEADERS = {
    "x-amz-checksum-crc64nvme": "crc64nvme",
    "x-amz-checksum-crc32c": "crc32c",
    "x-amz-checksum-crc32": "crc32",
    "x-amz-checksum-sha256": "sha256",
    "x-amz-checksum-sha1": "sha1",
}
_NOTHING: Mapping[str, str] = MappingProxyType({})
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
_BUCKET_CONFIGURATION = (
    '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
)
_CHECKSUM_MODE = {"x-amz-checksum-mode": "ENABLED"}
_MD5 = re.compile(r"[0-9a-f]{32}")
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
        api: Sends the requests; what it is made from stays the caller's to close.
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
        min_part_bytes=5 * _MEBIBYTE,
        part_multiple_bytes=1,
        max_part_bytes=5 * 2**30,
        max_parts=10_000,
        max_object_bytes=50 * 10**12,
        publishes=frozenset({"md5", "crc64nvme"}),
        publishes_of_parts=frozenset({"crc64nvme"}),
        holds_metadata=True,
        reads_are_trusted=False,
        max_deletes=1000,
    )

    def __init__(self, api: S3Api, bucket: str, region: str, *, sends_checksums: bool = True) -> None:
        self.api = api
        self.bucket = bucket
        self._region = region
        self.sends_checksums = sends_checksums
        self.takes_conditional_deletes = True
        """Until the endpoint refuses one."""

    def url(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{key}"

    async def aclose(self) -> None:
        """The lines are the caller's to close."""

    async def check_bucket(self) -> None:
        try:
            await self.api.ask("HEAD", "", self.target("looking at", "", "s3:ListBucket"))
        except S3AnswerError as error:
            self.fail(error, "looking at", "", needs="s3:ListBucket")

    async def create_bucket(self) -> None:
        # us-east-1 is the default, and the one place that refuses to be named.
        where = "" if self._region in ("", "us-east-1") else _BUCKET_CONFIGURATION.format(self._region)
        try:
            await self.api.ask("PUT", "", self.target("creating", "", "s3:CreateBucket"), body=where.encode())
        except S3AnswerError as error:
            if error.code != "BucketAlreadyOwnedByYou":
                self.fail(error, "creating", "", needs="s3:CreateBucket")

    async def delete_bucket(self) -> None:
        try:
            await self.api.ask("DELETE", "", self.target("deleting", "", "s3:DeleteBucket"))
        except S3AnswerError as error:
            if error.code == "BucketNotEmpty":
                raise BucketNotEmptyError(
                    f"{self.url()} is not empty",
                    hint="old versions, delete markers and unfinished uploads count, too; remove them first",
                ) from None
            if error.code not in ("NoSuchBucket", "404"):
                self.fail(error, "deleting", "", needs="s3:DeleteBucket")

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for page, answer in self._pages(prefix, {"start-after": start_after} if start_after else _NOTHING):
            for info in _from_listing(page, answer):
                yield info

    async def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        async for page, answer in self._pages(prefix, {"delimiter": "/"}):
            for entry in in_key_order([*_from_listing(page, answer), *_prefixes(page)]):
                yield entry

    async def _pages(self, prefix: str, options: Mapping[str, str]) -> AsyncIterator[tuple[ET.Element, Answer]]:
        # Without the encoding, keys with control characters would break the XML.
        query = {"list-type": "2", "encoding-type": "url", **({"prefix": prefix} if prefix else {}), **options}
        while True:
            try:
                answer = await self.api.ask("GET", "", self.target("listing", prefix, "s3:ListBucket"), query=query)
            except S3AnswerError as error:
                self.fail(error, "listing", prefix, needs="s3:ListBucket")
            page = parse_xml(answer)
            yield page, answer
            token = page.findtext("NextContinuationToken")
            if not token:
                return
            if token == query.get("continuation-token"):
                raise ConnectionLostError(
                    f"listing {self.url(prefix)} goes round in circles: the store gave the same continuation twice"
                )
            query["continuation-token"] = token

    async def stat(self, key: str) -> ObjectInfo | None:
        answer = await self.head(key)
        return None if answer is None else await self.describe(key, answer, content_length(answer))

    async def head(self, key: str) -> Answer | None:
        """Return all headers of an object; None where there is none."""
        try:
            target = self.target("looking at", key, "s3:GetObject")
            return await self.api.ask("HEAD", key, target, headers=_CHECKSUM_MODE)
        except S3AnswerError as error:
            if error.code in ("404", "NoSuchKey", "NotFound"):
                return None
            self.fail(error, "looking at", key, needs="s3:GetObject")

    async def etag_digest(self, info: ObjectInfo) -> CompositeEtag | None:
        """As the protocol says; asks for the size of the first part where there are several (one request)."""
        match = _COMPOSITE_ETAG.fullmatch(info.etag)
        if match is None:
            return None
        if match.group("parts") == "1":
            return CompositeEtag(max(info.size_bytes, 1))
        target = self.target("looking at the first part of", info.key, "s3:GetObject")
        pinned = {"If-Match": quoted(info.etag)}
        try:
            answer = await self.api.ask("HEAD", info.key, target, query={"partNumber": "1"}, headers=pinned)
        except (S3AnswerError, TransferError):
            return None  # an endpoint without this call; the caller finds another proof
        return CompositeEtag(content_length(answer)) if "x-amz-mp-parts-count" in answer.headers else None

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, Content]:
        answer = await self._get(info, _CHECKSUM_MODE, info.size_bytes)
        return await self.describe(info.key, answer, len(answer.body)), answer.body

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> Content:
        span = {"Range": f"bytes={start_byte}-{start_byte + size_bytes - 1}"}
        return (await self._get(info, span, size_bytes)).body

    async def _get(self, info: ObjectInfo, headers: Mapping[str, str], size_bytes: int) -> Answer:
        """Return the answer with the body; one of another version, or larger than asked for, is not even read.

        Endpoints that ignore `If-Match` or `Range` would otherwise mix versions, or fill the memory.
        """

        def accept(_: int, found: Mapping[str, str]) -> None:
            if unquoted(found.get("ETag", info.etag)) != info.etag:
                raise self.changed(info)

        try:
            answer = await self.api.ask(
                "GET",
                info.key,
                self.target("reading", info.key, "s3:GetObject"),
                query={"versionId": info.version_id} if info.version_id else _NOTHING,
                headers={**headers, "If-Match": quoted(info.etag)},
                size_bytes=size_bytes,
                accept=accept,
            )
        except S3AnswerError as error:
            if error.code in ("412", "PreconditionFailed"):
                raise self.changed(info) from None
            self.fail(error, "reading", info.key, needs="s3:GetObject")
        if len(answer.body) != size_bytes:
            raise SizeMismatchError(f"read {len(answer.body):,} of {size_bytes:,} bytes of {self.url(info.key)}")
        return answer

    def target(self, action: str, key: str, needs: str) -> Target:
        return Target(action=action, url=self.url(key), needs=needs, absent="object" if key else "bucket")

    def changed(self, info: ObjectInfo) -> SourceChangedError:
        return SourceChangedError(
            f"{self.url(info.key)} is no longer the version that was planned (etag {info.etag})",
            hint="it will be looked at again",
        )

    async def describe(self, key: str, answer: Answer, size_bytes: int) -> ObjectInfo:
        """Return what the headers of an answer say of an object; one more request where it has tags."""
        headers = answer.headers
        etag = unquoted(headers.get("ETag", ""))
        checksums = _whole_checksums(headers, etag)
        may_be_md5 = _looks_like_md5(etag) and not _is_encrypted_apart(headers)
        if may_be_md5:
            checksums["md5"] = etag
        modified = headers.get("Last-Modified")
        return ObjectInfo(
            key=key,
            size_bytes=size_bytes,
            etag=etag,
            version_id=_version(headers),
            modified_at=parsedate_to_datetime(modified) if modified else None,
            checksums=checksums,
            etag_may_be_md5=may_be_md5,
            metadata=await self._metadata(key, headers),
            is_archived=_is_archived(headers),
        )

    async def _metadata(self, key: str, headers: Mapping[str, str]) -> ObjectMetadata:
        has_tags = headers.get("x-amz-tagging-count", "0") != "0"
        tags = await self._tags(key, _version(headers)) if has_tags else {}
        fields: dict[str, Any] = {field: headers.get(name) or "" for name, field in HEADER_FIELDS.items()}
        return ObjectMetadata(**fields, user=dict(user_metadata(headers)), tags=tags)

    async def _tags(self, key: str, version_id: str | None) -> dict[str, str]:
        query = {"tagging": ""} | ({"versionId": version_id} if version_id else {})
        target = self.target("reading the tags of", key, "s3:GetObjectTagging")
        try:
            answer = await self.api.ask("GET", key, target, query=query)
        except S3AnswerError as error:
            self.fail(error, "reading the tags of", key, needs="s3:GetObjectTagging")
        return {tag.findtext("Key", ""): tag.findtext("Value", "") for tag in parse_xml(answer).iter("Tag")}

    async def put_object(
        self,
        key: str,
        body: Content,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        headers = {**metadata_headers(metadata), **self.integrity(digests), **condition(replaces)}
        target = self.target("writing", key, "s3:PutObject")
        try:
            answer = await self.api.ask("PUT", key, target, headers=headers, body=body, size_bytes=len(body))
        except S3AnswerError as error:
            self.fail_writing(error, key)
        return self.committed(
            key,
            len(body),
            answer.headers,
            expected_etag=digests["md5"],
            etag_proof="md5",
            crc64nvme=digests["crc64nvme"],
        )

    def integrity(self, digests: Mapping[str, str]) -> dict[str, str]:
        """Return the header by which the endpoint itself checks what it received."""
        if self.sends_checksums:
            return {"x-amz-checksum-crc64nvme": base64_of(digests["crc64nvme"])}
        return {"Content-MD5": base64_of(digests["md5"])}

    def committed(
        self,
        key: str,
        size_bytes: int,
        headers: Mapping[str, str],
        *,
        expected_etag: str | None,
        etag_proof: str,
        crc64nvme: str,
    ) -> Committed:
        """Return the object that was written, and what proves its content.

        Args:
            expected_etag: None for an upload in parts by their CRC64NVMEs alone.
        """
        etag = unquoted(headers.get("ETag", ""))
        verified_by = etag_proof if etag == expected_etag else None
        if verified_by is None and (expected_etag is None or _is_encrypted_apart(headers)):
            # Such etags are not MD5s. The checksum counts where the answer has it: an endpoint that does not know it
            # has ignored the header, and S3 refuses a body that does not fit it.
            verified_by = "crc64nvme" if headers.get("x-amz-checksum-crc64nvme") == base64_of(crc64nvme) else None
        info = ObjectInfo(key=key, size_bytes=size_bytes, etag=etag, version_id=_version(headers))
        return Committed(info=info, verified_by=verified_by)

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> S3Upload:
        del part_bytes
        headers = metadata_headers(metadata)
        if self.sends_checksums:
            headers |= {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
        target = self.target("writing", key, "s3:PutObject")
        try:
            answer = await self.api.ask("POST", key, target, query={"uploads": ""}, headers=headers)
        except S3AnswerError as error:
            self.fail_writing(error, key)
        upload_id = parse_xml(answer).findtext("UploadId")
        if not upload_id:
            raise ConnectionLostError(f"{target} failed: the store gave no id of an upload")
        # S3 says so; who does not would show what it stored by the parts' etags alone, and these are MD5s.
        checks_crc = self.sends_checksums and answer.headers.get("x-amz-checksum-algorithm") == "CRC64NVME"
        return S3Upload(self, key, upload_id, size_bytes=size_bytes, replaces=replaces, checks_crc=checks_crc)

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
        upload = S3Upload(
            self,
            key,
            token.get("upload_id", ""),
            size_bytes=size_bytes,
            replaces=replaces,
            checks_crc="checks_crc" in token,
        )
        return upload if await upload.find_parts() else None

    async def abort_upload(self, key: str, token: UploadToken) -> None:
        target = self.target("ending the upload of", key, "s3:AbortMultipartUpload")
        try:
            await self.api.ask("DELETE", key, target, query={"uploadId": token.get("upload_id", "")})
        except S3AnswerError as error:
            if error.code not in ("NoSuchUpload", "404"):
                self.fail(error, "ending the upload of", key, needs="s3:AbortMultipartUpload")

    async def abort_quietly(self, key: str, upload_id: str) -> None:
        """Throw away an upload where there is a better error to report; a lifecycle rule removes what is left."""
        with contextlib.suppress(TransferError):
            await self.abort_upload(key, {"upload_id": upload_id})

    async def delete_object(self, info: ObjectInfo) -> bool:
        """As the protocol says; the look before the delete is for endpoints that ignore or refuse `If-Match` on it.

        In a versioned bucket this leaves a delete marker: the version itself stays recoverable.
        """
        found = await self.stat(info.key)
        if found is None:
            return False
        if found.etag != info.etag:
            raise self._source_replaced(info)
        try:
            await self._delete_if({"If-Match": quoted(info.etag)}, info.key)
        except S3AnswerError as error:
            if error.code in _CONDITION_CODES:
                raise self._source_replaced(info) from None
            if error.code in ("404", "NoSuchKey"):
                return False
            self.fail(error, "deleting", info.key, needs="s3:DeleteObject")
        return True

    async def _delete_if(self, pinned: Mapping[str, str], key: str) -> None:
        target = self.target("deleting", key, "s3:DeleteObject")
        try:
            await self.api.ask("DELETE", key, target, headers=pinned if self.takes_conditional_deletes else _NOTHING)
        except S3AnswerError as error:
            if not error.is_not_implemented or not self.takes_conditional_deletes:
                raise
            self.takes_conditional_deletes = False
            await self.api.ask("DELETE", key, target)

    async def rename_object(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> str:
        """As the protocol says, by a copy; storage class, encryption and redirect stay, access lists and locks do not.

        An endpoint that refuses the conditions is looked at right before instead, and the answer says so; one that
        ignores them cannot be told from S3. In a versioned bucket the old name keeps its versions.
        """
        return await rename_by_copy(S3Copy(self), info, key, replaces=replaces)

    async def delete_objects(self, infos: Sequence[ObjectInfo]) -> Sequence[bool | TransferError]:
        """As the protocol says; a key that XML cannot hold takes a request of its own.

        S3 does not tell a key that showed nothing from one it has deleted.
        """
        together = [info for info in infos if fits_into_xml(info.key)]
        outcomes = await self._delete_together(together) if together else {}
        return [outcomes[info.key] if info.key in outcomes else (await delete_each(self, [info]))[0] for info in infos]

    async def _delete_together(self, infos: Sequence[ObjectInfo]) -> dict[str, bool | TransferError]:
        body = delete_document(infos)
        target = self.target("deleting objects of", "", "s3:DeleteObject")
        # Every endpoint knows this header; a request without any checksum is refused.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
        headers = {"Content-MD5": base64_of(hashlib.md5(body, usedforsecurity=False).hexdigest())}
        try:
            answer = await self.api.ask(
                "POST", "", target, query={"delete": ""}, headers=headers, body=body, size_bytes=len(body)
            )
        except S3AnswerError as error:
            self.fail(error, "deleting objects of", "", needs="s3:DeleteObject")
        outcomes: dict[str, bool | TransferError] = {info.key: True for info in infos}
        by_key = {info.key: info for info in infos}
        for element in parse_xml(answer).iterfind("Error"):
            info = by_key.get(element.findtext("Key", ""))
            if info is not None:
                outcomes[info.key] = self._not_deleted(info, error_of_entry(answer, element))
        return outcomes

    def _not_deleted(self, info: ObjectInfo, error: S3AnswerError) -> bool | TransferError:
        if error.code in _CONDITION_CODES:
            return self._source_replaced(info)
        if error.code in ("404", "NoSuchKey"):
            return False
        return self._translate_answer(error, f"deleting {self.url(info.key)} failed", info.key, "s3:DeleteObject")

    def _source_replaced(self, info: ObjectInfo) -> SourceChangedError:
        return SourceChangedError(
            f"{self.url(info.key)} was overwritten after it was copied (etag {info.etag} then)",
            hint="the new version was kept; the next run copies it",
        )

    def fail_writing(self, error: S3AnswerError, key: str) -> NoReturn:
        if error.code in _CONDITION_CODES or (error.code in ("404", "NoSuchKey") and key):
            raise DestinationChangedError(
                f"{self.url(key)} was written or removed by somebody else since it was looked at",
                hint="it was left alone",
            ) from None
        self.fail(error, "writing", key, needs="s3:PutObject")

    def fail(self, error: S3AnswerError, action: str, key: str, *, needs: str) -> NoReturn:
        raise self._translate_answer(error, f"{action} {self.url(key)} failed", key, needs) from None

    def _translate_answer(self, error: S3AnswerError, what: str, key: str, needs: str) -> TransferError:
        code, status = error.code, error.status
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
                f"{what}: the store asked for fewer requests",
                retry_after_seconds=retry_after_seconds(error.answer.headers.get("Retry-After")),
            )
        if code in _CHECKSUM_CODES:
            return ChecksumMismatchError(f"{what}: the store received other bytes than were sent ({code})")
        if status >= 500 or code in ("RequestTimeout", "InternalError", "IncompleteBody"):
            return ConnectionLostError(f"{what}: the store answered {status} {code}")
        return PermanentError(f"{what}: the store answered {status} {code}: {error.message}")


def _from_listing(page: ET.Element, answer: Answer) -> list[ObjectInfo]:
    is_encoded = page.findtext("EncodingType") == "url"
    try:
        return [_listed(entry, is_encoded=is_encoded) for entry in page.iter("Contents")]
    except (KeyError, ValueError) as error:
        raise ConnectionLostError(f"{answer.target} failed: the answer lacks {error}") from None


def _prefixes(page: ET.Element) -> list[Prefix]:
    is_encoded = page.findtext("EncodingType") == "url"
    keys = [element.text or "" for element in page.iterfind("CommonPrefixes/Prefix")]
    return [Prefix(_decoded(key) if is_encoded else key) for key in keys]


def _decoded(key: str) -> str:
    return urllib.parse.unquote_plus(key, errors="surrogateescape")


def _listed(entry: ET.Element, *, is_encoded: bool) -> ObjectInfo:
    fields = {element.tag: element.text or "" for element in entry}
    etag = unquoted(fields.get("ETag", ""))
    modified = fields.get("LastModified")
    key = fields["Key"]
    return ObjectInfo(
        key=_decoded(key) if is_encoded else key,
        size_bytes=int(fields["Size"]),
        etag=etag,
        modified_at=datetime.fromisoformat(modified) if modified else None,
        etag_may_be_md5=_looks_like_md5(etag),
        is_archived=fields.get("StorageClass") in _ARCHIVE_CLASSES,
    )


def content_length(answer: Answer) -> int:
    try:
        return int(answer.headers["Content-Length"])
    except (KeyError, ValueError):
        raise ConnectionLostError(f"{answer.target} failed: the answer does not tell the size") from None


def _whole_checksums(headers: Mapping[str, str], etag: str) -> dict[str, str]:
    """Return the checksums of the whole content; composite ones (`value-parts`) say nothing about it.

    An object that was uploaded in parts has composite ones unless the store says otherwise: stores that do not tell
    the type (or tell the value without `-parts`, as moto's HEAD does) would make every such object look damaged.
    Only CRC64NVME is never composite.
    """
    kind = headers.get("x-amz-checksum-type")
    if kind == "COMPOSITE":
        return {}
    is_in_parts = kind != "FULL_OBJECT" and _COMPOSITE_ETAG.fullmatch(etag)
    found = ((name, headers.get(header)) for header, name in _CHECKSUM_HEADERS.items())
    return {
        name: hex_of(value)
        for name, value in found
        if value and "-" not in value and (name == "crc64nvme" or not is_in_parts)
    }


def _is_encrypted_apart(headers: Mapping[str, str]) -> bool:
    """Tell whether the object lies under KMS or a customer's key, which makes its etag something else than an MD5."""
    return (
        headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )


def _looks_like_md5(etag: str) -> bool:
    return _MD5.fullmatch(etag) is not None


def _is_archived(headers: Mapping[str, str]) -> bool:
    archived = (
        headers.get("x-amz-storage-class") in _ARCHIVE_CLASSES
        or headers.get("x-amz-archive-status") in _ARCHIVE_STATUSES
    )
    return archived and 'ongoing-request="false"' not in headers.get("x-amz-restore", "")


def _version(headers: Mapping[str, str]) -> str | None:
    version = headers.get("x-amz-version-id")
    return version if version and version != "null" else None
