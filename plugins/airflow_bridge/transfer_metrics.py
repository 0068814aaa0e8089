"""Metrics of finished transfers, sent where Airflow sends its own (StatsD, OpenTelemetry), if anywhere.

Pair and outcome are parts of the names, because plain StatsD knows no tags; backends that know them get the route, too.
Names and meaning: docs/guide/monitoring.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from skyferry.urls import parse_location

if TYPE_CHECKING:
    from skyferry.report import Report


def send_metrics(report: Report) -> None:
    """Count what a run did; a dry run did nothing. Costs some UDP datagrams, or nothing."""
    if report.dry_run:
        return
    from airflow.providers.common.compat.sdk import Stats

    pair = f"{parse_location(report.source).kind}_to_{parse_location(report.destination).kind}"
    tags = {"route": report.route}
    for name, count in _counts(report).items():
        if count:
            kind, _, what = name.partition(".")
            Stats.incr(".".join(filter(None, ("skyferry", kind, pair, what))), count, tags=tags)
    Stats.timing(f"skyferry.seconds.{pair}.{report.state}", timedelta(seconds=report.duration_seconds), tags=tags)


def _counts(report: Report) -> dict[str, int]:
    outcomes = {
        "copied": report.objects_copied,
        "skipped": report.objects_skipped,
        "refused": report.objects_refused,
        "failed": report.objects_failed,
    }
    return (
        {f"objects.{outcome}": count for outcome, count in outcomes.items()}
        | {f"retries.{cause}": count for cause, count in report.retries_by_cause.items()}
        | {"bytes": report.bytes_copied}
    )
