"""Deleting at the destination what is gone at the source, for routes with `mirror_deletes`.

An event does not prove that an object is gone: it may be late, doubled, or about an older version. What decides is what
the source shows, before the deletion and once more after it.
"""

from __future__ import annotations

from skyferry.attempts import Attempts
from skyferry.detect.deletion_brake import DeletionBrake
from skyferry.errors import DeletionBrakeError, KeyRefusedError, SourceChangedError
from skyferry.keys import check_key, map_key
from skyferry.objects import ObjectInfo
from skyferry.records import Outcome, Receipt
from skyferry.request import TransferRequest
from skyferry.stores.base import Store

ALREADY_GONE = "already_gone"
"""Why nothing was deleted: the destination shows nothing at the key."""


class MirroredDeletes:
    """Deletes copies between one pair of open stores.

    Args:
        brake: Bounds how many.
    """

    def __init__(self, request: TransferRequest, source: Store, destination: Store, *, brake: DeletionBrake) -> None:
        self._source = source
        self._destination = destination
        self._source_prefix = request.source_location.prefix
        self._destination_prefix = request.destination_location.prefix
        self._brake = brake

    async def delete(self, key: str) -> Receipt | None:
        """Delete the copy of a source object that is gone; None when the source shows the key, or came to show it.

        Only the version that was seen is deleted, and it is looked at before the source: whoever copies a new object
        there meanwhile makes the deletion fail. The source is looked at again afterwards, since a new object of the
        same content may have been found in place just before the deletion; the caller then copies it.

        Costs three to five requests.

        Raises:
            DeletionBrakeError: The run has deleted as much as it may; the copy is still there.
            TransferError: A store could not be used; at worst the copy is deleted and the event comes again.
        """
        attempts = Attempts()
        found = await self._found(key, attempts)
        if await attempts.call(lambda: self._source.stat(key)) is not None:
            return None
        if found is None or found.unreadable_because:
            return _receipt(key, Outcome.SKIPPED, ALREADY_GONE)
        if not await self._brake.admit():
            raise DeletionBrakeError(
                f"{self._source.url(key)} is gone, and {self._destination.url(found.key)} was kept",
                hint="this run has deleted as many objects as max_deletes allows",
            )
        if not await self._delete_version(found, attempts):
            return None
        if await attempts.call(lambda: self._source.stat(key)) is not None:
            return None
        return _receipt(key, Outcome.DELETED, "removed_at_source", found)

    async def _found(self, key: str, attempts: Attempts) -> ObjectInfo | None:
        destination_key = map_key(key, source_prefix=self._source_prefix, destination_prefix=self._destination_prefix)
        try:
            check_key(destination_key, self._destination.kind)
        except KeyRefusedError:
            return None  # nothing of that name was ever copied
        return await attempts.call(lambda: self._destination.stat(destination_key))

    async def _delete_version(self, found: ObjectInfo, attempts: Attempts) -> bool:
        """Return whether the key shows nothing now; False when somebody has written it since."""
        try:
            await attempts.call(lambda: self._destination.delete_object(found))
        except SourceChangedError:
            self._brake.give_back()
            return False
        return True


def _receipt(key: str, outcome: Outcome, reason: str, deleted: ObjectInfo | None = None) -> Receipt:
    return Receipt(
        key=key,
        destination_key=deleted.key if deleted else "",
        outcome=outcome,
        reason=reason,
        size_bytes=deleted.size_bytes if deleted else 0,
        source_etag="",
        destination_etag=deleted.etag if deleted else "",
        destination_version_id=deleted.version_id if deleted else None,
    )
