"""A large object on its way to S3: one multipart upload."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from skyferry.checksums import base64_of, composite_etag
from skyferry.content_memory import Content
from skyferry.errors import ConnectionLostError, SizeMismatchError, TransferError
from skyferry.objects import Committed, ObjectInfo
from skyferry.stores.base import UploadToken
from skyferry.stores.http_requests import parse_xml
from skyferry.stores.s3_api import S3AnswerError, require_success_within
from skyferry.stores.s3_requests import condition, quoted, unquoted

if TYPE_CHECKING:
    from skyferry.stores.s3 import S3Store


class S3Upload:
    """A multipart upload; parts may be sent in any order.

    Args:
        checks_crc: The endpoint checks each part by its CRC64NVME, and tells that of the whole in the end. Otherwise
            etags prove what it stored, and cost an MD5 of each part: a CPU second and more for each GiB.
    """

    def __init__(
        self,
        store: S3Store,
        key: str,
        upload_id: str,
        *,
        size_bytes: int,
        replaces: ObjectInfo | None,
        checks_crc: bool,
    ) -> None:
        self._store = store
        self._key = key
        self._upload_id = upload_id
        self._size_bytes = size_bytes
        self._replaces = replaces
        self._checks_crc = checks_crc
        self._parts: dict[int, str] = {}
        self._part_digests: dict[int, Mapping[str, str]] = {}
        self._part_bytes: dict[int, int] = {}
        self._found: dict[int, Mapping[str, str]] = {}

    @property
    def part_digests(self) -> frozenset[str]:
        return frozenset({"crc64nvme"} if self._checks_crc else {"crc64nvme", "md5"})

    @property
    def token(self) -> UploadToken:
        return {"upload_id": self._upload_id} | ({"checks_crc": "yes"} if self._checks_crc else {})

    async def find_parts(self) -> bool:
        """Look up what the store holds of an earlier attempt; False when it knows no such upload."""
        target = self._store.target("listing the parts of", self._key, "s3:ListMultipartUploadParts")
        marker = 0
        while True:
            query = {"uploadId": self._upload_id} | ({"part-number-marker": str(marker)} if marker else {})
            try:
                answer = await self._store.api.ask("GET", self._key, target, query=query)
            except S3AnswerError as error:
                if error.code in ("NoSuchUpload", "404"):
                    return False
                self._store.fail(error, target.action, self._key, needs=target.needs)
            page = parse_xml(answer)
            for part in page.iterfind("Part"):
                fields = {element.tag: element.text or "" for element in part}
                self._found[int(fields.get("PartNumber") or 0) - 1] = fields
            next_marker = int(page.findtext("NextPartNumberMarker") or 0)
            if page.findtext("IsTruncated") != "true" or next_marker <= marker:
                return True
            marker = next_marker

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        """As the protocol says; proven by the part's CRC64NVME, or by its etag, which is its MD5 (not under KMS)."""
        part = self._found.get(index)
        if part is None or part.get("Size") != str(size_bytes):
            return False
        has_checksum = part.get("ChecksumCRC64NVME") == base64_of(digests["crc64nvme"])
        if unquoted(part["ETag"]) != digests.get("md5") and not has_checksum:
            return False
        self._take(index, part["ETag"], size_bytes, digests)
        return True

    async def put_part(self, index: int, body: Content, digests: Mapping[str, str]) -> None:
        target = self._store.target(f"writing part {index + 1} of", self._key, "s3:PutObject")
        try:
            answer = await self._store.api.ask(
                "PUT",
                self._key,
                target,
                query={"partNumber": str(index + 1), "uploadId": self._upload_id},
                headers=self._store.integrity(digests),
                body=body,
                size_bytes=len(body),
            )
        except S3AnswerError as error:
            self._store.fail(error, target.action, self._key, needs=target.needs)
        etag = answer.headers.get("ETag")
        if not etag:
            raise ConnectionLostError(f"{target} failed: the answer lacks an etag")
        self._take(index, etag, len(body), digests)

    def _take(self, index: int, etag: str, size_bytes: int, digests: Mapping[str, str]) -> None:
        self._parts[index] = unquoted(etag)
        self._part_bytes[index] = size_bytes
        self._part_digests[index] = digests

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        self._require_all_parts()
        headers = dict(condition(self._replaces))
        if self._store.sends_checksums:
            headers |= self._store.integrity(digests) | {"x-amz-checksum-type": "FULL_OBJECT"}
        try:
            told = await self._complete(headers)
        except S3AnswerError as error:
            self._store.fail_writing(error, self._key)
        committed = self._store.committed(
            self._key,
            self._size_bytes,
            told,
            expected_etag=self._expected_etag(),
            etag_proof="etag",
            crc64nvme=digests["crc64nvme"],
        )
        if committed.verified_by is None and self._checks_crc:
            return await self._look_up_proof(committed, digests["crc64nvme"])
        return committed

    async def _look_up_proof(self, committed: Committed, crc64nvme: str) -> Committed:
        """Ask for the checksum that an endpoint has left out of its answer; reading the object costs far more."""
        try:
            found = await self._store.stat(self._key)
        except TransferError:
            return committed  # the object is there: it is proven in another way
        if found is None or found.etag != committed.info.etag or found.checksums.get("crc64nvme") != crc64nvme:
            return committed
        return replace(committed, verified_by="crc64nvme")

    def _expected_etag(self) -> str | None:
        if self._checks_crc:
            return None
        return composite_etag(self._part_digests[index]["md5"] for index in sorted(self._parts))

    async def _complete(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Put the object together, and return what S3 says of it as headers say it of a smaller one."""
        answer = await self._store.api.ask(
            "POST",
            self._key,
            self._store.target("writing", self._key, "s3:PutObject"),
            query={"uploadId": self._upload_id},
            headers=headers,
            body=self._part_list().encode(),
            # The larger the object, the longer S3 takes to put it together: minutes, its documentation says.
            size_bytes=self._size_bytes,
        )
        root = parse_xml(answer)
        require_success_within(answer, root)
        told = {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith("x-amz-")}
        told["ETag"] = root.findtext("ETag") or ""
        told["x-amz-checksum-crc64nvme"] = root.findtext("ChecksumCRC64NVME") or ""
        return told

    def _part_list(self) -> str:
        """Return the parts as S3 wants them named.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
        """
        parts = "".join(self._part_entry(index) for index in sorted(self._parts))
        return (
            f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}'
            "</CompleteMultipartUpload>"
        )

    def _part_entry(self, index: int) -> str:
        checksum = ""
        if self._store.sends_checksums:
            value = base64_of(self._part_digests[index]["crc64nvme"])
            checksum = f"<ChecksumCRC64NVME>{value}</ChecksumCRC64NVME>"
        etag = html.escape(quoted(self._parts[index]), quote=False)
        return f"<Part><PartNumber>{index + 1}</PartNumber><ETag>{etag}</ETag>{checksum}</Part>"

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
        await self._store.abort_quietly(self._key, self._upload_id)
