"""/statistics: what many runs add up to; computed by the one module that computes it for everybody."""

from __future__ import annotations

import fcntl
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query

from skyferry.history.run_cache import RunCache, cache_file
from skyferry.history.run_history import RunHistory
from skyferry.history.statistics import Grouping, Statistics, compute_statistics
from transfer_api.api_caller import Caller, SignedIn
from transfer_api.api_models import StatisticsAnswer
from transfer_api.api_problems import responses
from transfer_api.api_threads import in_slow_thread

router = APIRouter(prefix="/statistics", tags=["statistics"])

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@router.get("", responses=responses(), summary="Add up runs")
async def get_statistics(
    caller: SignedIn,
    since: Annotated[
        str,
        Query(pattern=r"^[1-9][0-9]{0,3}[hdw]$", description="How far back: `24h`, `7d` or `4w`.", examples=["7d"]),
    ] = "7d",
    by: Annotated[Grouping | None, Query(description="Adds the numbers of each route, day, hour or pair.")] = None,
    route: Annotated[str, Query(max_length=200, description="Only what was done for this route.")] = "",
) -> StatisticsAnswer:
    """Add up the runs you may see: outcomes, objects, bytes, seconds, retries and reasons.

    The first question about a period costs Airflow one request for each run that failed, and one for each hundred of
    the others; later ones cost only what has changed.
    """
    begin = datetime.now(UTC) - _span(since)
    statistics = await in_slow_thread(lambda: _statistics(caller, begin, by, route))
    return StatisticsAnswer.of(statistics)


def _span(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([hdw])", text)
    assert match
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _statistics(caller: Caller, since: datetime, by: Grouping | None, route: str) -> Statistics:
    airflow = caller.airflow()
    file = _cache_file(caller)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        # One at a time, over all processes of the API server: each brings the cache up to date first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        cache = RunCache(file)
        try:
            runs = RunHistory(airflow, cache).stream(since=since)
            return compute_statistics(runs, since=since, route=route, group_by=by)
        finally:
            cache.close()


def _cache_file(caller: Caller) -> Path:
    """Return the file of this caller: what one may see must not show in the numbers of another."""
    from airflow.configuration import AIRFLOW_HOME

    return cache_file(caller.airflow_url, caller.name, environ={"XDG_CACHE_HOME": f"{AIRFLOW_HOME}/cache"})
