"""`transfer cancel` and `transfer retry`: what changes a run that exists."""

from __future__ import annotations

from typing import Annotated

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json
from skyferry.cli.run import AsJson, Wait, finish

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, as `transfer status` shows it.")]


def cancel(run_id: RunId, *, as_json: AsJson = False) -> None:
    """Stop a run that is under way; it counts as failed. What was copied by then is whole, and stays."""
    from skyferry.cli.documents import as_json as to_json
    from skyferry.cli.documents import run_document
    from skyferry.history.run_control import cancel_run
    from skyferry.history.run_history import RunHistory

    api = connect()
    run = cancel_run(api, RunHistory(api).run(run_id))
    if as_json:
        write_json(to_json(run_document(run, page_url=api.page_url(run.dag_id, run.run_id))))
    else:
        say(f"cancelled {run.run_id}")


def retry(
    run_id: RunId,
    *,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="Only the tasks that did not succeed; without it the run plans anew.")
    ] = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Let a run that is over run again, under the same id. Objects that arrived are not copied again."""
    from skyferry.cli.documents import as_json as to_json
    from skyferry.cli.documents import run_document
    from skyferry.history.run_control import retry_run
    from skyferry.history.run_history import RunHistory

    api = connect()
    run = retry_run(api, RunHistory(api).run(run_id), failed_only=failed_only)
    if wait:
        finish(api, run, as_json=as_json)
    elif as_json:
        write_json(to_json(run_document(run, page_url=api.page_url(run.dag_id, run.run_id))))
    else:
        say(f"runs again; see: transfer status --run {run.run_id}")
