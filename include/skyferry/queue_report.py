"""Adding up what the consumers of a queue left on record, over all routes of the queue and for each.

| record of the run | what it says |
|---|---|
| `queue/begun/<slot>/try-01.json` | a consumer has begun |
| `queue/receipts/<route>/<slot>/try-01-….ndjson` | what became of each object |
| `queue/deletes/<route>/00000.ndjson` | a consumer has taken a share of the deletions the run may make |
| `queue/quarantine/….ndjson` | a message nothing can be done with |
| `queue/consumed/<slot>/try-01.json` | the consumer has come to its end, and what became of its messages |
| `queue/reports/00000.json` | the report, one for each time it was made |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from skyferry.detect.consumption import brake_text
from skyferry.detect.queue_route import QueueRoute
from skyferry.queue_receipts import ReceiptChoice
from skyferry.receipts_index.indexing import Indexing
from skyferry.report import MAX_PROBLEMS, Report, Totals, seconds_between, total_of
from skyferry.state import Run, StateFolder

_BEGUN = "queue/begun/"
_CONSUMED = "queue/consumed/"
RECEIPTS_FOLDER = "queue/receipts/"
"""Below it a folder for each route."""

_DELETES = "queue/deletes/"
REPORTS_FOLDER = "queue/reports/"

_NAME = re.compile(r"(?P<slot>[0-9]{5})/try-(?P<attempt>[0-9]+)\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRecords:
    """The names of one consumer's records.

    Args:
        slot: Number of the consumer among those of the run, from 0.
        attempt: The task's attempt, from 1.
    """

    slot: int
    attempt: int

    @property
    def begun(self) -> str:
        """Written before anything is received."""
        return f"{_BEGUN}{self._name}.json"

    @property
    def consumed(self) -> str:
        """Written when the consumer has come to its end by itself."""
        return f"{_CONSUMED}{self._name}.json"

    def receipts(self, route_id: str) -> str:
        """First part of the names of a route's receipts."""
        return f"{receipts_folder(route_id)}{self._name}"

    def deletes(self, route_id: str) -> str:
        """Folder of a route's deletions, which all consumers of the run share."""
        return f"{_DELETES}{route_id}/"

    @property
    def _name(self) -> str:
        return f"{self.slot:05d}/try-{self.attempt:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionReport(Report):
    """The summary of one run that is fed by a queue.

    It has no plan: `objects_planned` are the objects its messages told of, each once for every route, those that were
    deleted at the destination included.

    Attributes:
        objects_deleted_at_destination: Copies that were deleted because their source is gone (`mirror_deletes`).
        by_route: Route to the same numbers for it alone.
        messages: Of the queue, by what became of them; see `skyferry.detect.consumption.Consumption`.
        event_records: The records in them, by what they were; see there.
    """

    objects_deleted_at_destination: int
    by_route: dict[str, dict[str, Any]]
    messages: dict[str, int]
    event_records: dict[str, int]

    def of_route(self, route_id: str) -> ConsumptionReport:
        """Return the report with the numbers of one route in the place of the sums."""
        names = {one.name for one in fields(self)}
        numbers = {name: value for name, value in self.by_route[route_id].items() if name in names}
        return replace(self, route=route_id, **numbers)

    @property
    def headline(self) -> str:
        """One sentence for people."""
        set_aside = self.messages.get("dead_lettered", 0) + self.messages.get("quarantined", 0)
        deleted = self.objects_deleted_at_destination
        parts = [
            f"{self.objects_copied:,} of {self.objects_planned:,} objects copied ({self.bytes_copied:,} bytes)",
            f"{deleted:,} deleted" if deleted else "",
            f"{self.messages.get('received', 0):,} messages received",
            f"{set_aside:,} set aside" if set_aside else "",
        ]
        return ", ".join(part for part in parts if part)


def receipts_folder(route_id: str) -> str:
    """Return the folder of a route's receipts, those of all consumers and attempts."""
    return f"{RECEIPTS_FOLDER}{route_id}/"


def slot_receipts(route_id: str, slot: int) -> str:
    """Return the folder of what one consumer left for a route, all of its attempts."""
    return f"{receipts_folder(route_id)}{slot:05d}/"


class QueueTotals:
    """The numbers of one run of a queue.

    Args:
        folder: The run's records.
    """

    def __init__(self, routes: Sequence[QueueRoute], folder: StateFolder) -> None:
        self._routes = routes
        self._folder = folder
        self._totals = {route.id: Totals(deletes_sources=route.moves) for route in routes}
        self._messages: Counter[str] = Counter()
        self._records: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._problems: list[str] = []
        self._unfinished: list[int] = []

    async def read(self, *, consumers: int) -> None:
        """Read everything the run's consumers left.

        Args:
            consumers: As for `skyferry.queue_stages.report_consumption`.
        """
        await self._read_consumed(consumers)
        for route in self._routes:
            await self._read_receipts(route)

    async def _read_consumed(self, consumers: int) -> None:
        begun = await self._last_attempts(_BEGUN)
        ended = await self._last_attempts(_CONSUMED)
        slots = {*begun, *range(consumers)}
        self._unfinished = sorted(slot for slot in slots if ended.get(slot, 0) < max(begun.get(slot, 0), 1))
        kept: dict[str, Counter[str]] = {}
        for name in await self._folder.names(_CONSUMED):
            slot = kept.setdefault(name.rpartition("/")[0], Counter())
            for row in await self._folder.read(name):
                self._messages.update(row["messages"])
                self._records.update(row["records"])
                slot |= row["kept"]
                self._problems += row["problems"]
        # What one attempt kept, the next ones keep too, since they share one brake.
        self._kept = sum(kept.values(), start=Counter())

    async def _last_attempts(self, folder: str) -> dict[int, int]:
        """Return slot to the last attempt there is a record of."""
        last: dict[int, int] = {}
        for name in await self._folder.names(folder):
            if found := _NAME.fullmatch(name.removeprefix(folder)):
                slot, attempt = int(found["slot"]), int(found["attempt"])
                last[slot] = max(last.get(slot, 0), attempt)
        return last

    async def _read_receipts(self, route: QueueRoute) -> None:
        """Count each object of the route once, by the receipt that was chosen."""
        totals = self._totals[route.id]
        with ReceiptChoice() as choice:
            async for row in self._folder.rows(receipts_folder(route.id)):
                choice.offer(row)
            for receipt in choice.chosen():
                totals.add(receipt)
            totals.retries_by_cause.update(choice.retries)

    def report(self, run: Run, indexing: Indexing) -> ConsumptionReport:
        """Return the report of what was read."""
        brakes = [brake_text(route, self._kept[route.id]) for route in self._routes if self._kept[route.id]]
        not_indexed = [indexing.text] if indexing.left else []
        unfinished = [_unfinished_text(slot) for slot in self._unfinished]
        totals = total_of(list(self._totals.values()))
        is_done = not (brakes or unfinished or totals.failed or totals.refused)
        ended_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        seconds = seconds_between(run.started_at, ended_at)
        return ConsumptionReport(
            run_id=run.run_id,
            route=run.route,
            state="success" if is_done else "failed",
            source=_joined(route.request.source for route in self._routes),
            destination=_joined(route.request.destination for route in self._routes),
            dry_run=False,
            objects_to_copy=totals.copied + totals.failed,
            bytes_to_copy=totals.bytes_copied,
            started_at=run.started_at,
            ended_at=ended_at,
            duration_seconds=seconds,
            throughput_bytes_per_second=round(totals.bytes_copied / seconds, 1) if seconds else 0.0,
            records=self._folder.url("queue/"),
            problems=tuple([*not_indexed, *unfinished, *brakes, *totals.problems, *self._problems][:MAX_PROBLEMS]),
            by_route={route.id: self._numbers_of(route) for route in self._routes},
            messages=dict(self._messages),
            event_records=dict(self._records),
            receipts_not_indexed=indexing.left,
            **totals.numbers(),
        )

    def _numbers_of(self, route: QueueRoute) -> dict[str, Any]:
        totals, kept = self._totals[route.id], self._kept[route.id]
        return {
            "state": "failed" if totals.failed or totals.refused or kept else "success",
            "source": route.request.source,
            "destination": route.request.destination,
            **totals.numbers(),
            "objects_kept_by_max_deletes": kept,
        }

    async def keep(self, report: ConsumptionReport) -> None:
        """Write the report beside the receipts."""
        count = len(await self._folder.names(REPORTS_FOLDER))
        await self._folder.write(f"{REPORTS_FOLDER}{count:05d}.json", [report.to_json()])


def _unfinished_text(slot: int) -> str:
    return (
        f"consumer {slot} did not come to its end, and the log of its task says why; what it did has receipts, and the"
        " other messages it had received go back to the queue"
    )


def _joined(urls: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(urls))
