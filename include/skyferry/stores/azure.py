"""Azure Blob Storage as a store: block blobs, conditional on what the key showed, checked by MD5 on arrival.

A small object is one Put Blob, a large one is Put Block for each part and one Put Block List, which is the commit. The
service refuses any body that does not fit its `Content-MD5`, and the whole content's MD5 is kept with the blob.

Known limitations: the service has no call that removes the uncommitted blocks of a given-up upload; they are invisible,
and the service drops them a week after the last of them was written. The SDK itself asks again, at most twice and for
the same version, when an answer breaks off in the middle of a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

import aiohttp
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient

from skyferry.checksums import base64_of
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    ChecksumMismatchError,
    ConnectionConfigError,
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
from skyferry.key_order import key_bytes
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.stores.azure_requests import (
    ONE_REQUEST,
    WRITE_RIGHT,
    condition,
    hex_of_md5,
    metadata_arguments,
    quoted,
    unquoted,
)
from skyferry.stores.azure_upload import AzureUpload
from skyferry.stores.base import Capabilities, EtagDigest
from skyferry.stores.pacing import CONNECT_SECONDS, SILENCE_SECONDS, deadline_seconds, retry_after_seconds

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
_WRITTEN_WHOLE = (None, "", "BlockBlob")
_TRANSPORT_ERRORS = (
    ServiceRequestError,
    ServiceResponseError,
    IncompleteReadError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
)


_Answer = TypeVar("_Answer")


class _ConditionNotMetError(TransferError):
    """The key does not show what the request's condition names; what that means is the caller's to say."""


class _AlreadyExistsError(TransferError):
    """The container is there already."""


def azure_client_options() -> dict[str, Any]:
    """Return the keyword arguments with which the engine wants `BlobServiceClient` to be made.

    They turn the SDK's own retries and redirects off, bound how long a connection may be silent, and make every
    upload of a small object and every read one request.
    """
    return {
        **ONE_REQUEST,
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": SILENCE_SECONDS,
        "max_single_put_size": _MAX_PUT_BLOB_BYTES,
        "max_single_get_size": _MAX_PUT_BLOB_BYTES,
    }


class AzureStore:
    """One container; implements `skyferry.stores.base.Store`.

    Tags are read only where a blob has some. Where the credentials do not allow that, the object is read without them
    and its metadata says so in `withheld`.

    Listings are not promised in key order: the vendor says "alphabetical order", which is not defined beyond ASCII,
    and accounts with a hierarchical namespace list a folder's contents in place of its name.

    Args:
        client: Made with `azure_client_options()`; it stays the caller's to close.
        bucket: Name of the container.

    Source: https://learn.microsoft.com/rest/api/storageservices/list-blobs
    """

    kind = "az"
    # Limits: https://learn.microsoft.com/azure/storage/blobs/scalability-targets
    capabilities = Capabilities(
        lists_in_key_order=False,
        parts_in_order=False,
        digests=frozenset({"md5"}),
        part_digests=frozenset({"md5"}),
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

    def __init__(self, client: BlobServiceClient, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def url(self, key: str = "") -> str:
        return f"az://{self.bucket}/{key}"

    async def aclose(self) -> None:
        """The client is the caller's to close."""

    async def check_bucket(self) -> None:
        # A listing of one key, because reading a container's properties needs a right that a SAS cannot carry.
        pages = self._container().list_blobs(results_per_page=1, **ONE_REQUEST).by_page()
        await self.ask(_next_page(pages), "looking at", "", needs=_LIST_RIGHT)

    async def create_bucket(self) -> None:
        try:
            await self.ask(self._container().create_container(**ONE_REQUEST), "creating", "", needs=_CREATE_RIGHT)
        except _AlreadyExistsError:
            return

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        listing = self._container().list_blobs(
            name_starts_with=prefix or None, include=["metadata"], results_per_page=_PAGE_KEYS, **ONE_REQUEST
        )
        pages = listing.by_page()
        previous_token = ""
        while (page := await self.ask(_next_page(pages), "listing", prefix, needs=_LIST_RIGHT)) is not None:
            for info in page:
                if not start_after or key_bytes(info.key) > key_bytes(start_after):
                    yield info
            token = str(getattr(pages, "continuation_token", None) or "")
            if token and token == previous_token:
                raise ConnectionLostError(
                    f"listing {self.url(prefix)} goes round in circles: the store gave the same continuation twice"
                )
            previous_token = token

    async def stat(self, key: str) -> ObjectInfo | None:
        request = self.blob(key).get_blob_properties(**ONE_REQUEST)
        try:
            properties = await self.ask(request, "looking at", key, needs=_READ_RIGHT)
        except SourceMissingError:
            return None
        return await self._describe_fully(key, properties)

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, bytes]:
        properties, body = await self._get(info, 0, info.size_bytes)
        return await self._describe_fully(info.key, properties, size_bytes=len(body)), body

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> bytes:
        _, body = await self._get(info, start_byte, size_bytes)
        return body

    async def etag_digest(self, info: ObjectInfo) -> EtagDigest | None:
        """Return None: Azure's etags are not made from content."""
        del info
        return None

    async def _get(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> tuple[BlobProperties, bytes]:
        request = _download(self.blob(info.key), quoted(info.etag), start_byte, size_bytes)
        try:
            properties, body = await self.ask(request, "reading", info.key, needs=_READ_RIGHT, size_bytes=size_bytes)
        except _ConditionNotMetError:
            raise await self._no_longer(info) from None
        if len(body) != size_bytes:
            raise SizeMismatchError(
                f"read {len(body):,} of {size_bytes:,} bytes of {self.url(info.key)} from byte {start_byte:,}"
            )
        return properties, body

    async def _no_longer(self, info: ObjectInfo) -> SourceChangedError | SourceMissingError:
        """Tell a key that shows another version from one that shows nothing; a condition fails on both."""
        if await self.stat(info.key) is None:
            return SourceMissingError(f"{self.url(info.key)} is gone")
        return SourceChangedError(
            f"{self.url(info.key)} is no longer the version that was planned (etag {info.etag})",
            hint="it was left alone and will be looked at again",
        )

    async def _describe_fully(
        self, key: str, properties: BlobProperties, *, size_bytes: int | None = None
    ) -> ObjectInfo:
        settings = properties.content_settings
        tags, withheld = await self._tags(key, properties) if properties.tag_count else ({}, ())
        metadata = ObjectMetadata(
            content_type=settings.content_type or "",
            content_encoding=settings.content_encoding or "",
            content_language=settings.content_language or "",
            content_disposition=settings.content_disposition or "",
            cache_control=settings.cache_control or "",
            user=dict(properties.metadata or {}),
            tags=tags,
            withheld=withheld,
        )
        return _describe(key, properties, metadata=metadata, size_bytes=size_bytes)

    async def _tags(self, key: str, properties: BlobProperties) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the tags, or what to report where the credentials may read the blob but not its tags."""
        version = {"version_id": properties.version_id} if properties.version_id else {}
        request = self.blob(key).get_blob_tags(**version, **ONE_REQUEST)
        try:
            return dict(await self.ask(request, "reading the tags of", key, needs=_TAG_RIGHT)), ()
        except AccessDeniedError:
            return {}, (f"{properties.tag_count} tags could not be read: that needs {_TAG_RIGHT}",)

    async def put_object(
        self,
        key: str,
        body: bytes,
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
            await upload.put_part(0, body, digests)
        return await upload.commit(digests)

    async def _put_blob(
        self, key: str, body: bytes, *, metadata: ObjectMetadata, md5: str, replaces: ObjectInfo | None
    ) -> Committed:
        request = self.blob(key).upload_blob(
            body,
            length=len(body),
            overwrite=True,  # the condition decides
            headers={"Content-MD5": base64_of(md5)},
            **metadata_arguments(metadata, md5),
            **condition(replaces),
            **ONE_REQUEST,
        )
        answer = await self.ask_to_write(request, key, size_bytes=len(body))
        return self.committed(key, len(body), answer, md5=md5, found_md5=hex_of_md5(answer.get("content_md5")))

    def committed(self, key: str, size_bytes: int, answer: Mapping[str, Any], *, md5: str, found_md5: str) -> Committed:
        if found_md5 and found_md5 != md5:
            raise ChecksumMismatchError(f"{self.url(key)} was stored with md5 {found_md5}; {md5} was sent")
        info = ObjectInfo(
            key=key,
            size_bytes=size_bytes,
            etag=unquoted(answer["etag"]),
            version_id=answer.get("version_id"),
            modified_at=answer.get("last_modified"),
            checksums={"md5": md5},
        )
        return Committed(info=info, verified_by="md5" if found_md5 else None)

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> AzureUpload:
        """As the protocol says; no request is needed to begin."""
        del part_bytes
        self.blob(key)  # refuses what cannot be a name before the first byte
        return AzureUpload(self, key, size_bytes=size_bytes, metadata=metadata, replaces=replaces)

    async def delete_object(self, info: ObjectInfo) -> bool:
        """As the protocol says; with soft delete or versioning on, the account keeps what it is set to keep."""
        request = self.blob(info.key).delete_blob(
            etag=quoted(info.etag), match_condition=MatchConditions.IfNotModified, **ONE_REQUEST
        )
        try:
            await self.ask(request, "deleting", info.key, needs=_DELETE_RIGHT)
        except SourceMissingError:
            return False
        except _ConditionNotMetError:
            no_longer = await self._no_longer(info)
            if isinstance(no_longer, SourceMissingError):
                return False
            raise no_longer from None
        return True

    def _container(self) -> ContainerClient:
        return self._client.get_container_client(self.bucket)

    def blob(self, key: str) -> BlobClient:
        """Return the client of a key; refuses keys that URL libraries or the service turn into other names.

        `a/../b` would be normalised on its way, and leave the container with enough dots; a backslash becomes `/`.
        """
        if not key or "\\" in key or any(segment in (".", "..") for segment in key.split("/")):
            raise KeyRefusedError(f"{self.url(key)} cannot be the name of an Azure blob", hint="rename the object")
        try:
            key.encode("utf-8")
        except UnicodeEncodeError:
            raise KeyRefusedError(f"{self.url(key)} is not valid Unicode", hint="rename the object") from None
        return self._client.get_blob_client(self.bucket, key)

    async def ask_to_write(self, request: Awaitable[_Answer], key: str, *, size_bytes: int = 0) -> _Answer:
        try:
            return await self.ask(request, "writing", key, needs=WRITE_RIGHT, size_bytes=size_bytes)
        except _ConditionNotMetError:
            raise DestinationChangedError(
                f"{self.url(key)} was written or removed by somebody else since it was looked at",
                hint="it was left alone",
            ) from None

    async def ask(
        self, request: Awaitable[_Answer], action: str, key: str, *, needs: str, size_bytes: int = 0
    ) -> _Answer:
        """Return the answer to a request in reasonable time, or raise what it means."""
        try:
            async with asyncio.timeout(deadline_seconds(size_bytes)):
                return await request
        except Exception as error:  # whatever the SDK raises has a translation
            # Without the cause: the SDK's texts hold signatures, and aiohttp's hold whole URLs with the SAS in them.
            raise self._translate(error, action, key, needs=needs) from None

    def _translate(self, error: Exception, action: str, key: str, *, needs: str) -> TransferError:
        what = f"{action} {self.url(key)}"
        if _is_certificate_error(error):
            return ConnectionConfigError(
                f"{what} failed: the certificate of the endpoint is not trusted",
                hint="install its authority, or set `connection_verify` in the connection's extra",
            )
        if isinstance(error, HttpResponseError) and error.response is not None:
            return self._translate_answer(error, what, key, needs)
        if isinstance(error, ClientAuthenticationError) or type(error).__name__ == "AzureSigningError":
            return AccessDeniedError(
                f"{what} failed: no token or signature could be made ({type(error).__name__})",
                hint="check the key, secret or identity of the connection",
            )
        if isinstance(error, (*_TRANSPORT_ERRORS, HttpResponseError)):
            return ConnectionLostError(
                f"{what} failed: {_transport_cause(error)}", hint="the endpoint did not answer properly"
            )
        detail = " in the Azure SDK" if isinstance(error, AzureError) else ""
        return PermanentError(f"{what} failed: {type(error).__name__}{detail}")

    def _translate_answer(self, error: HttpResponseError, what: str, key: str, needs: str) -> TransferError:
        code, status = _code(error), error.status_code or 0
        found = f"{status} {code}".strip()
        if code in _CONDITION_CODES or (status == 412 and not code.startswith(_LEASE_PREFIX)):
            return _ConditionNotMetError(f"{what} failed: {found}")
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

    def _translate_fault(self, error: HttpResponseError, what: str, found: str) -> TransferError:
        code, status = _code(error), error.status_code or 0
        if code.startswith(_LEASE_PREFIX):
            return PermanentError(f"{what} failed: the blob is leased ({found})", hint="end the lease first")
        if status in (429, 503) or code in _THROTTLE_CODES:
            return ThrottledError(
                f"{what} failed: the store asked for fewer requests ({found})",
                retry_after_seconds=retry_after_seconds(_header(error, "Retry-After")),
            )
        if code in _CHECKSUM_CODES:
            return ChecksumMismatchError(f"{what} failed: the store received other bytes than were sent ({found})")
        if status >= 500 or status == 408:
            return ConnectionLostError(f"{what} failed: the store answered {found}")
        request_id = _header(error, "x-ms-request-id")
        return PermanentError(
            f"{what} failed: the store answered {found} (request {request_id})", hint=_HINTS.get(code, "")
        )


async def _next_page(pages: AsyncIterator[AsyncIterator[BlobProperties]]) -> list[ObjectInfo] | None:
    """Return the next page of a listing, None after the last one."""
    page = await anext(pages, None)
    return None if page is None else [_describe(blob.name, blob) async for blob in page]


async def _download(blob: BlobClient, etag: str, start_byte: int, size_bytes: int) -> tuple[BlobProperties, bytes]:
    # A range cannot be empty; `decompress` would undo Content-Encoding.
    stream = await blob.download_blob(
        start_byte if size_bytes else None,
        size_bytes or None,
        etag=etag,
        match_condition=MatchConditions.IfNotModified,
        decompress=False,
        max_concurrency=1,
        **ONE_REQUEST,
    )
    return stream.properties, await stream.readall()


def _describe(
    key: str, properties: BlobProperties, *, metadata: ObjectMetadata | None = None, size_bytes: int | None = None
) -> ObjectInfo:
    # What is written into an append or page blob later leaves its MD5 as it was: there it proves nothing.
    md5 = hex_of_md5(properties.content_settings.content_md5) if properties.blob_type in _WRITTEN_WHOLE else ""
    tier = properties.blob_tier
    return ObjectInfo(
        key=key,
        size_bytes=properties.size if size_bytes is None else size_bytes,
        etag=unquoted(properties.etag or ""),
        version_id=properties.version_id,
        modified_at=properties.last_modified,
        checksums={"md5": md5} if md5 else {},
        metadata=metadata,
        is_archived=str(getattr(tier, "value", tier) or "") == "Archive",
        unreadable_because="it is a folder of the account's hierarchical namespace" if _is_folder(properties) else "",
    )


def _is_folder(properties: BlobProperties) -> bool:
    """Tell whether a blob stands for a folder: accounts with a hierarchical namespace list one of 0 bytes for each.

    Source: rclone goes by the same mark, backend/azureblob/azureblob.go (isDirectoryMarker).
    """
    marks = {name.lower(): value for name, value in (properties.metadata or {}).items()}
    return properties.size == 0 and str(marks.get("hdi_isfolder", "")).lower() == "true"


def _code(error: Exception) -> str:
    """Return the service's own code; the SDK rewrites some codes, so the answer's header comes first."""
    if not isinstance(error, HttpResponseError):
        return ""
    code = _header(error, "x-ms-error-code") or getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _header(error: HttpResponseError, name: str) -> str:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    return headers.get(name) or ""


def _is_certificate_error(error: BaseException) -> bool:
    causes = (error, error.__cause__, getattr(error, "inner_exception", None))
    return any(isinstance(cause, aiohttp.ClientSSLError) for cause in causes)


def _transport_cause(error: Exception) -> str:
    """Name what broke by class only: the texts of aiohttp's errors may hold the URL with its SAS."""
    cause = getattr(error, "inner_exception", None) or error.__cause__ or error
    inner = getattr(cause, "inner_exception", None) or cause.__cause__ or cause
    return type(inner).__name__
