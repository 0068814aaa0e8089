"""Unfinished uploads that nobody goes on with: they are found by their records, ended at their store, and forgotten.

Only what a record names is touched, and partial files that have a journal beside them: uploads of other programs in the
same bucket are never looked at. Uploads too small to leave a record need a lifecycle rule of the bucket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from skyferry.errors import RequestError, TransferError, TransferIncompleteError, printable
from skyferry.state import StateFolder, StoreOpener
from skyferry.stores.local_upload import remove_leftovers
from skyferry.upload_records import UPLOADS_FOLDER, FoundUpload, forget_upload, found_uploads
from skyferry.urls import Location, parse_location

MIN_AGE_SECONDS = 3600
"""The least age: a worker that is alive writes a record with every 128 MiB, which takes less even at 50 kB/s."""

MAX_NAMED = 20
"""How many uploads a result names; the log of the task has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """What a clean found and removed.

    Attributes:
        state: `success`, or `failed` where something that is due could not be removed.
        uploads_found: Unfinished uploads on record.
        uploads_removed: Of them, those that were ended and forgotten; in a dry run, those that would be.
        uploads_young: Of them, those that are younger than the age asked for.
        uploads_live: Of them, those of runs that are not over.
        files_removed: Partial local files without a record.
        removed: The first that were removed, by their destination.
        problems: The first that could not be removed, a sentence each.
    """

    state: str
    dry_run: bool
    older_than_seconds: int
    uploads_found: int
    uploads_removed: int
    uploads_young: int
    uploads_live: int
    files_removed: int
    removed: tuple[str, ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"removed": list(self.removed), "problems": list(self.problems)}

    def raise_if_failed(self) -> None:
        """Raise unless everything that was due is gone.

        Raises:
            TransferIncompleteError: It names what is left and why; the next clean tries again.
        """
        if self.state != "success":
            raise TransferIncompleteError(
                f"{len(self.problems):,} unfinished uploads could not be removed: {'; '.join(self.problems[:5])}",
                hint="the next clean tries again",
            )


@dataclass(slots=True)
class Abandoned:
    """Uploads that are due, and the counts of those that are not."""

    due: list[FoundUpload] = field(default_factory=list)
    found: int = 0
    young: int = 0
    live: int = 0
    problems: list[str] = field(default_factory=list)


def check_age(older_than_seconds: int) -> int:
    """Return the age if it is one that spares live uploads.

    Raises:
        RequestError: It is too small.
    """
    if older_than_seconds < MIN_AGE_SECONDS:
        raise RequestError(
            f"uploads of {older_than_seconds:,} seconds may be under way; the least age is {MIN_AGE_SECONDS:,} seconds",
            hint="nothing was removed",
        )
    return older_than_seconds


def bucket_of(upload: FoundUpload) -> Location:
    """Return the bucket an upload goes to, by its record.

    Raises:
        RequestError: The record names no place.
    """
    record = upload.record
    if not record.destination.endswith(record.key):
        raise RequestError(f"the record of {record.destination} names another key", hint="it was left alone")
    return parse_location(record.destination.removesuffix(record.key), what="destination")


async def find_abandoned(
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    *,
    older_than_seconds: int,
    below: str = "",
    now: datetime | None = None,
) -> Abandoned:
    """Return the uploads of which nothing was written for so long; removes nothing.

    Costs one listing of the records, and reading the first record of each upload.

    Args:
        below: Only uploads to keys whose URL begins so.
    """
    before = (now or datetime.now(UTC)) - timedelta(seconds=check_age(older_than_seconds))
    result = Abandoned()
    async with open_store(state, state_conn_id) as store:
        async for upload in found_uploads(StateFolder(store, state.prefix + UPLOADS_FOLDER)):
            if not upload.record.destination.startswith(below):
                continue
            result.found += 1
            if upload.last_written_at > before:
                result.young += 1
            else:
                result.due.append(upload)
    return result


def spare_live(abandoned: Abandoned, is_live: Callable[[str, str], bool]) -> None:
    """Leave out the uploads of runs that are not over: a task of theirs may be waiting for its next attempt.

    Args:
        is_live: Tells it of a DAG's id and a run's.
    """
    live = [one for one in abandoned.due if is_live(one.record.dag_id, one.record.run_id)]
    abandoned.live += len(live)
    abandoned.due = [one for one in abandoned.due if one not in live]


async def remove_abandoned(
    abandoned: Abandoned,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    *,
    folders: Sequence[Path] = (),
    older_than_seconds: int,
    dry_run: bool = False,
) -> Cleanup:
    """End the uploads at their stores, and delete their records after that.

    One that cannot be ended keeps its records, and costs the others nothing.

    Args:
        folders: Local destinations in which partial files without a record are looked for.
        dry_run: Count only.
    """
    removed: list[str] = []
    async with open_store(state, state_conn_id) as store:
        records = StateFolder(store, state.prefix + UPLOADS_FOLDER)
        for upload in abandoned.due:
            try:
                if not dry_run:
                    await _remove(upload, open_store, records)
                removed.append(printable(upload.record.destination))
            except TransferError as error:
                abandoned.problems.append(str(error))
    before = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
    files = sum([await asyncio.to_thread(remove_leftovers, one, before, dry_run=dry_run) for one in folders])
    return Cleanup(
        state="failed" if abandoned.problems else "success",
        dry_run=dry_run,
        older_than_seconds=older_than_seconds,
        uploads_found=abandoned.found,
        uploads_removed=len(removed),
        uploads_young=abandoned.young,
        uploads_live=abandoned.live,
        files_removed=files,
        removed=tuple(removed[:MAX_NAMED]),
        problems=tuple(abandoned.problems[:MAX_NAMED]),
    )


async def _remove(upload: FoundUpload, open_store: StoreOpener, records: StateFolder) -> None:
    async with open_store(bucket_of(upload), upload.record.destination_conn_id) as destination:
        await destination.abort_upload(upload.record.key, upload.record.token)
    await forget_upload(records, upload.folder)
