"""Shows runs to people: one with its report, or many in a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from skyferry.cli.output import (
    counts_text,
    rate_text,
    say,
    seconds_text,
    size_text,
    time_text,
    write_table,
)

if TYPE_CHECKING:
    from skyferry.history.transfer_run import TransferRun

_HEADINGS = ("route", "run", "outcome", "began", "took", "copied", "skipped", "refused", "failed", "bytes", "note")
_NUMBERS = ("took", "copied", "skipped", "refused", "failed", "bytes")
OUTCOME_TEXT = {"report_missing": "report missing"}


def write_runs(runs: Iterable[TransferRun]) -> None:
    """Write a table of runs."""
    write_table(_HEADINGS, (_row(run) for run in runs), numbers=_NUMBERS)


def write_run(run: TransferRun, *, page_url: str) -> None:
    """Write one run with its report; what is wrong goes to standard error, a sentence each."""
    head = [
        ("route", run.route),
        ("run", run.run_id),
        ("outcome", OUTCOME_TEXT.get(run.outcome, run.outcome) + (" (dry run)" if run.is_dry_run else "")),
        ("began", time_text(run.started_at)),
        ("took", seconds_text(run.duration_seconds)),
        ("page", page_url),
    ]
    if run.note:
        head.append(("note", run.note))
    write_table((), [*head, *(_report_rows(run) if run.report is not None else [])])
    for problem in (run.report or {}).get("problems", ()):
        say(f"problem: {problem}")
    if run.is_report_missing:
        say("the run left no report: what it copied is in its receipts only; the logs of its tasks say why")


def _report_rows(run: TransferRun) -> list[tuple[str, str]]:
    numbers = run.numbers
    report = run.report or {}
    rows = [
        ("source", numbers.source),
        ("destination", numbers.destination),
        ("planned", f"{numbers.objects_planned:,}"),
        ("copied", f"{numbers.objects_copied:,} ({size_text(numbers.bytes_copied)})"),
        ("skipped", _with_reasons(numbers.objects_skipped, counts_text(numbers.skipped_by_reason))),
        ("refused", _with_reasons(numbers.objects_refused, counts_text(numbers.refused_by_reason))),
        ("failed", f"{numbers.objects_failed:,}"),
        ("verified by", counts_text(numbers.verified_by) or "-"),
        ("retries", _with_reasons(numbers.retries, counts_text(numbers.retries_by_cause))),
        ("throughput", rate_text(report.get("throughput_bytes_per_second") or None)),
        ("records", str(report.get("records", ""))),
    ]
    if run.is_dry_run:
        rows.insert(3, ("would be copied", f"{numbers.objects_to_copy:,} ({size_text(numbers.bytes_to_copy)})"))
    if numbers.objects_deleted_at_source:
        rows.insert(4, ("deleted at source", f"{numbers.objects_deleted_at_source:,}"))
    return rows


def _with_reasons(count: int, reasons: str) -> str:
    return f"{count:,} ({reasons})" if count and reasons else f"{count:,}"


def _row(run: TransferRun) -> tuple[str, ...]:
    numbers = run.numbers
    is_known = run.report is not None
    return (
        run.route,
        run.run_id,
        OUTCOME_TEXT.get(run.outcome, run.outcome),
        time_text(run.started_at or run.run_after),
        seconds_text(run.duration_seconds),
        f"{numbers.objects_copied:,}" if is_known else "-",
        f"{numbers.objects_skipped:,}" if is_known else "-",
        f"{numbers.objects_refused:,}" if is_known else "-",
        f"{numbers.objects_failed:,}" if is_known else "-",
        size_text(numbers.bytes_copied) if is_known else "-",
        run.note,
    )
