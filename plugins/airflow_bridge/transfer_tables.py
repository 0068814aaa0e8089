"""Plans and reports as plain tables for task logs, one log record per line.

Names of objects come from strangers: control characters are shown as escapes, and nothing in them is taken for markup.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skyferry.errors import printable

if TYPE_CHECKING:
    from skyferry.claim import Claimed
    from skyferry.handover import Handover
    from skyferry.queue_report import ConsumptionReport
    from skyferry.report import Report
    from skyferry.request import TransferRequest
    from skyferry.stages import Plan

_WIDTH_CHARACTERS = 140
_DELETED = "deleted, once a copy is proven equal"


def plan_lines(request: TransferRequest, plan: Plan, handover: Handover) -> list[str]:
    """Return the summary of a plan; for a dry run also its first decisions."""
    totals = plan.totals
    lines = _lines(
        _two_columns(
            [
                *_claim_rows(plan.claimed, handover),
                ("source", request.source),
                ("destination", request.destination),
                ("data", request.data or "everything"),
                ("then the source is", _end_of_source(request, handover)),
                ("objects found", f"{totals['objects_planned']:,}"),
                ("to copy", f"{totals['objects_to_copy']:,} ({totals['bytes_to_copy']:,} bytes)"),
                ("skipped", _with_counts(totals["objects_skipped"], totals["skipped_by_reason"])),
                ("refused", _with_counts(totals["objects_refused"], totals["refused_by_reason"])),
                ("batches", f"{len(plan.batches):,}"),
            ]
        )
    )
    return lines + (_preview_lines(plan) if request.dry_run else [])


def _claim_rows(claimed: Claimed, handover: Handover) -> list[tuple[str, str]]:
    if not handover.watched:
        return []
    rows = [
        ("claimed from", handover.watched),
        ("claimed", f"{claimed.files:,} files ({claimed.size_bytes:,} bytes)"),
        ("not settled yet", f"{claimed.waiting:,} files"),
    ]
    in_the_way = f"{claimed.in_the_way:,} files, until the earlier ones of their names are through"
    return rows + ([("waiting", in_the_way)] if claimed.in_the_way else [])


def _end_of_source(request: TransferRequest, handover: Handover) -> str:
    if request.keep_source:
        return "kept"
    return f"moved to {handover.done}, once a copy is proven equal" if handover.done else _DELETED


def report_lines(report: Report) -> list[str]:
    """Return a report: a headline, the numbers, and the first problems."""
    rows = [
        ("source", report.source),
        ("destination", report.destination),
        ("state", report.state),
        ("planned", f"{report.objects_planned:,}"),
        ("copied", f"{report.objects_copied:,} ({report.bytes_copied:,} bytes)"),
        ("skipped", _with_counts(report.objects_skipped, report.skipped_by_reason)),
        ("refused", _with_counts(report.objects_refused, report.refused_by_reason)),
        ("failed", f"{report.objects_failed:,}"),
        ("deleted at source", f"{report.objects_deleted_at_source:,}"),
        ("verified by", counts_text(report.verified_by) or "-"),
        ("retries", _with_counts(report.retries, report.retries_by_cause)),
        ("metadata not held", f"{report.metadata_losses:,} objects"),
        ("seconds", f"{report.duration_seconds:,.1f} ({report.throughput_bytes_per_second:,.0f} bytes per second)"),
        ("records", report.records),
    ]
    if report.missed_by_events:
        rows.append(("missed by events", f"{report.missed_by_events:,}"))
    if report.receipts_not_indexed:
        rows.append(("receipts not indexed", f"{report.receipts_not_indexed:,}"))
    problems = [f"problem: {printable(problem)}" for problem in report.problems]
    return [printable(report.headline), *_lines(_two_columns(rows)), *problems]


def consumption_lines(report: ConsumptionReport) -> list[str]:
    """Return the report of a queue's run: that of a transfer, and what it has beyond that."""
    rows = [
        ("deleted at destination", f"{report.objects_deleted_at_destination:,}"),
        ("messages", counts_text(report.messages) or "none"),
        ("event records", counts_text(report.event_records) or "none"),
    ]
    for route, numbers in report.by_route.items():
        names = ("copied", "skipped", "refused", "failed", "deleted_at_destination")
        counts = {name.replace("_", " "): numbers[f"objects_{name}"] for name in names}
        rows.append((f"route {route}", f"{numbers['state']}: {counts_text(counts) or 'nothing to do'}"))
    return [*report_lines(report), *_lines(_two_columns(rows))]


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts as `3 copied, 1 failed`, without the zeros."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _with_counts(total: int, counts: Mapping[str, int]) -> str:
    return f"{total:,} ({counts_text(counts)})" if total else "0"


def _preview_lines(plan: Plan) -> list[str]:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading, justify in (("action", "left"), ("bytes", "right"), ("source key", "left"), ("reason", "left")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for item in plan.preview:
        cells = (item.action.value, f"{item.source.size_bytes:,}", item.source.key, item.reason)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    left_out = plan.totals["objects_planned"] - len(plan.preview)
    return _lines(table) + ([f"... and {left_out:,} more"] if left_out > 0 else [])


def _two_columns(rows: list[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name), Text(printable(value), overflow="fold"))
    return table


def _lines(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=_WIDTH_CHARACTERS, no_color=True, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]
