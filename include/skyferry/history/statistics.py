"""What many runs add up to: the one place where the numbers of command line, REST and web page are computed.

Runs are taken in one by one. Memory grows by 32 bytes for each run that worked (its duration and its throughput, in its
group and in the total, so that percentiles are exact) and by the number of groups.

What counts where:

- A run counts once, in the period in which it was to begin (`run_after`), in UTC.
- Objects and bytes come from reports only. Dry runs add none; they are counted apart, and so are runs that found
  nothing to do.
- Durations and throughputs are those of finished runs that had something to do, as their reports have them; throughput
  of those that copied bytes.
- A run that consumed a queue counts in each route it worked for, with that route's share; in the total once.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

from skyferry.history.transfer_run import OUTCOMES, Numbers, TransferRun

Grouping = Literal["route", "day", "pair", "hour"]
_SUMMED = (
    "objects_planned",
    "objects_copied",
    "objects_skipped",
    "objects_refused",
    "objects_failed",
    "objects_deleted_at_source",
    "objects_deleted_at_destination",
    "bytes_copied",
    "retries",
    "missed_by_events",
    "metadata_losses",
)
_COUNTERS = ("retries_by_cause", "skipped_by_reason", "refused_by_reason", "verified_by")

GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of some values: the smallest value that half of them, or 95 of 100, do not exceed; None where there are none."""

    p50: float | None = None
    p95: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """The numbers of one group of runs.

    Attributes:
        name: Route, day, hour or pair; `total` for all together.
        runs: Runs by outcome: success, failed, report_missing, running, queued; every outcome is there.
        runs_without_work: Successful runs that found nothing to do.
        dry_runs: Runs that only planned.
        skipped_by_reason: Why objects were not copied; `refused_by_reason` likewise.
        retries_by_cause: How often something was tried again, by the class of the error.
        verified_by: What proved the copies.
        missed_by_events: Objects that a reconciling listing copied, because no event had told of them.
        first_run_after, last_run_after: The span of time of the runs.
    """

    name: str
    runs_total: int
    runs: dict[str, int]
    runs_without_work: int
    dry_runs: int
    objects_planned: int
    objects_copied: int
    objects_skipped: int
    objects_refused: int
    objects_failed: int
    objects_deleted_at_source: int
    objects_deleted_at_destination: int
    bytes_copied: int
    retries: int
    missed_by_events: int
    metadata_losses: int
    retries_by_cause: dict[str, int]
    skipped_by_reason: dict[str, int]
    refused_by_reason: dict[str, int]
    verified_by: dict[str, int]
    duration_seconds: Percentiles
    throughput_bytes_per_second: Percentiles
    first_run_after: datetime | None
    last_run_after: datetime | None

    @property
    def success_rate(self) -> float | None:
        """The share of finished runs that succeeded, from 0 to 1; None when none is finished."""
        finished = sum(self.runs[outcome] for outcome in ("success", "failed", "report_missing"))
        return self.runs["success"] / finished if finished else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The numbers of many runs.

    Attributes:
        since: Runs before that were left out; None if none were.
        group_by: What `groups` are; empty without groups.
        groups: Days and hours in their order, routes and pairs by bytes copied, the largest first.
    """

    since: datetime | None
    route: str
    group_by: str
    total: GroupStatistics
    groups: tuple[GroupStatistics, ...] = ()


def compute_statistics(
    runs: Iterable[TransferRun], *, since: datetime | None = None, route: str = "", group_by: Grouping | None = None
) -> Statistics:
    """Add up runs.

    Args:
        since: Leaves out runs that were to begin earlier.
        route: Counts only what was done for this route, or for on-demand transfers of this name.
        group_by: Adds groups to the total.
    """
    total = _Sums()
    groups: dict[str, _Sums] = {}
    for run in runs:
        if since is not None and run.run_after < since:
            continue
        shares = [(name, numbers) for name, numbers in run.shares() if not route or name == route]
        if not shares:
            continue
        total.add(run, shares[0][1] if route else run.numbers)
        for name, numbers in _groups_of(run, shares, group_by):
            groups.setdefault(name, _Sums()).add(run, numbers)
    found = [sums.finished(name) for name, sums in groups.items()]
    found.sort(key=lambda group: group.name)
    if group_by in {"route", "pair"}:
        found.sort(key=lambda group: -group.bytes_copied)
    return Statistics(
        since=since, route=route, group_by=group_by or "", total=total.finished("total"), groups=tuple(found)
    )


def _groups_of(
    run: TransferRun, shares: Sequence[tuple[str, Numbers]], group_by: Grouping | None
) -> Iterator[tuple[str, Numbers]]:
    match group_by:
        case "route":
            yield from shares
        case "pair":
            # Two routes of one run may be of one pair: the run counts once there.
            by_pair: dict[str, list[Numbers]] = {}
            for _, numbers in shares:
                by_pair.setdefault(numbers.pair or run.numbers.pair or "unknown", []).append(numbers)
            for pair, several in by_pair.items():
                yield pair, several[0] if len(several) == 1 else Numbers.total(several)
        case "day" | "hour":
            moment = run.run_after.astimezone(UTC)
            name = moment.strftime("%Y-%m-%d" if group_by == "day" else "%Y-%m-%d %H:00")
            yield name, shares[0][1] if len(shares) == 1 else Numbers.total([numbers for _, numbers in shares])


@dataclass(slots=True)
class _Sums:
    """The sums of one group while runs come in."""

    outcomes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    by_name: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _COUNTERS})
    durations: array[float] = field(default_factory=lambda: array("d"))
    throughputs: array[float] = field(default_factory=lambda: array("d"))
    first: datetime | None = None
    last: datetime | None = None

    def add(self, run: TransferRun, numbers: Numbers) -> None:
        """Take in a run, or a route's share of it."""
        self.outcomes[run.outcome] += 1
        self.first = run.run_after if self.first is None else min(self.first, run.run_after)
        self.last = run.run_after if self.last is None else max(self.last, run.run_after)
        if run.is_dry_run:
            self.counts["dry_runs"] += 1
            return
        for name in _SUMMED:
            self.counts[name] += getattr(numbers, name)
        for name, counter in self.by_name.items():
            counter.update(getattr(numbers, name))
        has_work = numbers.objects_planned > 0 or run.outcome != "success"
        self.counts["runs_without_work"] += not has_work
        seconds = run.duration_seconds
        if not (run.is_finished and has_work and seconds is not None):
            return
        self.durations.append(seconds)
        if numbers.bytes_copied and seconds:
            self.throughputs.append(numbers.bytes_copied / seconds)

    def finished(self, name: str) -> GroupStatistics:
        """Return the numbers."""
        return GroupStatistics(
            name=name,
            runs_total=self.outcomes.total(),
            runs={outcome: self.outcomes[outcome] for outcome in OUTCOMES},
            runs_without_work=self.counts["runs_without_work"],
            dry_runs=self.counts["dry_runs"],
            **cast("dict[str, Any]", {each: self.counts[each] for each in _SUMMED}),
            **cast("dict[str, Any]", {each: dict(self.by_name[each].most_common()) for each in _COUNTERS}),
            duration_seconds=_percentiles(self.durations, digits=3),
            throughput_bytes_per_second=_percentiles(self.throughputs, digits=1),
            first_run_after=self.first,
            last_run_after=self.last,
        )


def _percentiles(values: array[float], *, digits: int) -> Percentiles:
    """Return the nearest-rank percentiles: each is one of the values."""
    if not values:
        return Percentiles()
    in_order = array("d", sorted(values))

    def at(percent: int) -> float:
        rank = -(-percent * len(in_order) // 100)  # rounded up
        return round(in_order[rank - 1], digits)

    return Percentiles(p50=at(50), p95=at(95), max=at(100))
