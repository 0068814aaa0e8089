"""Copies within an S3 bucket: one request up to 5 GiB, above that an upload whose parts are copied.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html and .../API_UploadPartCopy.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote
from xml.etree import ElementTree as ET

from skyferry.errors import ConnectionLostError, DestinationChangedError, SourceMissingError
from skyferry.objects import ObjectInfo
from skyferry.ordered_work import map_in_order
from skyferry.stores.http_requests import parse_xml
from skyferry.stores.s3_api import S3AnswerError, require_success_within
from skyferry.stores.s3_requests import condition, metadata_headers, quoted, unquoted

if TYPE_CHECKING:
    from skyferry.stores.s3 import S3Store

MAX_COPY_BYTES = 5 * 2**30
"""What one request copies at most."""

PART_BYTES = 2**29
MAX_PARTS = 10_000
_PARTS_IN_FLIGHT = 8
_NEEDS = "s3:GetObject, s3:GetObjectTagging, s3:PutObject and s3:PutObjectTagging"
_CONDITION_CODES = frozenset(
    {"412", "409", "404", "PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "NoSuchVersion"}
)
# What a copy gets anew unless it is asked for; `x-amz-storage-class` is absent for the standard one.
_KEPT = (
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-website-redirect-location",
)


class S3Copy:
    """One copy within a bucket; implements `skyferry.stores.renaming.Renamer`."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._looked_only = False
        self.url = store.url
        self.stat = store.stat
        self.delete_object = store.delete_object

    @property
    def caution(self) -> str:
        """Which conditions the endpoint refused to take."""
        refused = [
            *(["copies"] if self._looked_only else []),
            *([] if self._store.takes_conditional_deletes else ["deletions"]),
        ]
        if not refused:
            return ""
        return (
            f"the endpoint of {self.url()} knows no conditional {' and '.join(refused)}: it was looked at right "
            "before, and a writer in between would not have been noticed"
        )

    async def copy(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> ObjectInfo:
        answer = await self._store.head(info.key)
        if answer is None:
            raise SourceMissingError(f"{self.url(info.key)} is gone")
        original = await self._store.describe(info.key, answer, info.size_bytes)
        if original.etag != info.etag:
            raise self._store.changed(info)
        kept = {name: value for name in _KEPT if (value := answer.headers.get(name))}
        try:
            if info.size_bytes <= MAX_COPY_BYTES:
                headers = kept | self._source(original)
                await self._conditionally("PUT", key, headers, replaces, size_bytes=info.size_bytes)
            else:
                await self._copy_parts(original, key, kept, replaces)
        except S3AnswerError as error:
            await self._fail(error, info, key)
        return original

    def _source(self, original: ObjectInfo) -> dict[str, str]:
        """Return the headers that name what is copied: this version, while it has this etag."""
        version = f"?versionId={quote(original.version_id, safe='~')}" if original.version_id else ""
        return {
            "x-amz-copy-source": quote(f"/{self._store.bucket}/{original.key}", safe="/~") + version,
            "x-amz-copy-source-if-match": quoted(original.etag),
        }

    async def _conditionally(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        replaces: ObjectInfo | None,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        size_bytes: int,
    ) -> None:
        """Ask for what makes the key show the copy; without a condition where the endpoint knows none."""
        conditions = condition(replaces)
        while True:
            try:
                await self._ask(method, key, {**headers, **conditions}, query or {}, body=body, size_bytes=size_bytes)
            except S3AnswerError as error:
                if not error.is_not_implemented or not conditions:
                    raise
                self._looked_only, conditions = True, {}
            else:
                return

    async def _ask(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        *,
        body: bytes = b"",
        size_bytes: int = 0,
    ) -> ET.Element:
        target = self._store.target("renaming to", key, _NEEDS)
        answer = await self._store.api.ask(
            method, key, target, query=query, headers=headers, body=body, size_bytes=size_bytes
        )
        root = parse_xml(answer)
        require_success_within(answer, root)
        return root

    async def _copy_parts(
        self, original: ObjectInfo, key: str, kept: Mapping[str, str], replaces: ObjectInfo | None
    ) -> None:
        assert original.metadata is not None
        root = await self._ask("POST", key, {**metadata_headers(original.metadata), **kept}, {"uploads": ""})
        upload_id = root.findtext("UploadId")
        if not upload_id:
            raise ConnectionLostError(f"renaming to {self.url(key)} failed: the store gave no id of an upload")
        try:
            etags = await self._copied_etags(original, key, upload_id)
            entries = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
                for number, etag in enumerate(etags, start=1)
            )
            space = "http://s3.amazonaws.com/doc/2006-03-01/"
            body = f'<CompleteMultipartUpload xmlns="{space}">{entries}</CompleteMultipartUpload>'.encode()
            query = {"uploadId": upload_id}
            await self._conditionally("POST", key, {}, replaces, query=query, body=body, size_bytes=original.size_bytes)
        except BaseException:
            await self._store.abort_quietly(key, upload_id)
            raise

    async def _copied_etags(self, original: ObjectInfo, key: str, upload_id: str) -> list[str]:
        part_bytes = max(PART_BYTES, -(-original.size_bytes // MAX_PARTS))
        source = self._source(original)

        async def starts() -> AsyncIterator[int]:
            for start_byte in range(0, original.size_bytes, part_bytes):
                yield start_byte

        async def copy_part(start_byte: int) -> str:
            end_byte = min(start_byte + part_bytes, original.size_bytes) - 1
            headers = source | {"x-amz-copy-source-range": f"bytes={start_byte}-{end_byte}"}
            query = {"partNumber": str(start_byte // part_bytes + 1), "uploadId": upload_id}
            root = await self._ask("PUT", key, headers, query, size_bytes=part_bytes)
            etag = unquoted(root.findtext("ETag") or "")
            if not etag:
                raise ConnectionLostError(f"renaming to {self.url(key)} failed: the answer lacks an etag")
            return etag

        return [etag async for etag in map_in_order(starts(), copy_part, limit=_PARTS_IN_FLIGHT)]

    async def _fail(self, error: S3AnswerError, info: ObjectInfo, key: str) -> NoReturn:
        """Raise what an answer means; a condition that does not hold may be the original's or the copy's."""
        if error.code not in _CONDITION_CODES:
            self._store.fail(error, f"renaming {self.url(info.key)} to", key, needs=_NEEDS)
        found = await self.stat(info.key)
        if found is None:
            raise SourceMissingError(f"{self.url(info.key)} is gone") from None
        if found.etag != info.etag:
            raise self._store.changed(info) from None
        raise DestinationChangedError(
            f"{self.url(key)} was written or removed by somebody else since it was looked at", hint="it was left alone"
        ) from None
