"""Questions that only some stores know: tags, and uploads in parts that are found again.

They go to stores of one kind and are therefore no part of the protocol of stores. Most are about something that does
not exist; whoever lacks the right is refused all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from skyferry.errors import SourceMissingError
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.stores.azure import AzureStore
from skyferry.stores.base import Store
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_api import S3AnswerError
from skyferry.stores.s3_requests import quoted

_NO_UPLOAD = {"upload_id": "skyferry-doctor-asks-for-no-upload"}
_NOT_THAT_VERSION = (404, 409, 412)
_PART_BYTES = 5 * 2**20


async def ask_for_tags(store: Store, key: str, *, version_id: str = "") -> None:
    """Ask for the tags of an object, which may be absent.

    Raises:
        AccessDeniedError: They may not be read.
    """
    if isinstance(store, S3Store):
        await _ask_s3_for_tags(store, key, version_id)
    elif isinstance(store, AzureStore):
        with contextlib.suppress(SourceMissingError):
            await store.request("GET", key, "reading the tags of", needs="the letter t", query={"comp": "tags"})


async def version_of(store: Store, key: str) -> str:
    """Return the version id of an object, without asking for its tags; empty where the bucket keeps no versions.

    Raises:
        TransferError: The object cannot be looked at.
    """
    if not isinstance(store, S3Store):
        return ""
    action, needs = "looking at", "s3:GetObject"
    try:
        answer = await store.api.ask("HEAD", key, store.target(action, key, needs))
    except S3AnswerError as error:
        store.fail(error, action, key, needs=needs)
    version_id = answer.headers.get("x-amz-version-id", "")
    return "" if version_id == "null" else version_id


async def delete_exactly(store: Store, info: ObjectInfo) -> None:
    """Delete an object of our own, or one that is not there, with no other right than that to delete.

    An endpoint that ignores the condition leaves a delete marker of the name in a bucket that keeps versions.

    Raises:
        AccessDeniedError: Objects may not be deleted.
    """
    if not isinstance(store, S3Store):
        await store.delete_object(info)
        return
    # The store itself looks at an object first, tags and all, and asks nothing about one that is not there.
    action, needs = "deleting", "s3:DeleteObject"
    try:
        target = store.target(action, info.key, needs)
        await store.api.ask("DELETE", info.key, target, headers={"If-Match": quoted(info.etag)})
    except S3AnswerError as error:
        if error.status not in _NOT_THAT_VERSION:
            store.fail(error, action, info.key, needs=needs)


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


async def _ask_s3_for_tags(store: S3Store, key: str, version_id: str) -> None:
    needs = "s3:GetObjectVersionTagging" if version_id else "s3:GetObjectTagging"
    query: Mapping[str, str] = {"tagging": ""} | ({"versionId": version_id} if version_id else {})
    action = "reading the tags of"
    try:
        await store.api.ask("GET", key, store.target(action, key, needs), query=query)
    except S3AnswerError as error:
        with contextlib.suppress(SourceMissingError):
            store.fail(error, action, key, needs=needs)
