"""The plan: each object below the source is compared with the destination and decided on, with a reason.

Source and destination are read side by side in key order, so neither is ever held. What the two listings cannot decide
is looked at closer, many objects at a time, in order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.errors import (
    BucketMissingError,
    ConnectionConfigError,
    KeyRefusedError,
    PermanentError,
    RequestError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
)
from skyferry.evidence import Comparer
from skyferry.key_order import key_bytes
from skyferry.keys import CollisionDetector, check_key, folder_marker_skip, is_probe_key, map_key
from skyferry.object_transfer import SMALL_OBJECT_BYTES, part_size_bytes
from skyferry.objects import ObjectInfo
from skyferry.ordered_listing import list_in_key_order
from skyferry.ordered_work import map_in_order
from skyferry.records import Action, PlannedObject
from skyferry.refusals import ARCHIVED, CONFLICT, LANDS_IN_SOURCE, NOT_AN_OBJECT, refusal_of
from skyferry.request import TransferRequest
from skyferry.selection import Selection
from skyferry.stores.base import Store
from skyferry.urls import lands_in_source

_LOOKS_IN_FLIGHT = 64
_MEMORY_BUDGET_BYTES = 96 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A source object and what its destination key shows."""

    source: ObjectInfo
    destination_key: str
    found: ObjectInfo | None
    refused_because: str = ""
    refusal: str = ""
    skipped_because: str = ""


class Planner:
    """Plans one transfer between two open stores.

    Costs one listing of the source and one of the destination, and up to two requests for each object whose content
    the listings cannot compare; such an object is read only where neither store publishes a checksum of it.
    Memory holds a page of each listing.

    Args:
        destination_exists: False when the destination's bucket is yet to be created; it is not looked at then.
    """

    def __init__(
        self, request: TransferRequest, source: Store, destination: Store, *, destination_exists: bool = True
    ) -> None:
        self._request = request
        self._source = source
        self._destination = destination
        self._destination_exists = destination_exists
        # A request makes its locations from its URLs each time it is asked; that is too dear for every key.
        self._source_location = request.source_location
        self._destination_location = request.destination_location
        self._source_prefix = self._source_location.prefix
        self._destination_prefix = self._destination_location.prefix
        self._feeds_itself_possible = request.source_conn_id == request.destination_conn_id
        self._filter = request.object_filter
        self._collisions = CollisionDetector(destination.kind)
        self.attempts = Attempts()
        self._comparer = Comparer(
            source,
            destination,
            budget=ByteBudget(_MEMORY_BUDGET_BYTES),
            attempts=self.attempts,
            trusts_notes=request.keep_source,
        )

    async def decisions(self) -> AsyncIterator[PlannedObject]:
        """Yield a decision for every object that is selected by name, in key order.

        Raises:
            RequestError: `data` names one object, and there is none of that name.
        """
        selection = await self._selection()
        pairs = self._pairs(selection)
        async for decision in map_in_order(pairs, self._decide, limit=_LOOKS_IN_FLIGHT):
            yield decision

    async def decide_now(self, source_key: str, *, destination_key: str = "") -> PlannedObject | None:
        """Return the decision for one object by what both sides show now; None when the source shows nothing.

        The name is not asked about (see `ObjectFilter.names`), size and age are. For objects that come one by one, in
        any order: names that collide only with each other (`a` and `a/b`) are left to the destination. Costs two
        requests, and more where content has to be compared.

        Args:
            destination_key: The name of the copy; by default the same name below the destination.

        Raises:
            TransferError: One side could not be looked at.
        """
        named = destination_key or map_key(
            source_key, source_prefix=self._source_prefix, destination_prefix=self._destination_prefix
        )
        # The destination first, for the reason the copy has: a newer version that arrives meanwhile fails our commit.
        found = await self._found_at(named)
        source = await self.attempts.call(lambda: self._source.stat(source_key))
        if source is None:
            return None
        return await self._decide(self._pair(source, found, named, is_listed=False))

    async def _found_at(self, destination_key: str) -> ObjectInfo | None:
        try:
            check_key(destination_key, self._destination.kind)
        except KeyRefusedError:
            return None  # the decision refuses it by name
        return await self.attempts.call(lambda: self._destination.stat(destination_key))

    async def _selection(self) -> Selection:
        """Return the selection; a key of exactly that name wins over a glob, and a key must exist."""
        selection = self._request.selection
        if selection.kind not in ("key", "glob"):
            return selection
        key = self._source_prefix + selection.data
        if await self.attempts.call(lambda: self._source.stat(key)) is not None:
            return Selection.exactly(selection.data)
        if selection.kind == "glob" and "*" in selection.data:
            return selection
        if selection.kind == "glob" and await self._matches_anything(selection):
            return selection
        raise RequestError(
            f"there is no object {self._source.url(key)}",
            hint='data names one object; for a folder end it in "/", for a pattern use "*"; nothing was changed',
        )

    async def _matches_anything(self, selection: Selection) -> bool:
        prefix = self._source_prefix + selection.literal_prefix
        async for info in self._source.list_objects(prefix):
            if selection.matches(info.key.removeprefix(self._source_prefix)):
                return True
        return False

    def _narrowed(self, selection: Selection) -> str:
        """Return what every selected name begins with; nothing is selected when `data` and `include` disagree."""
        return max(selection.literal_prefix, self._filter.included_prefix, key=len)

    async def _pairs(self, selection: Selection) -> AsyncIterator[_Pair]:
        sources = self._selected(selection)
        found_by_key = _Follower(self._destination_listing(selection), self._destination_prefix)
        async for source in sources:
            relative_key = source.key.removeprefix(self._source_prefix)
            found = await found_by_key.at(relative_key)
            destination_key = map_key(
                source.key, source_prefix=self._source_prefix, destination_prefix=self._destination_prefix
            )
            yield self._pair(source, found, destination_key)

    async def _selected(self, selection: Selection) -> AsyncIterator[ObjectInfo]:
        if selection.kind == "key":
            info = await self.attempts.call(lambda: self._source.stat(self._source_prefix + selection.data))
            if info is not None and self._filter.includes(selection.data):
                yield info
            return
        async for info in self._listing(self._source, self._source_prefix + self._narrowed(selection)):
            relative_key = info.key.removeprefix(self._source_prefix)
            is_taken = selection.matches(relative_key) and self._filter.includes(relative_key)
            if is_taken and not is_probe_key(relative_key):
                yield info

    async def _destination_listing(self, selection: Selection) -> AsyncIterator[ObjectInfo]:
        if not self._destination_exists:
            return
        if selection.kind == "key":
            info = await self._found_at(self._destination_prefix + selection.data)
            if info is not None:
                yield info
            return
        async for info in self._listing(self._destination, self._destination_prefix + self._narrowed(selection)):
            yield info

    def _listing(self, store: Store, prefix: str) -> AsyncIterator[ObjectInfo]:
        return list_in_key_order(store, prefix, attempts=self.attempts)

    def _pair(
        self, source: ObjectInfo, found: ObjectInfo | None, destination_key: str, *, is_listed: bool = True
    ) -> _Pair:
        """Check the name; for a listing this must happen in key order, unlike what `_decide` does."""
        marker = folder_marker_skip(
            source.key,
            size_bytes=source.size_bytes,
            source_prefix=self._source_prefix,
            destination_kind=self._destination.kind,
        )
        unwanted = "" if marker else self._filter.unwanted_because(source, now=datetime.now(UTC))
        skipped = source.unreadable_because or marker or unwanted
        refusal, why = ("", "") if skipped else self._refusal(source, destination_key, is_listed=is_listed)
        return _Pair(
            source=source,
            destination_key=destination_key,
            found=found,
            skipped_because=skipped,
            refused_because=why,
            refusal=refusal,
        )

    def _refusal(self, source: ObjectInfo, destination_key: str, *, is_listed: bool) -> tuple[str, str]:
        """Return the code of the refusal and why; both empty when there is none."""
        try:
            check_key(destination_key, self._destination.kind)
            if is_listed:
                self._collisions.check(destination_key)
            if source.size_bytes > SMALL_OBJECT_BYTES:
                part_size_bytes(source.size_bytes, self._destination.capabilities)
        except TransferError as error:
            return refusal_of(error), str(error)
        if self._feeds_itself_possible and lands_in_source(
            destination_key,
            source=self._source_location,
            destination=self._destination_location,
        ):
            return LANDS_IN_SOURCE, "its copy would land in the source"
        return "", ""

    async def _decide(self, pair: _Pair) -> PlannedObject:
        if pair.skipped_because:
            return _planned(pair, Action.SKIP, pair.skipped_because)
        if pair.refused_because:
            return _refused(pair, pair.refusal, pair.refused_because)
        try:
            decision = await self._decide_by_content(pair)
            if decision.action is not Action.COPY or not pair.source.is_archived:
                return decision
            if not await self._is_still_archived(pair.source):
                return decision
        except (BucketMissingError, ConnectionConfigError):
            raise
        except PermanentError as error:
            return _refused(pair, refusal_of(error), str(error))  # one object that cannot be looked at or read
        return _refused(pair, ARCHIVED, f"{self._source.url(pair.source.key)} is archived; restore it first")

    async def _decide_by_content(self, pair: _Pair) -> PlannedObject:
        if pair.found is None:
            return _planned(pair, Action.COPY, "new")
        if pair.found.unreadable_because:
            reason = f"{self._destination.url(pair.destination_key)} is no object: {pair.found.unreadable_because}"
            return _refused(pair, NOT_AN_OBJECT, reason)
        return await self._decide_conflict(pair, pair.found)

    async def _is_still_archived(self, source: ObjectInfo) -> bool:
        info = await self.attempts.call(lambda: self._source.stat(source.key))
        return info is not None and info.is_archived

    async def _decide_conflict(self, pair: _Pair, found: ObjectInfo) -> PlannedObject:
        """The destination has an object of that name:

        | on_conflict         | equal content               | other content |
        |---------------------|-----------------------------|---------------|
        | replace_if_different| skip, `identical`           | copy, `changed` |
        | skip                | skip, `identical`/`exists`  | skip, `exists` |
        | replace             | copy, `replace`             | copy, `replace` |
        | fail                | skip, `identical`           | refuse |

        For a move, an identical object is still deleted at the source.
        """
        on_conflict = self._request.on_conflict
        if on_conflict == "replace":
            return _planned(pair, Action.COPY, "replace")
        if on_conflict == "skip" and self._request.keep_source:
            return _planned(pair, Action.SKIP, "exists")
        try:
            finding = await self._comparer.same_content(pair.source, found)
        except (SourceMissingError, SourceChangedError):
            # One side changed while we planned; the copy looks at both again before it does anything.
            return _planned(pair, Action.COPY, "changed")
        if finding.is_same:
            action = Action.SKIP if self._request.keep_source else Action.DELETE_SOURCE
            return _planned(pair, action, "identical", evidence=finding.evidence)
        if on_conflict == "skip":
            return _planned(pair, Action.SKIP, "exists")
        if on_conflict == "fail":
            return _refused(
                pair,
                CONFLICT,
                f"{self._destination.url(pair.destination_key)} exists with other content"
                f" ({finding.evidence}), and on_conflict is fail",
            )
        return _planned(pair, Action.COPY, "changed", evidence=finding.evidence)


class _Follower:
    """Walks a sorted listing alongside ascending keys."""

    def __init__(self, listing: AsyncIterator[ObjectInfo], prefix: str) -> None:
        self._listing = listing
        self._prefix = prefix
        self._current: ObjectInfo | None = None
        self._is_started = False

    async def at(self, relative_key: str) -> ObjectInfo | None:
        """Return the object of this name, if the listing has it; names must come in ascending order."""
        wanted = key_bytes(relative_key)
        if not self._is_started:
            self._is_started = True
            self._current = await anext(self._listing, None)
        while self._current is not None and key_bytes(self._current.key.removeprefix(self._prefix)) < wanted:
            self._current = await anext(self._listing, None)
        if self._current is not None and self._current.key.removeprefix(self._prefix) == relative_key:
            return self._current
        return None


def _planned(pair: _Pair, action: Action, reason: str, *, evidence: str = "") -> PlannedObject:
    return PlannedObject(
        action=action,
        source=pair.source,
        destination_key=pair.destination_key,
        reason=reason,
        replaces=pair.found,
        evidence=evidence,
    )


def _refused(pair: _Pair, refusal: str, reason: str) -> PlannedObject:
    return replace(_planned(pair, Action.REFUSE, reason), refusal=refusal)
