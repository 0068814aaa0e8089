"""Tries in one place what a route does there, through the store the engine uses, and leaves nothing behind.

What can be asked about a key that shows nothing is asked about one: a store decides whether somebody may before it
looks whether there is anything. So no object of the user's is written, changed or deleted. Objects are written only
below a destination or a state folder, under a name nobody else has, and only where it is known that they can be deleted
again; otherwise the write has conditions that cannot come true, and a wrong checksum.

Somebody who dies in between leaves an object of a name that no transfer takes for one (`skyferry.keys.is_probe_key`);
the next doctor of the same place removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from skyferry.attempts import Attempts
from skyferry.checksums import digest
from skyferry.doctor.findings import Outcome, State
from skyferry.doctor.vendor_probes import (
    ask_for_tags,
    delete_nothing,
    delete_own,
    end_no_upload,
    look_closer,
    look_for_parts_of_no_upload,
)
from skyferry.errors import (
    BucketMissingError,
    ChecksumMismatchError,
    DestinationChangedError,
    ReplanError,
    TransferError,
)
from skyferry.keys import PROBE_PREFIX, is_probe_key
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.provisioning.abilities import Ability, abilities_of
from skyferry.provisioning.route_needs import PlaceNeed
from skyferry.stores.base import Store

_Result = TypeVar("_Result")

_BODY = b"a probe of transfer doctor; it may be deleted\n"
_OTHER_BODY = b"a probe of transfer doctor, written again; it may be deleted\n"
_PLAIN = ObjectMetadata()
_TAGGED = ObjectMetadata(tags={"skyferry": "probe"})
_IMPOSSIBLE_ETAGS = {"s3": "0" * 32, "az": "0x0000000000000000", "gs": "1", "file": "0"}
"""Of versions that no object has."""

_MAX_LISTED = 1000
"""So many objects are looked at for one that can be read: a page of a listing."""

_MADE_LATER = Outcome(state=State.NOT_CHECKED, why="it is not there yet; the first transfer creates it")


async def probe_place(store: Store, place: PlaceNeed) -> Mapping[Ability, Outcome]:
    """Return what came of each ability the place takes; costs about a dozen requests, none of them large.

    Nothing is raised: what goes wrong is an outcome as well.
    """
    return await _PlaceProbes(store, place).run()


async def ask_to_put(store: Store, place: PlaceNeed) -> Mapping[Ability, Outcome]:
    """Return whether an object may be put into a source, and deleted there or at a destination; writes nothing."""
    return await _PlaceProbes(store, place).ask_to_put()


class _PlaceProbes:
    def __init__(self, store: Store, place: PlaceNeed) -> None:
        self._store = store
        self._place = place
        self._prefix = place.location.prefix
        self._absent_key = self._new_key()
        self._absent = ObjectInfo(key=self._absent_key, size_bytes=1, etag=_IMPOSSIBLE_ETAGS[place.location.kind])
        self._wanted = abilities_of(place)
        self._outcomes: dict[Ability, Outcome] = {}
        self._written: dict[str, ObjectInfo] = {}
        self._attempts = Attempts()
        self._is_local = place.location.kind == "file"

    async def run(self) -> Mapping[Ability, Outcome]:
        found = await self._list()
        if self._is_out_of_reach():
            return self._filled_up("the place itself is out of reach")
        await self._read(found)
        if Ability.READ_TAGS in self._wanted:
            await self._try(Ability.READ_TAGS, lambda: ask_for_tags(self._store, self._absent_key))
        if self._place.what == "source":
            await self._delete_nothing()
        else:
            await self._write()
        self._look_through_the_fog()
        return self._filled_up("there is nothing to try it on")

    async def ask_to_put(self) -> Mapping[Ability, Outcome]:
        is_source = self._place.what == "source"
        if self._is_local:
            # A destination that is not there yet is made by the transfer.
            abilities = (Ability.WRITE, Ability.DELETE) if is_source else ()
            return dict.fromkeys(abilities, _may_write(self._place.location.bucket))
        await self._try(Ability.DELETE, lambda: delete_nothing(self._store, self._absent))
        if is_source:
            await self._try(Ability.WRITE, self._write_nothing)
        return self._outcomes

    async def _list(self) -> ObjectInfo | None:
        return await self._try(Ability.LIST, self._first_object)

    async def _first_object(self) -> ObjectInfo | None:
        """Return an object that can be read, if there is one among the first."""
        seen = 0
        async for info in self._store.list_objects(self._prefix):
            if info.size_bytes and not (info.is_archived or info.unreadable_because or is_probe_key(info.key)):
                return info
            seen += 1
            if seen >= _MAX_LISTED:
                break
        return None

    def _is_out_of_reach(self) -> bool:
        return self._outcomes[Ability.LIST].state in (State.FAILED, State.NOT_CHECKED)

    async def _read(self, found: ObjectInfo | None) -> None:
        """Look at a key that shows nothing; where there is an object, read a byte of it."""
        await self._try(Ability.READ, lambda: self._store.stat(self._absent_key))
        if found is not None and self._is_ok(Ability.READ):
            await self._read_one(found)

    async def _read_one(self, info: ObjectInfo) -> None:
        """Read a byte of an object, and of its version by name where it has one."""
        facts = await self._try(Ability.READ, lambda: look_closer(self._store, info.key))
        if facts is None:
            return
        current = ObjectInfo(key=info.key, size_bytes=info.size_bytes, etag=info.etag)
        # Who may read objects, and not one that is encrypted, lacks its key.
        ability = Ability.USE_KEY if facts.is_under_key and Ability.USE_KEY in self._wanted else Ability.READ
        await self._try(ability, lambda: self._store.read_range(current, 0, 1))
        if not self._is_ok(ability):
            self._explain(ability, "what is not there may be looked at, so it is this object, or its key")
        elif ability is Ability.READ:
            self._not_checked(Ability.USE_KEY, "the object it was tried on is not encrypted with a key")
        if self._is_ok(ability) and facts.version_id:
            await self._read_version(replace(current, version_id=facts.version_id))

    async def _read_version(self, info: ObjectInfo) -> None:
        if Ability.READ_VERSIONS in self._wanted:
            await self._try(Ability.READ_VERSIONS, lambda: self._store.read_range(info, 0, 1))
        if Ability.READ_TAGS_OF_VERSIONS in self._wanted:
            tags = partial(ask_for_tags, self._store, info.key, version_id=info.version_id or "")
            await self._try(Ability.READ_TAGS_OF_VERSIONS, tags)

    async def _delete_nothing(self) -> None:
        """Delete a key that shows nothing: that takes the right as well. Folders do not ask for one then."""
        if Ability.DELETE not in self._wanted:
            return
        if self._is_local:
            self._outcomes[Ability.DELETE] = _may_write(self._place.location.bucket)
            return
        await self._try(Ability.DELETE, lambda: delete_nothing(self._store, self._absent))

    async def _write(self) -> None:
        if not self._is_local:
            await self._delete_nothing()
        if Ability.END_UPLOADS in self._wanted:
            await self._try(Ability.END_UPLOADS, lambda: end_no_upload(self._store, self._absent_key))
            await self._try(Ability.RESUME_UPLOADS, lambda: look_for_parts_of_no_upload(self._store, self._absent_key))
        if self._is_local or self._is_ok(Ability.DELETE):
            await self._remove_leftovers()
            await self._write_and_delete()
        else:
            await self._try(Ability.WRITE, self._write_nothing)
            for ability in (Ability.REPLACE, Ability.WRITE_TAGS, Ability.USE_KEY):
                self._not_checked(ability, "what is written for it could not be deleted again")

    async def _write_nothing(self) -> None:
        """Ask for a write that cannot be done."""
        wrong = await digest(_OTHER_BODY, self._store.capabilities.digests)
        with contextlib.suppress(DestinationChangedError, ChecksumMismatchError):
            await self._store.put_object(self._absent_key, _BODY, metadata=_PLAIN, digests=wrong, replaces=self._absent)

    async def _write_and_delete(self) -> None:
        try:
            await self._write_probes()
        finally:
            await asyncio.shield(self._delete_probes())

    async def _write_probes(self) -> None:
        key = self._new_key()
        first = await self._write_first(key)
        if first is None:
            return
        await self._read_one(first.info)
        if Ability.REPLACE in self._wanted:
            await self._put(Ability.REPLACE, key, _OTHER_BODY, replaces=first.info)
        if Ability.WRITE_TAGS in self._wanted:
            await self._put(Ability.WRITE_TAGS, self._new_key(), _BODY, metadata=_TAGGED)

    async def _write_first(self, key: str) -> Committed | None:
        """Write an object; where that is refused although writing is not, it is the key that may not be used."""
        first = await self._put(Ability.WRITE, key, _BODY)
        if first is None and Ability.USE_KEY in self._wanted and self._outcomes[Ability.WRITE].state is State.MISSING:
            refused = self._outcomes[Ability.WRITE]
            await self._try(Ability.WRITE, self._write_nothing)
            if self._is_ok(Ability.WRITE):
                self._outcomes[Ability.USE_KEY] = refused
        return first

    async def _put(
        self,
        ability: Ability,
        key: str,
        body: bytes,
        *,
        metadata: ObjectMetadata = _PLAIN,
        replaces: ObjectInfo | None = None,
    ) -> Committed | None:
        """Write an object that is to be deleted, whatever becomes of this."""
        digests = await digest(body, self._store.capabilities.digests)
        # Somebody may stop this while the answer is under way.
        self._written[key] = replaces or replace(self._absent, key=key)
        put = partial(self._store.put_object, key, body, metadata=metadata, digests=digests, replaces=replaces)
        done = await self._try(ability, put)
        if done is not None:
            self._written[key] = done.info
        elif replaces is None and self._outcomes[ability].state is State.MISSING:
            del self._written[key]
        return done

    async def _delete_probes(self) -> None:
        left: list[str] = []
        for info in self._written.values():
            await self._try(Ability.DELETE, partial(delete_own, self._store, info))
            if not self._is_ok(Ability.DELETE):
                left.append(f"{self._store.url(info.key)} is left behind: {self._outcomes[Ability.DELETE].why}")
        if left:
            self._outcomes[Ability.DELETE] = Outcome(state=State.FAILED, why="; ".join(left))

    async def _remove_leftovers(self) -> None:
        """Delete what a doctor left that died."""
        with contextlib.suppress(TransferError):
            async for info in self._store.list_objects(self._prefix + PROBE_PREFIX):
                if is_probe_key(info.key):
                    await delete_own(self._store, info)

    def _look_through_the_fog(self) -> None:
        """S3 answers 403 in place of 404 to those who may not list, so a refusal to look at nothing means nothing."""
        if self._place.location.kind != "s3" or self._is_ok(Ability.LIST):
            return
        for ability in (Ability.READ, Ability.READ_TAGS):
            outcome = self._outcomes.get(ability)
            if outcome is not None and outcome.state is State.MISSING:
                self._not_checked(ability, "to those who may not list, S3 refuses it in any case")

    async def _try(self, ability: Ability, call: Callable[[], Awaitable[_Result]]) -> _Result | None:
        """Return the result of a call, and take down what it says about an ability; the last word counts."""
        try:
            result = await self._attempts.call(call)
        except ReplanError:
            # Somebody was quicker; whoever hears that was let in.
            self._outcomes[ability] = Outcome(state=State.OK)
        except TransferError as error:
            is_made_later = isinstance(error, BucketMissingError) and self._place.creates
            self._outcomes[ability] = _MADE_LATER if is_made_later else Outcome.of(error)
        else:
            self._outcomes[ability] = Outcome(state=State.OK)
            return result
        return None

    def _is_ok(self, ability: Ability) -> bool:
        outcome = self._outcomes.get(ability)
        return outcome is not None and outcome.state is State.OK

    def _explain(self, ability: Ability, why: str) -> None:
        outcome = self._outcomes[ability]
        self._outcomes[ability] = replace(outcome, why=f"{outcome.why}; {why}")

    def _not_checked(self, ability: Ability, why: str) -> None:
        self._outcomes[ability] = Outcome(state=State.NOT_CHECKED, why=why)

    def _filled_up(self, why: str) -> Mapping[Ability, Outcome]:
        unknown = Outcome(state=State.NOT_CHECKED, why=why)
        return {ability: self._outcomes.get(ability, unknown) for ability in self._wanted}

    def _new_key(self) -> str:
        return f"{self._prefix}{PROBE_PREFIX}{secrets.token_hex(16)}"


def _may_write(folder: str) -> Outcome:
    """Return whether files may be deleted from a folder, by its permissions."""
    if os.access(folder, os.W_OK | os.X_OK):
        return Outcome(state=State.OK)
    return Outcome(state=State.MISSING, why=f"the folder {folder} may not be written")
