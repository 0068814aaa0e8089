"""Copies what one target names to another one, with the plan, the copier and the promises of a transfer.

What differs from a run: nothing is kept afterwards, so a large object that was interrupted begins anew, and what was
stored of it is thrown away. A process that is killed outright cannot do that; the store's own rule for unfinished
uploads then does.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skyferry.attempts import Attempts
from skyferry.batch_copy import BatchCopier, CopyOptions
from skyferry.batch_tally import BatchTally
from skyferry.errors import BucketMissingError, RequestError, SourceMissingError
from skyferry.objects import ObjectInfo
from skyferry.plan import Planner
from skyferry.records import Action, Outcome, PlannedObject, Receipt
from skyferry.request import OnConflict, TransferRequest, Verify, request_from_conf
from skyferry.state import StateFolder
from skyferry.storage.listing import Wanted, missing
from skyferry.storage.rows import OnRow, Row
from skyferry.storage.targets import Target
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore

_OBJECTS_AT_ONCE = 5_000
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """How objects are put and got.

    Attributes:
        on_conflict: As the parameter: what to do about other content of the same name. Content that is equal is never
            written again, unless it says `replace`.
        verify: As the parameter; `readback` reads every object back.
        wanted: Which of the named objects; their names and sizes, not their times.
        dry_run: Decide, and write nothing.
        max_in_flight: Objects under way at a time.
    """

    on_conflict: OnConflict = "fail"
    verify: Verify = "checksum"
    wanted: Wanted = field(default_factory=Wanted)
    dry_run: bool = False
    max_in_flight: int = 64


@dataclass(slots=True, kw_only=True)
class Sent:
    """What became of the objects of a put or a get; kept up to date while it works.

    Attributes:
        objects, size_bytes: What was decided on so far, skipped and refused ones included.
        verified_by: Copies by what proved them.
        problems: A sentence for each of the first hundred that were refused or failed.
        on_row: Told of every object as it is decided.
    """

    objects: int = 0
    size_bytes: int = 0
    copied: int = 0
    bytes_copied: int = 0
    skipped: int = 0
    refused: int = 0
    failed: int = 0
    verified_by: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    on_row: OnRow | None = None

    @property
    def is_complete(self) -> bool:
        """Whether everything is at the destination, or was meant to be left out."""
        return not self.refused and not self.failed

    def add_problem(self, text: str) -> None:
        """Keep a problem, as long as there are few."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(text)


class _Rows:
    """Tells of objects by their URLs."""

    def __init__(self, source: Store, destination: Store, sent: Sent) -> None:
        self._source = source
        self._destination = destination
        self._sent = sent

    def decided(self, decision: PlannedObject, outcome: str) -> None:
        """Tell of an object that is not worked on."""
        keys = decision.source.key, decision.destination_key
        self._tell(*keys, outcome=outcome, size_bytes=decision.source.size_bytes, reason=decision.reason)

    def done(self, receipt: Receipt) -> None:
        """Tell what became of an object."""
        self._tell(
            receipt.key,
            receipt.destination_key,
            outcome=receipt.outcome.value,
            size_bytes=receipt.size_bytes,
            verified_by=receipt.verified_by,
            reason=receipt.reason,
        )

    def _tell(self, key: str, destination_key: str, **values: Any) -> None:
        if self._sent.on_row is not None:
            destination = self._destination.url(destination_key) if destination_key else ""
            self._sent.on_row(Row(url=self._source.url(key), destination=destination, **values))


async def send(
    source: tuple[Store, Target],
    destination: tuple[Store, Target],
    exact: ObjectInfo | None,
    options: SendOptions,
    *,
    sent: Sent,
) -> None:
    """Copy what the source names.

    Args:
        destination: Names a folder, or the one copy of `exact`.
        exact: The object of exactly the source's name; None when it names a folder or a glob.
        sent: Filled while the objects arrive.

    Raises:
        SourceMissingError: Nothing has this name.
        BucketMissingError: The destination's bucket does not exist. A local folder is created.
    """
    (source_store, named), (destination_store, goal) = source, destination
    attempts = Attempts()
    if goal.bucket.kind == "file" and not options.dry_run:
        await destination_store.create_bucket()
    is_there = await _is_there(destination_store, attempts)
    request = _request(named, goal, options, is_exact=exact is not None)
    planner = Planner(request, source_store, destination_store, destination_exists=is_there)
    if exact is None:
        decisions = _all_decisions(planner, source_store, named)
    else:
        key = goal.key if goal.name else goal.folder + exact.key.rpartition("/")[2]
        decisions = _one_decision(planner, exact.key, key)
    with tempfile.TemporaryDirectory(prefix="skyferry-") as folder:
        records = StateFolder(LocalStore(Path(folder)), "")
        number = 0
        rows = _Rows(source_store, destination_store, sent)
        async for planned in _in_portions(decisions, sent, rows, is_dry_run=options.dry_run):
            number += 1
            if not options.dry_run:
                copier = BatchCopier(
                    source_store,
                    destination_store,
                    options=_copy_options(options),
                    state=records,
                    records=f"{number:05d}",
                    attempt=1,
                    tally=_Tally(sent, rows),
                )
                await copier.copy_all(planned, done={})


async def _is_there(destination: Store, attempts: Attempts) -> bool:
    """Return whether the destination exists; only a local folder need not, in a dry run."""
    try:
        await attempts.call(destination.check_bucket)
    except BucketMissingError:
        if destination.kind != "file":
            raise
        return False
    return True


async def _one_decision(planner: Planner, source_key: str, destination_key: str) -> AsyncIterator[PlannedObject]:
    decision = await planner.decide_now(source_key, destination_key=destination_key)
    if decision is None:
        raise SourceMissingError(f"{source_key} is gone")
    yield decision


async def _all_decisions(planner: Planner, source: Store, named: Target) -> AsyncIterator[PlannedObject]:
    is_empty = True
    try:
        async for decision in planner.decisions():
            is_empty = False
            yield decision
    except RequestError:
        raise missing(source, named) from None  # a glob that takes nothing
    if is_empty and named.key:
        raise missing(source, named)


async def _in_portions(
    decisions: AsyncIterator[PlannedObject], sent: Sent, rows: _Rows, *, is_dry_run: bool
) -> AsyncIterator[list[PlannedObject]]:
    """Yield what is to be copied, some thousand objects at a time; count the rest."""
    portion: list[PlannedObject] = []
    async for decision in decisions:
        sent.objects += 1
        sent.size_bytes += decision.source.size_bytes
        if decision.action is Action.COPY:
            portion.append(decision)
            if is_dry_run:
                rows.decided(decision, "planned")
        elif decision.action is Action.REFUSE:
            sent.refused += 1
            sent.add_problem(decision.reason)
            rows.decided(decision, "refused")
        else:
            sent.skipped += 1
            rows.decided(decision, "skipped")
        if len(portion) == _OBJECTS_AT_ONCE:
            yield portion
            portion = []
    if portion:
        yield portion


class _Tally(BatchTally):
    """Passes what becomes of each object on to what the caller looks at."""

    def __init__(self, sent: Sent, rows: _Rows) -> None:
        super().__init__()
        self._sent = sent
        self._rows = rows

    def add(self, receipt: Receipt) -> None:
        """Count what became of one object."""
        super().add(receipt)
        self._rows.done(receipt)
        sent = self._sent
        match receipt.outcome:
            case Outcome.COPIED:
                sent.copied += 1
                sent.bytes_copied += receipt.size_bytes
                sent.verified_by[receipt.verified_by] += 1
            case Outcome.FAILED:
                sent.failed += 1
                sent.add_problem(receipt.reason)
            case Outcome.REFUSED:
                sent.refused += 1
                sent.add_problem(receipt.reason)
            case _:
                sent.skipped += 1


def _request(named: Target, goal: Target, options: SendOptions, *, is_exact: bool) -> TransferRequest:
    """Return the request of a transfer that does the same; that of a folder is checked as every request is."""
    wanted = options.wanted
    is_whole_folder = bool(named.name) and not named.has_glob and not is_exact
    values: dict[str, Any] = {
        "source": replace(named.bucket, prefix=f"{named.key}/" if is_whole_folder else named.folder).url,
        "destination": replace(goal.bucket, prefix=goal.folder).url,
        "on_conflict": options.on_conflict,
        "verify": options.verify,
    }
    if is_exact:
        # Without its checks: the copy of one object may well lie beside it, or its name hold what a URL cannot.
        # Different connections say that the copy is no new object of the source.
        return TransferRequest.model_construct(**values, source_conn_id="source", destination_conn_id="destination")
    return request_from_conf(
        {
            **values,
            "data": named.name if named.has_glob else "",
            "include": list(wanted.include),
            "exclude": list(wanted.exclude),
            "min_size_bytes": wanted.min_size_bytes,
            "max_size_bytes": wanted.max_size_bytes,
        }
    )


def _copy_options(options: SendOptions) -> CopyOptions:
    return CopyOptions(
        keep_source=True,
        on_conflict=options.on_conflict,
        reads_back=options.verify == "readback",
        max_objects_in_flight=options.max_in_flight,
        max_lost_in_a_row=2 * options.max_in_flight,
    )
