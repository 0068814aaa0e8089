"""Questions that only some stores know: tags, and uploads in parts that are found again.

They go to stores of one kind and are therefore no part of the protocol of stores. Most are about something that does
not exist; whoever lacks the right is refused all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from skyferry.errors import SourceChangedError, SourceMissingError
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.stores.azure import AzureStore
from skyferry.stores.base import Store
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_api import S3AnswerError
from skyferry.stores.s3_requests import quoted

_NO_UPLOAD = {"upload_id": "skyferry-doctor-asks-for-no-upload"}
_NOT_THAT_VERSION = (404, 409, 412)
_PART_BYTES = 5 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What S3 tells of an object.

    Attributes:
        version_id: Empty where the bucket keeps no versions.
        is_under_key: It is encrypted with a KMS key.
    """

    version_id: str = ""
    is_under_key: bool = False


async def ask_for_tags(store: Store, key: str, *, version_id: str = "") -> None:
    """Ask for the tags of an object, which may be absent.

    Raises:
        AccessDeniedError: They may not be read.
    """
    if not isinstance(store, S3Store):
        return
    action, needs = "reading the tags of", "s3:GetObjectVersionTagging" if version_id else "s3:GetObjectTagging"
    query: Mapping[str, str] = {"tagging": ""} | ({"versionId": version_id} if version_id else {})
    try:
        await store.api.ask("GET", key, store.target(action, key, needs), query=query)
    except S3AnswerError as error:
        with contextlib.suppress(SourceMissingError):
            store.fail(error, action, key, needs=needs)


async def look_closer(store: Store, key: str) -> Facts:
    """Return what S3 tells of an object besides what every store does, without asking for its tags.

    Raises:
        TransferError: The object cannot be looked at.
    """
    if not isinstance(store, S3Store):
        return Facts()
    action, needs = "looking at", "s3:GetObject"
    try:
        headers = (await store.api.ask("HEAD", key, store.target(action, key, needs))).headers
    except S3AnswerError as error:
        store.fail(error, action, key, needs=needs)
    version_id = headers.get("x-amz-version-id", "")
    return Facts(
        version_id="" if version_id == "null" else version_id,
        is_under_key=headers.get("x-amz-server-side-encryption", "").startswith("aws:kms"),
    )


async def delete_nothing(store: Store, absent: ObjectInfo) -> None:
    """Delete a key that shows nothing, with no other right than that to delete.

    Raises:
        AccessDeniedError: Objects may not be deleted.
    """
    if isinstance(store, S3Store):
        # Without the condition, a bucket that keeps versions would get a delete marker.
        await _delete_from_s3(store, absent.key, {"If-Match": quoted(absent.etag)})
    else:
        await delete_own(store, absent)


async def delete_own(store: Store, info: ObjectInfo) -> None:
    """Delete an object that nobody else writes, with no other right than that to delete.

    Raises:
        AccessDeniedError: Objects may not be deleted.
    """
    # S3's store looks at an object first, tags and all; Azure's looks why a condition is not met.
    if isinstance(store, S3Store):
        await _delete_from_s3(store, info.key, {})
    elif isinstance(store, AzureStore):
        with contextlib.suppress(SourceMissingError):
            await store.request("DELETE", info.key, "deleting", needs="the letter d")
    else:
        await _delete_as_it_is_now(store, info)


async def end_no_upload(store: Store, key: str) -> None:
    """End an upload that does not exist.

    Raises:
        AccessDeniedError: Uploads may not be ended.
    """
    await store.abort_upload(key, _NO_UPLOAD)


async def look_for_parts_of_no_upload(store: Store, key: str) -> None:
    """Ask for the parts of an upload that does not exist.

    Raises:
        AccessDeniedError: The parts of uploads may not be listed.
    """
    await store.resume_upload(
        key, _NO_UPLOAD, size_bytes=_PART_BYTES, part_bytes=_PART_BYTES, metadata=ObjectMetadata(), replaces=None
    )


async def _delete_from_s3(store: S3Store, key: str, condition: Mapping[str, str]) -> None:
    action, needs = "deleting", "s3:DeleteObject"
    try:
        await store.api.ask("DELETE", key, store.target(action, key, needs), headers=condition)
    except S3AnswerError as error:
        if error.status not in _NOT_THAT_VERSION:
            store.fail(error, action, key, needs=needs)


async def _delete_as_it_is_now(store: Store, info: ObjectInfo) -> None:
    try:
        await store.delete_object(info)
    except SourceChangedError:
        # A write of ours whose answer was not waited for.
        found = await store.stat(info.key)
        if found is not None:
            await store.delete_object(found)
