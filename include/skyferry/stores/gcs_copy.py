"""Moves and copies within a bucket of Cloud Storage, by its JSON API; no byte leaves the store.

Sources: https://cloud.google.com/storage/docs/json_api/v1/objects/move and .../objects/rewrite
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skyferry.errors import ConnectionLostError, DestinationChangedError, SourceMissingError, TransferError
from skyferry.objects import ObjectInfo
from skyferry.stores.gcs_api import ConditionNotMetError, bucket_path, object_path

if TYPE_CHECKING:
    from skyferry.stores.gcs import GcsStore

_NEEDS = "storage.objects.get and .delete of the one name, .create (and .delete to replace an object) of the other"


class GcsCopy:
    """One move or copy within a bucket; the latter implements `skyferry.stores.renaming.Renamer`."""

    caution = ""

    def __init__(self, store: GcsStore) -> None:
        self._store = store
        self.url = store.url
        self.stat = store.stat
        self.delete_object = store.delete_object

    async def move(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> None:
        """Give exactly this version another key, in one step.

        Raises:
            SourceMissingError: There is nothing at its key, or the endpoint does not know this request.
            PermanentError: The request is refused; an endpoint that does not know it may say that, too.
        """
        await self._ask(info, key, f"/moveTo/o/{self._encoded(key)}", replaces)

    async def copy(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> ObjectInfo:
        # A copy may take several requests: each does a part of it, and says with which token the next one goes on.
        token = ""
        path = f"/rewriteTo{bucket_path(self._store.bucket)}/o/{self._encoded(key)}"
        while True:
            answer = await self._ask(info, key, path, replaces, token)
            if answer.get("done", False):
                return info
            next_token = str(answer.get("rewriteToken") or "")
            if not next_token:
                raise ConnectionLostError(f"renaming to {self.url(key)} failed: the answer lacks a rewrite token")
            token = next_token

    def _encoded(self, key: str) -> str:
        return object_path(self._store.bucket, key, self.url(key)).rpartition("/o/")[2]

    async def _ask(
        self, info: ObjectInfo, key: str, path: str, replaces: ObjectInfo | None, token: str = ""
    ) -> dict[str, Any]:
        target = self._store.target(f"renaming {self.url(info.key)} to", key, needs=_NEEDS)
        source_path = object_path(self._store.bucket, info.key, self.url(info.key))
        # 0 stands for "no live object": https://cloud.google.com/storage/docs/request-preconditions
        query: dict[str, str | int] = {
            "ifGenerationMatch": "0" if replaces is None else replaces.etag,
            "ifSourceGenerationMatch": info.etag,
            **({"rewriteToken": token} if token else {}),
        }
        address = self._store.api.address(f"/storage/v1{source_path}{path}", query)
        try:
            answer = await self._store.api.ask("POST", address, target, headers={"Content-Length": "0"})
        except ConditionNotMetError:
            raise await self._what_changed(info, key) from None
        except SourceMissingError:
            raise SourceMissingError(f"{self.url(info.key)} is gone") from None
        return answer.json()

    async def _what_changed(self, info: ObjectInfo, key: str) -> TransferError:
        """Tell whose condition does not hold."""
        found = await self.stat(info.key)
        if found is None:
            return SourceMissingError(f"{self.url(info.key)} is gone")
        if found.etag != info.etag:
            return self._store.changed(info)
        return DestinationChangedError(
            f"{self.url(key)} was written or removed by somebody else since it was looked at", hint="it was left alone"
        )
