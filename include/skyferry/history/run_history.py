"""The runs of all transfers, read from Airflow: single ones as they are now, all of them through the local cache.

Which cached runs are still true is decided by Airflow, not by age:

- Runs that changed since the last look (`updated_at`, by the server's clock with an overlap) are listed again. A run
  that was cleared and ran anew has other times, so its report is asked for again.
- If the number of runs is not Airflow's, some were deleted there: all are listed, and what is gone is forgotten.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from skyferry.errors import AirflowRefusedError, UnknownRunError
from skyferry.history.airflow_api import MAX_REQUESTS_AT_ONCE, PAGE_RUNS, AirflowApi, AnnouncedReports, RunPage
from skyferry.history.run_cache import RunCache
from skyferry.history.transfer_run import (
    ON_DEMAND_DAG_ID,
    QUEUE_DAG_PREFIX,
    ROUTE_DAG_PREFIX,
    TransferRun,
    route_of,
)

_OVERLAP = timedelta(minutes=5)
"""More than the clocks of API server, scheduler and database may differ."""

_MAX_RUNS_SEARCHED = 1_000
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_Page = TypeVar("_Page", RunPage, AnnouncedReports)
Progress = Callable[[int, int], None]
"""Told how many of how many reports have been read."""


class RunHistory:
    """The runs of one Airflow's transfers.

    Args:
        cache: Where finished runs are kept; needed by `stream` only.
    """

    def __init__(self, api: AirflowApi, cache: RunCache | None = None) -> None:
        self.api = api
        self._cache = cache

    def latest(self, *, limit: int, route: str = "", since: datetime | None = None) -> list[TransferRun]:
        """Return the newest runs with their reports, the newest first; one request for the list and one for each run.

        Args:
            limit: At most 100.
            route: Only runs of this route, or on-demand transfers of this name; searched for among the newest 1,000.
        """
        dag_ids = self.dag_ids(route)
        found: list[TransferRun] = []
        for offset in range(0, _MAX_RUNS_SEARCHED, PAGE_RUNS) if dag_ids else ():
            page = self.api.list_runs(
                dag_ids, since=since, newest_first=True, offset=offset, limit=PAGE_RUNS if route else limit
            )
            found += [run for run in self._with_reports(page.runs) if not route or route in _names(run)]
            if len(found) >= limit or offset + PAGE_RUNS >= page.total:
                break
        return found[:limit]

    def run(self, run_id: str) -> TransferRun:
        """Return one run with its report.

        Args:
            run_id: Airflow's run id; `<dag_id>/<run id>` where several DAGs have a run of that id.

        Raises:
            UnknownRunError: There is none, or more than one.
        """
        dag_id, _, rest = run_id.partition("/")
        found = [self.api.run(dag_id, rest)] if rest else self.api.runs_of_id(run_id)
        if not found:
            raise UnknownRunError(f'no run "{run_id[:200]}" in {self.api.access.url}')
        if len(found) > 1:
            names = ", ".join(f"{run.dag_id}/{run.run_id}" for run in found[:5])
            raise UnknownRunError(f'"{run_id}" is the id of {len(found)} runs', hint=f"say which: {names}")
        return self.with_report(found[0])

    def with_report(self, run: TransferRun) -> TransferRun:
        """Return the run with its report, if it is finished and has one."""
        if not run.is_finished:
            return run
        report = self._report(run.dag_id, run.run_id)
        return replace(run, report=report, route=_route_name(run.dag_id, run.route, report))

    def stream(
        self, *, since: datetime | None = None, on_progress: Progress = lambda done, total: None
    ) -> Iterator[TransferRun]:
        """Yield all runs that were to begin then or later, the oldest first; memory does not grow with their number.

        Costs one request for each hundred runs. Reports that the cache does not have cost one for each hundred runs
        that ended well (see `_read_announced`), and one for each that failed.
        """
        if self._cache is None:
            raise ValueError("stream needs a cache")
        self._refresh(self._cache, since)
        self._read_reports(self._cache, since, on_progress)
        yield from self._cache.runs(since=since)

    def _refresh(self, cache: RunCache, since: datetime | None) -> None:
        dag_ids = self.dag_ids("")
        covered = cache.mark("covered_since")
        wanted_since = since or _BEGINNING
        covered_since = datetime.fromisoformat(covered) if covered else None
        if covered_since is None or wanted_since < covered_since:
            self._list_all(cache, dag_ids, wanted_since)
            return
        self._list_changed(cache, dag_ids, datetime.fromisoformat(cache.mark("looked_at")) - _OVERLAP)
        if self._count(dag_ids, covered_since) != cache.count(since=covered_since):
            self._list_all(cache, dag_ids, covered_since)

    def _list_all(self, cache: RunCache, dag_ids: Sequence[str], since: datetime) -> None:
        listing = int(cache.mark("listing") or 0) + 1
        looked_at: datetime | None = None
        pages = _pages_by_time(lambda begin, offset: self.api.list_runs(dag_ids, since=begin, offset=offset), since)
        for page in pages if dag_ids else ():
            looked_at = looked_at or page.answered_at
            cache.put(page.runs, listing=listing)
        cache.forget_others(listing=listing, since=since)
        cache.set_mark("listing", str(listing))
        cache.set_mark("covered_since", since.isoformat())
        cache.set_mark("looked_at", (looked_at or _BEGINNING).isoformat())

    def _list_changed(self, cache: RunCache, dag_ids: Sequence[str], since: datetime) -> None:
        listing = int(cache.mark("listing"))
        known = frozenset(dag_ids)
        looked_at: datetime | None = None
        for offset in itertools.count(0, PAGE_RUNS) if dag_ids else ():
            page = self.api.changed_runs(since=since, offset=offset)
            looked_at = looked_at or page.answered_at
            cache.put((run for run in page.runs if run.dag_id in known), listing=listing)
            if page.entries < PAGE_RUNS:
                break
        if looked_at is not None:
            cache.set_mark("looked_at", looked_at.isoformat())

    def _read_announced(self, cache: RunCache, since: datetime | None) -> None:
        """Take the reports of runs that ended well from asset events, a hundred at a time.

        Airflow lists XComs without their values; events it lists whole. Failed runs have none, nor have runs of a
        version before events; whoever may not see assets gets all reports one by one.
        """
        first = cache.first_unreported(since=since)
        if first is None or cache.count_unreported(since=since) <= PAGE_RUNS:
            return

        def page_at(begin: datetime, offset: int) -> AnnouncedReports:
            return self.api.announced_reports(since=begin, offset=offset)

        try:
            for page in _pages_by_time(page_at, first):
                cache.put_announced(
                    (dag_id, run_id, _route_name(dag_id, "", report), report) for dag_id, run_id, report in page.reports
                )
        except AirflowRefusedError:
            return

    def _read_reports(self, cache: RunCache, since: datetime | None, on_progress: Progress) -> None:
        total = cache.count_unreported(since=since)
        on_progress(0, total)
        self._read_announced(cache, since)
        done = total - cache.count_unreported(since=since)
        with ThreadPoolExecutor(MAX_REQUESTS_AT_ONCE) as pool:
            while wanted := cache.unreported(since=since, limit=PAGE_RUNS):
                on_progress(done, total)
                reports = pool.map(lambda ids: self._report(*ids[:2]), wanted)
                cache.put_reports(
                    [
                        (dag_id, run_id, _route_name(dag_id, route, report), report)
                        for (dag_id, run_id, route), report in zip(wanted, reports, strict=True)
                    ]
                )
                done += len(wanted)
        on_progress(done, total)

    def _report(self, dag_id: str, run_id: str) -> Mapping[str, Any] | None:
        return self.api.report(dag_id, run_id)

    def _with_reports(self, runs: Sequence[TransferRun]) -> list[TransferRun]:
        with ThreadPoolExecutor(MAX_REQUESTS_AT_ONCE) as pool:
            return list(pool.map(self.with_report, runs))

    def _count(self, dag_ids: Sequence[str], since: datetime) -> int:
        return self.api.list_runs(dag_ids, since=since, limit=1).total if dag_ids else 0

    def dag_ids(self, route: str) -> list[str]:
        """Return the DAGs that may have runs of a route; all if none is named."""
        known = [dag.dag_id for dag in self.api.dags()]
        if not route:
            return known
        if ROUTE_DAG_PREFIX + route not in known:
            return [dag_id for dag_id in known if dag_id in {ON_DEMAND_DAG_ID, route}]
        return [ROUTE_DAG_PREFIX + route, *(dag_id for dag_id in known if dag_id.startswith(QUEUE_DAG_PREFIX))]


def _pages_by_time(page_at: Callable[[datetime, int], _Page], since: datetime) -> Iterator[_Page]:
    """Yield all pages of a listing in the order of time, and ask for each while the one before it is worked on.

    A page begins at the time of the last entry of the one before it, which comes again. By offset, Airflow would sort
    all that is left and skip what was listed, for every page: four times as long at 10,000 runs.
    """
    offset = 0
    with ThreadPoolExecutor(1) as pool:
        page = page_at(since, offset)
        while page.entries >= PAGE_RUNS and page.last_at is not None:
            since, offset = (page.last_at, 0) if page.last_at > since else (since, offset + PAGE_RUNS)
            following = pool.submit(page_at, since, offset)
            yield page
            page = following.result()
        yield page


def _names(run: TransferRun) -> set[str]:
    return {run.route, *(route for route, _ in run.shares())}


def _route_name(dag_id: str, listed: str, report: Mapping[str, Any] | None) -> str:
    return route_of(dag_id, {"id": listed}, report)
