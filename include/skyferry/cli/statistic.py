"""`transfer statistic`: what many runs add up to, as a table with small bars, or as JSON."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.moments import since_time
from skyferry.cli.output import (
    bar,
    counts_text,
    rate_text,
    say,
    seconds_text,
    size_text,
    time_text,
    write_json,
    write_table,
)
from skyferry.cli.request_options import complete_route
from skyferry.cli.run import AsJson
from skyferry.cli.run_view import OUTCOME_TEXT

# Typer reads the annotation when the command is made; the module itself is light.
from skyferry.history.statistics import Grouping, GroupStatistics, Percentiles, Statistics, compute_statistics

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi
    from skyferry.history.run_cache import RunCache

_HEADINGS = ("runs", "ok", "failed", "copied", "bytes", "", "took (p50)", "p95", "rate (p50)", "p95")
_NUMBERS = ("runs", "ok", "failed", "copied", "bytes", "took (p50)", "p95", "rate (p50)")


def statistic(
    *,
    route: Annotated[
        str,
        typer.Option(
            "--id",
            metavar="ROUTE",
            autocompletion=complete_route,
            help="Only this route, or on-demand transfers of this name.",
        ),
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="7d", help="Only runs since then: 90m, 12h, 7d, 4w, or a date.")
    ] = "",
    group_by: Annotated[Grouping | None, typer.Option("--by", help="Groups beside the total.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw it too, as PNG or SVG by the suffix; by day without --by."),
    ] = None,
    is_cached: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep what finished runs said in the user's cache folder.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Add up runs: outcomes, objects, bytes, throughput, durations, retries, reasons, proofs."""
    from skyferry.cli.documents import as_json as to_json
    from skyferry.cli.documents import statistics_document
    from skyferry.history.run_history import RunHistory

    begin = since_time(since)
    if picture is not None:
        _check_picture(picture)
        group_by = group_by or "day"
    api = connect()
    with _cache(api, is_kept=is_cached) as cache:
        runs = RunHistory(api, cache).stream(since=begin, on_progress=_say_progress)
        found = compute_statistics(runs, since=begin, route=route, group_by=group_by)
        if as_json:
            write_json(to_json(statistics_document(found)))
        else:
            _write(found)
    if picture is not None:
        _draw(found, picture)


def _check_picture(file: Path) -> None:
    """Refuse a picture that could not be written, before anything is read."""
    from skyferry.cli.statistic_picture import SUFFIXES

    if file.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(
            f'"{file.name[:100]}" ends in no known kind of picture; expected {" or ".join(SUFFIXES)}',
            param_hint="'--plot'",
        )
    if not file.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {file.parent}", param_hint="'--plot'")


def _draw(found: Statistics, file: Path) -> None:
    from skyferry.cli.statistic_picture import draw_statistics

    if not found.groups:
        say("no picture, as there are no runs")
        return
    try:
        draw_statistics(found, file)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint="'--plot'") from None
    say(f"drew {file}")


@contextmanager
def _cache(api: AirflowApi, *, is_kept: bool) -> Iterator[RunCache]:
    from skyferry.history.run_cache import RunCache, cache_file

    with tempfile.TemporaryDirectory() as folder:
        file = cache_file(api.access.url, api.user) if is_kept else Path(folder) / "runs.sqlite"
        cache = RunCache(file)
        try:
            yield cache
        finally:
            cache.close()


def _say_progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and total > 1000:
        sys.stderr.write(f"\r\x1b[Kreading reports: {done:,} of {total:,}" if done < total else "\r\x1b[K")


def _write(found: Statistics) -> None:
    if not found.total.runs_total:
        say("no runs" + (f" since {time_text(found.since)}" if found.since else ""))
        return
    write_table((), _total_rows(found.total))
    if found.groups:
        largest = max(group.bytes_copied for group in found.groups)
        headings = (found.group_by, *_HEADINGS)
        write_table(headings, (_group_row(group, largest) for group in found.groups), numbers=_NUMBERS)


def _total_rows(total: GroupStatistics) -> list[tuple[str, str]]:
    rate = f" ({total.success_rate:.1%} of those that ended)" if total.success_rate is not None else ""
    outcomes = {OUTCOME_TEXT.get(name, name): count for name, count in total.runs.items()}
    rows = [
        ("runs", f"{total.runs_total:,}: {counts_text(outcomes)}{rate}"),
        ("from", f"{time_text(total.first_run_after)} to {time_text(total.last_run_after)}"),
        ("nothing to do", f"{total.runs_without_work:,} runs"),
        ("dry runs", f"{total.dry_runs:,}"),
        ("objects planned", f"{total.objects_planned:,}"),
        ("copied", f"{total.objects_copied:,} ({size_text(total.bytes_copied)})"),
        ("skipped", _with_reasons(total.objects_skipped, counts_text(total.skipped_by_reason))),
        ("refused", _with_reasons(total.objects_refused, counts_text(total.refused_by_reason))),
        ("failed", f"{total.objects_failed:,}"),
        ("deleted at source", f"{total.objects_deleted_at_source:,}"),
        ("verified by", counts_text(total.verified_by) or "-"),
        ("retries", _with_reasons(total.retries, counts_text(total.retries_by_cause))),
        ("missed by events", f"{total.missed_by_events:,}"),
        ("took", _percentiles(total.duration_seconds, seconds_text)),
        ("throughput", _percentiles(total.throughput_bytes_per_second, rate_text)),
    ]
    always = {"runs", "from", "copied", "took", "throughput"}
    return [row for row in rows if row[0] in always or row[1] not in {"0", "0 runs", "-"}]


def _percentiles(values: Percentiles, text: Callable[[float | None], str]) -> str:
    if values.max is None:
        return "-"
    return f"{text(values.p50)} (p50), {text(values.p95)} (p95), {text(values.max)} (max)"


def _with_reasons(count: int, reasons: str) -> str:
    return f"{count:,} ({reasons})" if count and reasons else f"{count:,}"


def _group_row(group: GroupStatistics, largest_bytes: int) -> tuple[str, ...]:
    return (
        group.name,
        f"{group.runs_total:,}",
        f"{group.runs['success']:,}",
        f"{group.runs['failed'] + group.runs['report_missing']:,}",
        f"{group.objects_copied:,}",
        size_text(group.bytes_copied),
        bar(group.bytes_copied, largest_bytes),
        seconds_text(group.duration_seconds.p50),
        seconds_text(group.duration_seconds.p95),
        rate_text(group.throughput_bytes_per_second.p50),
        rate_text(group.throughput_bytes_per_second.p95),
    )
