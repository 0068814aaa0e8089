"""The report: what one run did, as numbers that add up; made from the plan and the receipts, and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from skyferry.errors import TransferIncompleteError, printable
from skyferry.records import Outcome, Receipt
from skyferry.refusals import OTHER
from skyferry.run_budget import BUDGET

if TYPE_CHECKING:
    from skyferry.state import Run

MAX_PROBLEMS = 20
"""How many refused and failed objects the report names; the records under `state_url` have all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The summary of one run.

    `objects_planned` is the sum of `objects_copied`, `objects_skipped`, `objects_refused` and `objects_failed`; an
    object that was planned and left no receipt counts as failed. In a dry run nothing is copied, and
    `objects_to_copy` takes the place of the copied and failed ones.

    Attributes:
        state: `success` when every object is copied and verified, or skipped with a reason; else `failed`.
        refused_by_reason: How many objects were refused for what, by the codes of `skyferry.refusals`.
        records: URL of the folder that holds manifest and receipts.
        problems: The first objects that were refused, failed, or kept at the source of a move; a sentence each.
        missed_by_events: For a run that lists the source of a route which a queue feeds: the objects it copied, since
            no event had brought them. 0 for other runs.
        budget_reached: `objects`, `bytes` or `seconds` when the run ended because it had copied as much, or taken as
            long, as it may; what is left for the next run is skipped with the reason `budget`. Else empty.
        receipts_not_indexed: Receipts that are on record, and not known to be in the route's index. They make no run
            fail; `transfer receipts --rebuild` writes them.
    """

    run_id: str
    route: str
    state: str
    source: str
    destination: str
    dry_run: bool
    objects_planned: int
    objects_to_copy: int
    objects_copied: int
    objects_skipped: int
    objects_refused: int
    objects_failed: int
    objects_deleted_at_source: int
    bytes_to_copy: int
    bytes_copied: int
    retries: int
    retries_by_cause: dict[str, int]
    verified_by: dict[str, int]
    skipped_by_reason: dict[str, int]
    refused_by_reason: dict[str, int]
    metadata_losses: int
    started_at: str
    ended_at: str
    duration_seconds: float
    throughput_bytes_per_second: float
    records: str
    problems: tuple[str, ...] = ()
    missed_by_events: int = 0
    budget_reached: str = ""
    receipts_not_indexed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values, every field present."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"problems": list(self.problems)}

    @property
    def headline(self) -> str:
        """One sentence for people."""
        if self.objects_planned == 0 and self.state == "success":
            return f"nothing to do: {self.source} has no objects to transfer"
        if self.dry_run:
            return f"dry run: {self.objects_to_copy:,} objects ({self.bytes_to_copy:,} bytes) would be copied"
        if self.budget_reached:
            left = self.skipped_by_reason.get(BUDGET, 0)
            return (
                f"budget of {self.budget_reached} reached: {self.objects_copied:,} of {self.objects_planned:,} objects"
                f" copied ({self.bytes_copied:,} bytes), {left:,} left for the next run"
            )
        if self.objects_copied == 0 and self.state == "success":
            return (
                f"nothing copied: all {self.objects_skipped:,} objects were skipped ({_text(self.skipped_by_reason)})"
            )
        return f"{self.objects_copied:,} of {self.objects_planned:,} objects copied ({self.bytes_copied:,} bytes)"

    def raise_if_incomplete(self) -> None:
        """Raise unless every object is accounted for.

        Raises:
            TransferIncompleteError: Fix what the message names, then run the transfer again; it copies what is missing.
        """
        if self.state == "success":
            return
        counts = (
            f"{self.objects_refused:,} refused and {self.objects_failed:,} failed of {self.objects_planned:,} objects"
        )
        raise TransferIncompleteError(
            f"{counts} from {self.source} to {self.destination}: {'; '.join(self.problems[:5])}",
            hint=f"fix that and run the transfer again; all records are in {self.records}",
        )


@dataclass(slots=True)
class Totals:
    """Receipts added up; memory does not grow with their number.

    Attributes:
        deletes_sources: The run is a move: an object is not done before its source is deleted, or kept for a reason.
    """

    deletes_sources: bool = False
    copied: int = 0
    skipped: int = 0
    refused: int = 0
    failed: int = 0
    deleted_at_source: int = 0
    deleted_at_destination: int = 0
    bytes_copied: int = 0
    metadata_losses: int = 0
    retries_by_cause: Counter[str] = field(default_factory=Counter)
    verified_by: Counter[str] = field(default_factory=Counter)
    skipped_by_reason: Counter[str] = field(default_factory=Counter)
    refused_by_reason: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, receipt: Receipt) -> None:
        """Take in the last receipt of one object."""
        self.retries_by_cause.update(receipt.retries)
        self.deleted_at_source += receipt.deleted_at_source
        if receipt.kept_because:
            self.add_problem(receipt.kept_because)
        if self.deletes_sources and receipt.awaits_deletion:
            self.failed += 1
            self.add_problem(receipt.not_deleted_because or f"{receipt.key} arrived, and is still at the source")
        elif receipt.outcome is Outcome.COPIED:
            self.copied += 1
            self.bytes_copied += receipt.size_bytes
            self.metadata_losses += bool(receipt.lost)
            self.verified_by[receipt.verified_by] += 1
        elif receipt.outcome is Outcome.SKIPPED:
            self.skipped += 1
            self.skipped_by_reason[receipt.reason] += 1
        elif receipt.outcome is Outcome.DELETED:
            self.deleted_at_destination += 1
        else:
            if receipt.outcome is Outcome.REFUSED:
                self.refused += 1
                self.refused_by_reason[receipt.refusal or OTHER] += 1
            self.failed += receipt.outcome is Outcome.FAILED
            self.add_problem(receipt.reason)

    def add_problem(self, text: str) -> None:
        """Keep a sentence for the report, if there is room."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(printable(text))

    def numbers(self) -> dict[str, Any]:
        """Return the fields of a report that follow from receipts alone."""
        done = self.copied + self.skipped + self.deleted_at_destination
        return {
            "objects_planned": done + self.refused + self.failed,
            "objects_copied": self.copied,
            "objects_skipped": self.skipped,
            "objects_refused": self.refused,
            "objects_failed": self.failed,
            "objects_deleted_at_source": self.deleted_at_source,
            "objects_deleted_at_destination": self.deleted_at_destination,
            "bytes_copied": self.bytes_copied,
            "retries": sum(self.retries_by_cause.values()),
            "retries_by_cause": dict(self.retries_by_cause),
            "verified_by": dict(self.verified_by),
            "skipped_by_reason": dict(self.skipped_by_reason),
            "refused_by_reason": dict(self.refused_by_reason),
            "metadata_losses": self.metadata_losses,
        }


def report_of_nothing(run: Run, problem: str) -> Report:
    """Return the report of a run whose parameters or connections are wrong: it had no source to look at.

    Args:
        problem: What is wrong, in a sentence.
    """
    ended_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    numbers = {name: value for name, value in Totals().numbers().items() if name in Report.__slots__}
    return Report(
        run_id=run.run_id,
        route=run.route,
        state="failed",
        source="",
        destination="",
        dry_run=False,
        objects_to_copy=0,
        bytes_to_copy=0,
        started_at=run.started_at,
        ended_at=ended_at,
        duration_seconds=seconds_between(run.started_at, ended_at),
        throughput_bytes_per_second=0.0,
        records="",
        problems=(printable(problem),),
        **numbers,
    )


def total_of(parts: Iterable[Totals]) -> Totals:
    """Return the sum of some totals."""
    total = Totals()
    for part in parts:
        for one in fields(Totals):
            if isinstance(getattr(part, one.name), Counter):
                getattr(total, one.name).update(getattr(part, one.name))
            elif one.name not in ("deletes_sources", "problems"):
                setattr(total, one.name, getattr(total, one.name) + getattr(part, one.name))
        for problem in part.problems:
            total.add_problem(problem)
    return total


def seconds_between(started_at: str, ended_at: str) -> float:
    """Return the seconds between two ISO 8601 times, never negative: the clocks may be two machines'."""
    difference = datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)
    return max(round(difference.total_seconds(), 3), 0.0)


def _text(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
