"""`transfer status`: the newest runs, or one run, now or until it is over, or its objects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json
from skyferry.cli.request_options import complete_route
from skyferry.cli.run import FAILED, AsJson, finish
from skyferry.cli.run_view import write_run, write_runs
from skyferry.cli.watching import progress_text

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi
    from skyferry.history.transfer_run import TransferRun

REFRESH_SECONDS = 3.0


def status(
    *,
    route: Annotated[
        str,
        typer.Option(
            "--id", metavar="ROUTE", autocompletion=complete_route, help="Only runs of this route, or of this name."
        ),
    ] = "",
    run_id: Annotated[str, typer.Option("--run", metavar="RUN", help="One run: its state, progress and report.")] = "",
    objects: Annotated[
        bool, typer.Option("--objects", help="With --run: what became of each object, with reason and proof.")
    ] = False,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed", help="Only runs that failed or left no report; with --objects: only what failed or was refused."
        ),
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many runs to look at.")] = 20,
    is_watched: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C or its end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest runs, the newest first, or one run.

    With --run the exit code is 1 if the run failed or left no report.
    """
    from skyferry.history.run_history import RunHistory

    if objects and (is_watched or not run_id):
        raise typer.BadParameter("it goes with --run, and not with --watch", param_hint="'--objects'")
    api = connect()
    history = RunHistory(api)
    if objects:
        _show_objects(api, history.run(run_id), only_failed=failed, as_json=as_json)
        return
    if run_id:
        _show_run(api, history.run(run_id), is_watched=is_watched, as_json=as_json)
        return
    while True:
        runs = [run for run in history.latest(limit=limit, route=route) if not failed or run.outcome in _BAD]
        _show_runs(api, runs, route=route, as_json=as_json)
        if not is_watched:
            return
        time.sleep(REFRESH_SECONDS)


_BAD = frozenset({"failed", "report_missing"})


def _show_run(api: AirflowApi, run: TransferRun, *, is_watched: bool, as_json: bool) -> None:
    from skyferry.cli.documents import as_json as to_json
    from skyferry.cli.documents import run_document
    from skyferry.history.run_progress import ProgressReader

    if is_watched and not run.is_finished:
        finish(api, run, as_json=as_json)
        return
    progress = None if run.is_finished else ProgressReader(api, run, records=api.access.records).read()
    page_url = api.page_url(run.dag_id, run.run_id)
    if as_json:
        write_json(to_json(run_document(run, page_url=page_url, progress=progress)))
    else:
        write_run(run, page_url=page_url)
        if progress is not None:
            say(progress_text(progress))
    if run.outcome in _BAD:
        raise typer.Exit(FAILED)


def _show_objects(api: AirflowApi, run: TransferRun, *, only_failed: bool, as_json: bool) -> None:
    from skyferry.cli.object_view import write_objects, write_objects_json
    from skyferry.history.object_listing import FAILED_OUTCOMES, list_objects

    pages = list_objects(api, run, outcomes=FAILED_OUTCOMES if only_failed else ())
    if as_json:
        write_objects_json(run, pages)
    else:
        write_objects(pages)
    if run.outcome in _BAD:
        raise typer.Exit(FAILED)


def _show_runs(api: AirflowApi, runs: list[TransferRun], *, route: str, as_json: bool) -> None:
    from skyferry.cli.documents import RunsDocument, run_document
    from skyferry.cli.documents import as_json as to_json

    if as_json:
        documents = (run_document(run, page_url=api.page_url(run.dag_id, run.run_id)) for run in runs)
        write_json(to_json(RunsDocument(runs=tuple(documents))))
    elif runs:
        write_runs(runs)
    else:
        say(f'no runs of "{route}"; see: transfer config list' if route else "no runs; see: transfer run --help")
