"""Copies within an Azure container: one Copy Blob, which the service mostly finishes before it answers.

Source: https://learn.microsoft.com/rest/api/storageservices/copy-blob
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from skyferry.errors import (
    AccessDeniedError,
    ConnectionLostError,
    DestinationChangedError,
    ObjectArchivedError,
    SourceMissingError,
)
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.stores.azure_api import AzureApi, ConditionNotMetError
from skyferry.stores.azure_requests import condition_headers, metadata_headers, quoted

if TYPE_CHECKING:
    from skyferry.stores.azure import AzureStore
    from skyferry.stores.http_requests import Answer

_NEEDS = "Storage Blob Data Contributor (Owner for tags), or a SAS with the letters r, c, w and d (and t for tags)"
_LOOK_SECONDS = 1.0


class AzureCopy:
    """One copy within a container; implements `skyferry.stores.renaming.Renamer`."""

    caution = ""

    def __init__(self, store: AzureStore, api: AzureApi) -> None:
        self._store = store
        self._api = api
        self.url = store.url
        self.stat = store.stat
        self.delete_object = store.delete_object

    async def copy(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> ObjectInfo:
        answer = await self._store.head(info.key)
        if answer is None:
            raise SourceMissingError(f"{self.url(info.key)} is gone")
        original = await self._store.describe(info.key, answer)
        self._require_copyable(original)
        assert original.metadata is not None
        headers = {
            "x-ms-copy-source": self._api.copy_source(info.key),
            "x-ms-source-if-match": quoted(info.etag),
            **_tags_and_tier(original.metadata, answer),
            **condition_headers(replaces),
        }
        action = f"renaming {self.url(info.key)} to"
        try:
            begun = await self._store.request(
                "PUT", key, action, needs=_NEEDS, headers=headers, size_bytes=info.size_bytes
            )
        except ConditionNotMetError:
            raise await self._what_changed(info, key) from None
        await self._wait(begun, key)
        return original

    def _require_copyable(self, original: ObjectInfo) -> None:
        if original.is_archived:
            raise ObjectArchivedError(
                f"{self.url(original.key)} is in the archive tier",
                hint="set its tier to hot or cool and wait for rehydration",
            )
        if original.metadata is not None and original.metadata.withheld:
            raise AccessDeniedError(
                f"{self.url(original.key)} was not renamed: its tags could not be read, and the copy would lack them",
                hint=f"it needs {_NEEDS}",
            )

    async def _wait(self, begun: Answer, key: str) -> None:
        """Wait for a copy the service goes on with after it has answered."""
        status = begun.headers.get("x-ms-copy-status", "success")
        while status == "pending":
            await asyncio.sleep(_LOOK_SECONDS)
            answer = await self._store.head(key)
            status = "gone" if answer is None else answer.headers.get("x-ms-copy-status", "")
            if answer is not None and answer.headers.get("x-ms-copy-id") != begun.headers.get("x-ms-copy-id"):
                status = "replaced"
        if status != "success":
            raise ConnectionLostError(
                f"renaming to {self.url(key)} failed: the service says of its copy: {status}",
                hint="the original is where it was",
            )

    async def _what_changed(self, info: ObjectInfo, key: str) -> Exception:
        """Tell whose condition does not hold."""
        found = await self.stat(info.key)
        if found is None or found.etag != info.etag:
            return await self._store.no_longer(info)
        return DestinationChangedError(
            f"{self.url(key)} was written or removed by somebody else since it was looked at", hint="it was left alone"
        )


def _tags_and_tier(metadata: ObjectMetadata, answer: Answer) -> dict[str, str]:
    """Return what a copy does not get by itself."""
    headers = metadata_headers(ObjectMetadata(tags=metadata.tags))
    tier = answer.headers.get("x-ms-access-tier")
    if tier and answer.headers.get("x-ms-access-tier-inferred", "").lower() != "true":
        headers["x-ms-access-tier"] = tier
    return headers
