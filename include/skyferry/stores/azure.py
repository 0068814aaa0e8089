"""Azure Blob Storage as a store: block blobs, conditional on what the key showed, checked on arrival.

A small object is one Put Blob, a large one is Put Block for each part and one Put Block List, which is the commit. The
service refuses a blob that does not fit its `Content-MD5`, and a block that does not fit its CRC64; the whole content's
MD5 is kept with the blob.

Known limitations: the service has no call that removes the uncommitted blocks of a given-up upload; they are invisible,
and the service drops them a week after the last of them was written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from skyferry.checksums import base64_of, digest, hex_of
from skyferry.content_memory import Content
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    BucketNotEmptyError,
    ChecksumMismatchError,
    ConnectionLostError,
    DestinationChangedError,
    KeyRefusedError,
    ObjectArchivedError,
    ObjectTooLargeError,
    PermanentError,
    RetryableError,
    SizeMismatchError,
    SourceChangedError,
    SourceMissingError,
    ThrottledError,
    TransferError,
)
from skyferry.key_order import in_key_order, key_bytes
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata, Prefix
from skyferry.stores.azure_api import AzureAnswerError, AzureApi, ConditionNotMetError, user_metadata
from skyferry.stores.azure_copy import AzureCopy
from skyferry.stores.azure_requests import (
    WRITE_RIGHT,
    condition_headers,
    metadata_headers,
    quoted,
    unquoted,
)
from skyferry.stores.azure_upload import AzureUpload
from skyferry.stores.base import Capabilities, EtagDigest, UploadToken, delete_each
from skyferry.stores.http_requests import Answer, Target, parse_xml
from skyferry.stores.pacing import retry_after_seconds
from skyferry.stores.renaming import rename_by_copy

_MEBIBYTE = 2**20
_MAX_PUT_BLOB_BYTES = 5_000 * _MEBIBYTE
_PAGE_KEYS = 5_000
_READ_RIGHT = "Storage Blob Data Reader, or a SAS with the letter r"
_LIST_RIGHT = "Storage Blob Data Reader, or a SAS with the letter l for the container"
_DELETE_RIGHT = "Storage Blob Data Contributor, or a SAS with the letters r and d"
_CREATE_RIGHT = "Storage Blob Data Contributor on the storage account; the SAS of a container cannot create it"
_TAG_RIGHT = "Storage Blob Data Owner, or a SAS with the letter t"
# Codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_ACCESS_CODES = frozenset({"UnauthorizedBlobOverwrite", "InvalidAuthenticationInfo", "NoAuthenticationInformation"})
_CHECKSUM_CODES = frozenset({"Md5Mismatch", "InvalidMd5", "Crc64Mismatch"})
# The list is invalid when the blocks are gone: anybody's commit or Put Blob drops those of all who were still at it.
_CONDITION_CODES = frozenset({"ConditionNotMet", "TargetConditionNotMet", "BlobAlreadyExists", "InvalidBlockList"})
_THROTTLE_CODES = frozenset({"ServerBusy", "TooManyRequests"})
_LEASE_PREFIX = "Lease"
# Codes whose hint is worth more than the code; all permanent.
_HINTS = {
    "BlobTypeMismatch": "the key holds an append or page blob; delete it or choose another destination",
    "InvalidBlobType": "the key holds an append or page blob; delete it or choose another destination",
    "InvalidBlobOrBlock": "another program left unfinished blocks at this key; write or delete the blob once with that "
    "program, or wait a week until the service has dropped them",
    "SnapshotsPresent": "the blob has snapshots, which would be lost with it; remove them first",
    "BlobImmutableDueToPolicy": "an immutability policy or a legal hold protects it",
    "OutOfRangeInput": "a name is too short or too long; containers have 3 to 63 characters",
    "InvalidResourceName": "the container has a name Azure does not allow",
}
_LISTING: Mapping[str, str] = MappingProxyType({"restype": "container", "comp": "list"})
_FOLDER = "it is a folder of the account's hierarchical namespace"
_WRITTEN_WHOLE = (None, "", "BlockBlob")


class _AlreadyExistsError(TransferError):
    """The container is there already."""


class AzureStore:
    """One container; implements `skyferry.stores.base.Store`.

    Tags are read only where a blob has some. Where the credentials do not allow that, the object is read without them
    and its metadata says so in `withheld`.

    Listings are not promised in key order: the vendor says "alphabetical order", which is not defined beyond ASCII,
    and accounts with a hierarchical namespace list a folder's contents in place of its name.

    Args:
        api: Sends the requests; what it is made from stays the caller's to close.
        bucket: Name of the container.

    Source: https://learn.microsoft.com/rest/api/storageservices/list-blobs
    """

    kind = "az"
    # Limits: https://learn.microsoft.com/azure/storage/blobs/scalability-targets
    capabilities = Capabilities(
        lists_in_key_order=False,
        parts_in_order=False,
        digests=frozenset({"md5"}),
        commit_digests=frozenset({"md5"}),
        min_part_bytes=1,
        part_multiple_bytes=1,
        max_part_bytes=4_000 * _MEBIBYTE,
        max_parts=50_000,
        max_object_bytes=50_000 * 4_000 * _MEBIBYTE,
        publishes=frozenset({"md5"}),
        publishes_of_parts=frozenset({"md5"}),
        holds_metadata=True,
        reads_are_trusted=False,
    )

    def __init__(self, api: AzureApi, bucket: str) -> None:
        self._api = api
        self.bucket = bucket

    def url(self, key: str = "") -> str:
        return f"az://{self.bucket}/{key}"

    async def aclose(self) -> None:
        """The line is the caller's to close."""

    async def check_bucket(self) -> None:
        # A listing of one key, because reading a container's properties needs a right that a SAS cannot carry.
        await self.request("GET", "", "looking at", needs=_LIST_RIGHT, query=dict(_LISTING) | {"maxresults": "1"})

    async def create_bucket(self) -> None:
        try:
            await self.request("PUT", "", "creating", needs=_CREATE_RIGHT, query={"restype": "container"})
        except _AlreadyExistsError:
            return

    async def delete_bucket(self) -> None:
        """As the protocol says; the service deletes a container with all that is in it, so this one looks first.

        Blobs that are written between look and delete are lost with the container, unless the account keeps deleted
        containers.
        """
        query = dict(_LISTING) | {"maxresults": "1", "include": "uncommittedblobs,snapshots,versions"}
        try:
            answer = await self.request("GET", "", "looking at", needs=_LIST_RIGHT, query=query)
            if parse_xml(answer).find("Blobs/Blob") is not None:
                raise BucketNotEmptyError(
                    f"{self.url()} is not empty", hint="snapshots, versions and unfinished uploads count"
                )
            await self.request("DELETE", "", "deleting", needs=_CREATE_RIGHT, query={"restype": "container"})
        except BucketMissingError:
            return

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for page, answer in self._pages(prefix, {}):
            for info in _listed_all(page, answer):
                if not start_after or key_bytes(info.key) > key_bytes(start_after):
                    yield info

    async def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """As the protocol says; the blob that stands for a folder is shown as the prefix it stands for."""
        async for page, answer in self._pages(prefix, {"delimiter": "/"}):
            infos = _listed_all(page, answer)
            prefixes = [Prefix(_name(element)) for element in page.iterfind("Blobs/BlobPrefix")]
            prefixes += [Prefix(f"{info.key}/") for info in infos if info.unreadable_because]
            for entry in in_key_order([*(info for info in infos if not info.unreadable_because), *prefixes]):
                yield entry

    async def _pages(self, prefix: str, options: Mapping[str, str]) -> AsyncIterator[tuple[ET.Element, Answer]]:
        query = {**_LISTING, "include": "metadata", "maxresults": str(_PAGE_KEYS), **options}
        if prefix:
            query["prefix"] = prefix
        target = self._target("listing", prefix, needs=_LIST_RIGHT)
        while True:
            answer = await self.request("GET", "", "listing", needs=_LIST_RIGHT, query=query, target=target)
            page = parse_xml(answer)
            yield page, answer
            token = page.findtext("NextMarker")
            if not token:
                return
            if token == query.get("marker"):
                raise ConnectionLostError(
                    f"listing {self.url(prefix)} goes round in circles: the store gave the same continuation twice"
                )
            query["marker"] = token

    async def stat(self, key: str) -> ObjectInfo | None:
        answer = await self.head(key)
        return None if answer is None else await self.describe(key, answer)

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, Content]:
        answer = await self._get(info, {}, 0, info.size_bytes)
        return await self.describe(info.key, answer), answer.body

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> Content:
        # A range cannot be empty.
        span = {"x-ms-range": f"bytes={start_byte}-{start_byte + size_bytes - 1}"} if size_bytes else {}
        return (await self._get(info, span, start_byte, size_bytes)).body

    async def etag_digest(self, info: ObjectInfo) -> EtagDigest | None:
        """Return None: Azure's etags are not made from content."""
        del info
        return None

    async def _get(self, info: ObjectInfo, span: dict[str, str], start_byte: int, size_bytes: int) -> Answer:
        _require_name(info.key, self.url(info.key))

        def accept(_: int, found: Mapping[str, str]) -> None:
            if unquoted(found.get("ETag", info.etag)) != info.etag:
                raise self._changed(info)

        try:
            answer = await self.request(
                "GET",
                info.key,
                "reading",
                needs=_READ_RIGHT,
                headers={**span, "If-Match": quoted(info.etag)},
                size_bytes=size_bytes,
                accept=accept,
            )
        except ConditionNotMetError:
            raise await self.no_longer(info) from None
        if len(answer.body) != size_bytes:
            raise SizeMismatchError(
                f"read {len(answer.body):,} of {size_bytes:,} bytes of {self.url(info.key)} from byte {start_byte:,}"
            )
        return answer

    async def no_longer(self, info: ObjectInfo) -> SourceChangedError | SourceMissingError:
        """Tell a key that shows another version from one that shows nothing; a condition fails on both."""
        if await self.stat(info.key) is None:
            return SourceMissingError(f"{self.url(info.key)} is gone")
        return self._changed(info)

    def _changed(self, info: ObjectInfo) -> SourceChangedError:
        return SourceChangedError(
            f"{self.url(info.key)} is no longer the version that was planned (etag {info.etag})",
            hint="it was left alone and will be looked at again",
        )

    async def describe(self, key: str, answer: Answer) -> ObjectInfo:
        """Describe a whole blob by the headers of an answer about it."""
        headers = answer.headers
        user = user_metadata(headers)
        version_id = headers.get("x-ms-version-id")
        tag_count = headers.get("x-ms-tag-count", "0")
        tags, withheld = await self._tags(key, version_id, tag_count) if tag_count != "0" else ({}, ())
        metadata = ObjectMetadata(
            content_type=headers.get("Content-Type", ""),
            content_encoding=headers.get("Content-Encoding", ""),
            content_language=headers.get("Content-Language", ""),
            content_disposition=headers.get("Content-Disposition", ""),
            cache_control=headers.get("Cache-Control", ""),
            user=user,
            tags=tags,
            withheld=withheld,
        )
        size_bytes = _content_length(answer)
        md5 = headers.get("Content-MD5") if headers.get("x-ms-blob-type") in _WRITTEN_WHOLE else None
        modified = headers.get("Last-Modified")
        return ObjectInfo(
            key=key,
            size_bytes=size_bytes,
            etag=unquoted(headers.get("ETag", "")),
            version_id=version_id,
            modified_at=parsedate_to_datetime(modified) if modified else None,
            checksums={"md5": hex_of(md5)} if md5 else {},
            metadata=metadata,
            is_archived=headers.get("x-ms-access-tier") == "Archive",
            unreadable_because=_FOLDER if _is_folder(size_bytes, user) else "",
        )

    async def _tags(self, key: str, version_id: str | None, tag_count: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the tags, or what to report where the credentials may read the blob but not its tags."""
        query = {"comp": "tags"} | ({"versionid": version_id} if version_id else {})
        try:
            answer = await self.request("GET", key, "reading the tags of", needs=_TAG_RIGHT, query=query)
        except AccessDeniedError:
            return {}, (f"{tag_count} tags could not be read: that needs {_TAG_RIGHT}",)
        return {tag.findtext("Key", ""): tag.findtext("Value", "") for tag in parse_xml(answer).iter("Tag")}, ()

    async def put_object(
        self,
        key: str,
        body: Content,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        if len(body) > _MAX_PUT_BLOB_BYTES:
            raise ObjectTooLargeError(
                f"{self.url(key)} has {len(body):,} bytes; one request carries {_MAX_PUT_BLOB_BYTES:,}",
                hint="upload it in parts",
            )
        try:
            return await self._put_blob(key, body, metadata=metadata, md5=digests["md5"], replaces=replaces)
        except DestinationChangedError:
            if replaces is not None or await self.stat(key) is not None:
                raise
        # The key shows nothing and yet counts as existing: an upload that was given up left its blocks. (Azurite does
        # so; the vendor does not say.) A commit of blocks is judged by what the key shows.
        upload = await self.start_upload(
            key, size_bytes=len(body), part_bytes=max(1, len(body)), metadata=metadata, replaces=None
        )
        if body:
            await upload.put_part(0, body, await digest(body, upload.part_digests))
        return await upload.commit(digests)

    async def _put_blob(
        self, key: str, body: Content, *, metadata: ObjectMetadata, md5: str, replaces: ObjectInfo | None
    ) -> Committed:
        _require_name(key, self.url(key))
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "Content-MD5": base64_of(md5),
            "x-ms-blob-content-md5": base64_of(md5),
            **metadata_headers(metadata),
            **condition_headers(replaces),
        }
        answer = await self.write(key, headers=headers, body=body)
        found_md5 = hex_of(answer.headers.get("Content-MD5", ""))
        if found_md5 and found_md5 != md5:
            raise ChecksumMismatchError(f"{self.url(key)} was stored with md5 {found_md5}; {md5} was sent")
        return self.committed(key, len(body), answer, md5=md5, verified_by="md5" if found_md5 else None)

    async def write(self, key: str, **options: Any) -> Answer:
        """Return the answer to the request that changes what a key shows.

        Args:
            options: Those of `AzureApi.ask`, with a body.

        Raises:
            DestinationChangedError: The key does not show what the request's condition names.
        """
        size_bytes = len(options["body"])
        try:
            return await self.request("PUT", key, "writing", needs=WRITE_RIGHT, size_bytes=size_bytes, **options)
        except ConditionNotMetError:
            raise DestinationChangedError(
                f"{self.url(key)} was written or removed by somebody else since it was looked at",
                hint="it was left alone",
            ) from None

    def committed(self, key: str, size_bytes: int, answer: Answer, *, md5: str, verified_by: str | None) -> Committed:
        info = ObjectInfo(
            key=key,
            size_bytes=size_bytes,
            etag=unquoted(answer.headers.get("ETag", "")),
            version_id=answer.headers.get("x-ms-version-id"),
            checksums={"md5": md5},
        )
        return Committed(info=info, verified_by=verified_by)

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> AzureUpload:
        """As the protocol says; no request is needed to begin."""
        del part_bytes
        _require_name(key, self.url(key))  # refuses what cannot be a name before the first byte
        return AzureUpload(self, key, size_bytes=size_bytes, metadata=metadata, replaces=replaces)

    async def resume_upload(
        self,
        key: str,
        token: UploadToken,
        *,
        size_bytes: int,
        part_bytes: int,
        metadata: ObjectMetadata,
        replaces: ObjectInfo | None,
    ) -> AzureUpload | None:
        """As the protocol says; one request for the list of blocks."""
        del token, part_bytes
        upload = AzureUpload(self, key, size_bytes=size_bytes, metadata=metadata, replaces=replaces)
        await upload.find_blocks()
        return upload

    async def abort_upload(self, key: str, token: UploadToken) -> None:
        """Do nothing; see the module's known limitation."""

    async def delete_object(self, info: ObjectInfo) -> bool:
        """As the protocol says; with soft delete or versioning on, the account keeps what it is set to keep."""
        _require_name(info.key, self.url(info.key))
        condition = {"If-Match": quoted(info.etag)}
        try:
            await self.request("DELETE", info.key, "deleting", needs=_DELETE_RIGHT, headers=condition)
        except SourceMissingError:
            return False
        except ConditionNotMetError:
            no_longer = await self.no_longer(info)
            if isinstance(no_longer, SourceMissingError):
                return False
            raise no_longer from None
        return True

    async def delete_objects(self, infos: Sequence[ObjectInfo]) -> Sequence[bool | TransferError]:
        return await delete_each(self, infos)

    async def rename_object(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> str:
        """As the protocol says, by Copy Blob; the tier stays where somebody chose it, leases and snapshots do not.

        Blobs whose tags must not be read are refused, because the copy would lack them.
        """
        _require_name(key, self.url(key))
        return await rename_by_copy(AzureCopy(self, self._api), info, key, replaces=replaces)

    async def head(self, key: str) -> Answer | None:
        """Return all headers of a blob; None where there is none."""
        _require_name(key, self.url(key))
        try:
            return await self.request("HEAD", key, "looking at", needs=_READ_RIGHT)
        except SourceMissingError:
            return None

    async def request(
        self, method: str, key: str, action: str, *, needs: str, target: Target | None = None, **options: Any
    ) -> Answer:
        """Return the answer to a request, or raise what it means; `options` are those of `AzureApi.ask`."""
        try:
            return await self._api.ask(method, key, target or self._target(action, key, needs=needs), **options)
        except AzureAnswerError as error:
            raise self._translate(error, f"{action} {self.url(key)}", key, needs) from None

    def _target(self, action: str, key: str, *, needs: str) -> Target:
        return Target(action=action, url=self.url(key), needs=needs, absent="object" if key else "bucket")

    def _translate(self, error: AzureAnswerError, what: str, key: str, needs: str) -> TransferError:
        code, status = error.code, error.status
        found = f"{status} {code}".strip()
        if code in _CONDITION_CODES or (status == 412 and not code.startswith(_LEASE_PREFIX)):
            return ConditionNotMetError(f"{what} failed: {found}")
        if code == "ContainerAlreadyExists":
            return _AlreadyExistsError(f"{what} failed: {found}")
        if code == "ContainerNotFound" or (status == 404 and not key):
            return BucketMissingError(
                f"there is no container {self.url()}", hint="create it, or set create_destination for a destination"
            )
        if status == 404:
            return SourceMissingError(f"{self.url(key)} is gone")
        if code == "BlobArchived":
            return ObjectArchivedError(
                f"{self.url(key)} is in the archive tier", hint="set its tier to hot or cool and wait for rehydration"
            )
        if code == "ContainerBeingDeleted":
            return RetryableError(f"{what} failed: the container is being deleted", hint="its name is free again soon")
        if status in (401, 403) or code in _ACCESS_CODES:
            return AccessDeniedError(f"access denied {what} ({found})", hint=f"it needs {needs}")
        return self._translate_fault(error, what, found)

    def _translate_fault(self, error: AzureAnswerError, what: str, found: str) -> TransferError:
        code, status = error.code, error.status
        if code.startswith(_LEASE_PREFIX):
            return PermanentError(f"{what} failed: the blob is leased ({found})", hint="end the lease first")
        if status in (429, 503) or code in _THROTTLE_CODES:
            return ThrottledError(
                f"{what} failed: the store asked for fewer requests ({found})",
                retry_after_seconds=retry_after_seconds(error.headers.get("Retry-After")),
            )
        if code in _CHECKSUM_CODES:
            return ChecksumMismatchError(f"{what} failed: the store received other bytes than were sent ({found})")
        if status >= 500 or status == 408:
            return ConnectionLostError(f"{what} failed: the store answered {found}")
        request_id = error.headers.get("x-ms-request-id", "")
        return PermanentError(
            f"{what} failed: the store answered {found} (request {request_id})", hint=_HINTS.get(code, "")
        )


def _require_name(key: str, url: str) -> None:
    """Refuse keys that URL libraries or the service turn into other names.

    `a/../b` would be normalised on its way, and leave the container with enough dots; a backslash becomes `/`.
    """
    if not key or "\\" in key or any(segment in (".", "..") for segment in key.split("/")):
        raise KeyRefusedError(f"{url} cannot be the name of an Azure blob", hint="rename the object")
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        raise KeyRefusedError(f"{url} is not valid Unicode", hint="rename the object") from None


def _listed_all(page: ET.Element, answer: Answer) -> list[ObjectInfo]:
    try:
        return [_listed(blob) for blob in page.iterfind("Blobs/Blob")]
    except (AttributeError, KeyError, ValueError) as error:
        raise ConnectionLostError(f"{answer.target} failed: the answer lacks {error}") from None


def _name(entry: ET.Element) -> str:
    name = entry.find("Name")
    if name is None:
        raise KeyError("Name")
    # Names with characters XML cannot hold come percent-encoded.
    return unquote(name.text or "") if name.get("Encoded") == "true" else name.text or ""


def _listed(blob: ET.Element) -> ObjectInfo:
    key = _name(blob)
    properties = {element.tag: element.text or "" for element in blob.iterfind("Properties/*")}
    user = {element.tag: element.text or "" for element in blob.iterfind("Metadata/*")}
    md5 = properties.get("Content-MD5") if properties.get("BlobType") in _WRITTEN_WHOLE else ""
    modified = properties.get("Last-Modified")
    size_bytes = int(properties["Content-Length"])
    return ObjectInfo(
        key=key,
        size_bytes=size_bytes,
        etag=unquoted(properties.get("Etag", "")),
        version_id=blob.findtext("VersionId"),
        modified_at=parsedate_to_datetime(modified) if modified else None,
        checksums={"md5": hex_of(md5)} if md5 else {},
        is_archived=properties.get("AccessTier") == "Archive",
        unreadable_because=_FOLDER if _is_folder(size_bytes, user) else "",
    )


def _content_length(answer: Answer) -> int:
    try:
        return int(answer.headers["Content-Length"])
    except (KeyError, ValueError):
        if answer.body:
            return len(answer.body)
        raise ConnectionLostError(f"{answer.target} failed: the answer does not tell the size") from None


def _is_folder(size_bytes: int, user: Mapping[str, str]) -> bool:
    """Tell whether a blob stands for a folder: accounts with a hierarchical namespace list one of 0 bytes for each.

    Source: rclone goes by the same mark, backend/azureblob/azureblob.go (isDirectoryMarker).
    """
    marks = {name.lower(): value for name, value in user.items()}
    return size_bytes == 0 and marks.get("hdi_isfolder", "").lower() == "true"
