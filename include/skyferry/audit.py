"""The audit of a finished run: what its receipts say was copied, compared with what the destination holds now.

No object is written or changed. Each is looked at once; it is read only where its store publishes no checksum that the
receipt has too, or when every one is to be read. All differences go to a record of the run:

    <state_url>/<dag_id>/run=<run_id>/audits/00000/00000.ndjson
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from skyferry.attempts import Attempts
from skyferry.byte_budget import ByteBudget
from skyferry.checksums import ALGORITHMS, PREFERENCE
from skyferry.detect.queue_route import QueueRoute
from skyferry.errors import PermanentError, RequestError, TransferError, TransferIncompleteError, printable
from skyferry.evidence import Comparer
from skyferry.objects import ObjectInfo
from skyferry.paced_store import paced_stores
from skyferry.queue_receipts import ReceiptChoice
from skyferry.queue_report import RECEIPTS_FOLDER
from skyferry.records import Outcome, Receipt
from skyferry.request import TransferRequest
from skyferry.stages import last_receipts, open_state
from skyferry.state import RecordWriter, Run, StateFolder, StoreOpener, plan_folder
from skyferry.stores.base import Store
from skyferry.urls import Location
from skyferry.verification import READBACK

MAX_DIFFERENCES = 20
"""How many differences an audit names itself; its record has all of them."""

_OBJECTS_AT_ONCE = 32
_DIFFERENCES_PER_RECORD = 1_000
_AUDITS_FOLDER = "audits/"
_BUDGET_BYTES = 96 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that is not as its receipt says.

    Attributes:
        kind: `missing`, `other_content`, `unreadable`.
        text: What was expected and found, with the full URL.
    """

    kind: str
    key: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return {"kind": self.kind, "key": self.key, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found.

    Attributes:
        state: `success` when every copy is there with its content; else `failed`.
        objects_audited: The copies that receipts tell of.
        confirmed_by: What proved that a copy is there: a checksum's name, or `readback`.
        rewritten: Copies whose content is right, although somebody has written the object since.
        differences_by_kind: How many of each kind.
        differences: The first of them, a sentence each.
        records: URL of the folder that holds all of them; empty if there are none.
    """

    dag_id: str
    run_id: str
    state: str
    destination: str
    objects_audited: int
    objects_confirmed: int
    objects_rewritten: int
    confirmed_by: dict[str, int]
    differences_by_kind: dict[str, int]
    differences: tuple[str, ...]
    records: str

    def to_json(self) -> dict[str, Any]:
        """Return the audit as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"differences": list(self.differences)}

    def raise_if_different(self) -> None:
        """Raise unless every copy is there.

        Raises:
            TransferIncompleteError: Run the transfer again: it copies what is missing or has other content.
        """
        if self.state == "success":
            return
        count = sum(self.differences_by_kind.values())
        shown = "; ".join(self.differences[:5])
        raise TransferIncompleteError(
            f"{count:,} of {self.objects_audited:,} copies in {self.destination} are not as the receipts say: {shown}",
            hint="run the transfer again; it copies what is missing or has changed",
        )


async def audit_run(
    request: TransferRequest,
    *,
    run: Run,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    reads_back: bool = False,
) -> Audit:
    """Compare each copy of a run with its receipt.

    Costs one request for each copy, and reading those whose store publishes no checksum that the receipt has.
    Memory holds the receipts of one batch and 96 MiB of content.

    Args:
        request: The audited run's.
        run: The audited run.
        reads_back: Read every copy, whatever its store publishes.

    Raises:
        RequestError: The run has no records to compare with.
        TransferError: The state folder or the destination cannot be used.
    """
    open_store = paced_stores(open_store, [request])
    async with (
        open_state(open_store, state, state_conn_id, run) as records,
        open_store(request.destination_location, request.destination_conn_id) as destination,
    ):
        await Attempts().call(destination.check_bucket)
        findings = await _new_findings(records)
        auditor = _Auditor(destination, findings, reads_back=reads_back)
        async for receipts in _copies(records, run):
            await auditor.audit(receipts)
        return await findings.result(run, request.destination)


async def audit_consumption(
    routes: Sequence[QueueRoute],
    *,
    run: Run,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    reads_back: bool = False,
) -> Audit:
    """Compare the copies of a run that consumed a queue with its receipts; otherwise as `audit_run`.

    Where it copied several versions of an object, the last one is looked for; what it deleted later is left out. The
    receipts of each route are sorted out on disk, so memory is flat.

    Args:
        routes: Those the run worked for, with the destinations they had then.

    Raises:
        TransferError: The state folder or a destination cannot be used.
    """
    open_store = paced_stores(open_store, [route.request for route in routes])
    async with open_state(open_store, state, state_conn_id, run) as records:
        findings = await _new_findings(records)
        for route in routes:
            request = route.request
            with ReceiptChoice() as choice:
                async for row in records.rows(f"{RECEIPTS_FOLDER}{route.id}/"):
                    choice.offer(row)
                async with open_store(request.destination_location, request.destination_conn_id) as destination:
                    await Attempts().call(destination.check_bucket)
                    auditor = _Auditor(destination, findings, reads_back=reads_back)
                    for receipts in _in_parts(choice.standing()):
                        await auditor.audit(receipts)
        return await findings.result(run, ", ".join(dict.fromkeys(route.request.destination for route in routes)))


def _in_parts(receipts: Iterator[Receipt]) -> Iterator[list[Receipt]]:
    while part := list(itertools.islice(receipts, _OBJECTS_AT_ONCE)):
        yield part


async def _new_findings(records: StateFolder) -> _Findings:
    folder = await _new_folder(records)
    writer = RecordWriter(
        records, lambda number: f"{folder}{number:05d}.ndjson", rows_per_record=_DIFFERENCES_PER_RECORD
    )
    return _Findings(writer, records.url(folder))


async def _new_folder(records: StateFolder) -> str:
    """Return the folder of this audit; earlier ones stay."""
    earlier = {name.split("/")[1] for name in await records.names(_AUDITS_FOLDER)}
    return f"{_AUDITS_FOLDER}{max((int(number) for number in earlier), default=-1) + 1:05d}/"


async def _copies(records: StateFolder, run: Run) -> AsyncIterator[list[Receipt]]:
    """Yield the receipts of copies, those of one batch at a time."""
    _, number = await records.plan_numbers()
    if not number:
        raise RequestError(
            f"run {run.run_id} of {run.dag_id} left no whole plan in {records.url()}", hint="there is nothing to audit"
        )
    folder = f"{plan_folder(number)}receipts/"
    plan = (await records.read(f"{plan_folder(number)}plan.json"))[0]
    for name in ["carried", *(f"{batch['number']:05d}" for batch in ([] if plan["dry_run"] else plan["batches"]))]:
        receipts = await last_receipts(records, f"{folder}{name}/")
        yield [receipt for receipt in receipts.values() if receipt.outcome is Outcome.COPIED]


@dataclass(slots=True)
class _Findings:
    """What was found until now; all differences go to a record."""

    writer: RecordWriter
    records_url: str
    audited: int = 0
    rewritten: int = 0
    confirmed_by: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    async def keep(self, difference: Difference) -> None:
        """Take in one object that is not as its receipt says."""
        self.kinds[difference.kind] += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(difference.text)
        await self.writer.add(difference.to_json())

    async def result(self, run: Run, destination: str) -> Audit:
        """Write the rest, and return what was found."""
        await self.writer.flush()
        return Audit(
            dag_id=run.dag_id,
            run_id=run.run_id,
            state="failed" if self.kinds else "success",
            destination=destination,
            objects_audited=self.audited,
            objects_confirmed=self.confirmed_by.total(),
            objects_rewritten=self.rewritten,
            confirmed_by=dict(self.confirmed_by),
            differences_by_kind=dict(self.kinds),
            differences=tuple(self.differences),
            records=self.records_url if self.kinds else "",
        )


@dataclass(slots=True)
class _Auditor:
    """Looks at the copies in one destination."""

    destination: Store
    findings: _Findings
    reads_back: bool
    attempts: Attempts = field(default_factory=Attempts)
    budget: ByteBudget = field(default_factory=lambda: ByteBudget(_BUDGET_BYTES))

    async def audit(self, receipts: list[Receipt]) -> None:
        """Look at the copies these receipts tell of, many at a time."""
        for start in range(0, len(receipts), _OBJECTS_AT_ONCE):
            some = receipts[start : start + _OBJECTS_AT_ONCE]
            for difference in await asyncio.gather(*(self._look_at(receipt) for receipt in some)):
                if difference is not None:
                    await self.findings.keep(difference)
        self.findings.audited += len(receipts)

    async def _look_at(self, receipt: Receipt) -> Difference | None:
        url = self.destination.url(receipt.destination_key)
        try:
            found = await self.attempts.call(lambda: self.destination.stat(receipt.destination_key))
            if found is None:
                return _difference("missing", receipt, f"{url} was copied by this run, and is not there")
            proof = await self._proof(found, receipt)
        except TransferError as error:
            return _difference("unreadable", receipt, str(error))
        if proof is None:
            seen = f"{found.size_bytes:,} bytes, {_digests_text(found)}"
            expected = f"{receipt.size_bytes:,} bytes, {_first(dict(receipt.checksums))}"
            return _difference("other_content", receipt, f"{url} has other content ({seen}); expected {expected}")
        self.findings.confirmed_by[proof] += 1
        self.findings.rewritten += bool(receipt.destination_etag) and found.etag != receipt.destination_etag
        return None

    async def _proof(self, found: ObjectInfo, receipt: Receipt) -> str | None:
        """Return what proves that the object has the content of the receipt; None if it has other content."""
        if found.size_bytes != receipt.size_bytes:
            return None
        for name in () if self.reads_back else PREFERENCE:
            if name in found.checksums and name in receipt.checksums:
                return name if found.checksums[name] == receipt.checksums[name] else None
        usable = ALGORITHMS & set(receipt.checksums)
        if not usable:
            raise PermanentError(f"the receipt of {self.destination.url(found.key)} has no checksum to compare with")
        comparer = Comparer(self.destination, self.destination, budget=self.budget, attempts=self.attempts)
        read = await comparer.read_digests(self.destination, found, usable)
        return READBACK if all(read[name] == receipt.checksums[name] for name in usable) else None


def _difference(kind: str, receipt: Receipt, text: str) -> Difference:
    return Difference(kind=kind, key=receipt.destination_key, text=printable(text))


def _digests_text(found: ObjectInfo) -> str:
    return _first(dict(found.checksums)) if found.checksums else "read"


def _first(checksums: dict[str, str]) -> str:
    return next((f"{name} {value}" for name, value in checksums.items()), "no checksum on record")
