"""Starts a transfer: `transfer run ...`, and `transfer ...` without a command."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json, write_text
from skyferry.cli.run_view import write_run
from skyferry.cli.watching import watch
from skyferry.errors import printable

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi
    from skyferry.history.transfer_run import TransferRun

FAILED = 1
INTERRUPTED = 130

Wait = Annotated[bool, typer.Option("--wait", help="Show the run until it is over; exit with 1 unless it succeeded.")]
Unpause = Annotated[bool, typer.Option("--unpause", help="Unpause the DAG of a route that also runs by itself.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


def run(conf: dict[str, Any], *, wait: Wait = False, unpause: Unpause = False, as_json: AsJson = False) -> None:
    """Start a transfer: of the route that --id names, or from --source to --destination.

    What else is given holds for this run only. Writes the id of the run, or with --wait its report.
    """
    from skyferry.history.run_control import start_run

    api = connect()
    started = start_run(api, _with_route_id(conf), unpause=unpause)
    if wait:
        finish(api, started, as_json=as_json)
    elif as_json:
        write_json(_json(api, started))
    else:
        write_text(f"{printable(started.run_id)}\n")
        say(f"started; see: transfer status --run {started.run_id}   ({api.page_url(started.dag_id, started.run_id)})")


def finish(api: AirflowApi, started: TransferRun, *, as_json: bool) -> None:
    """Show a run until it is over, write what became of it, and exit with 1 unless it succeeded."""
    try:
        ended = watch(api, started)
    except KeyboardInterrupt:
        _interrupted(api, started)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        write_json(_json(api, ended))
    else:
        write_run(ended, page_url=api.page_url(ended.dag_id, ended.run_id))
    if ended.outcome != "success":
        raise typer.Exit(FAILED)


def _interrupted(api: AirflowApi, started: TransferRun) -> None:
    """Ask whether to cancel the run; whoever cannot be asked leaves it running."""
    from skyferry.history.run_control import cancel_run

    if sys.stdin.isatty() and typer.confirm("Cancel the run? (No leaves it running.)", default=False, err=True):
        cancel_run(api, api.run(started.dag_id, started.run_id))
        say("cancelled; what was copied by now is whole, and stays")
    else:
        say(f"left running; see: transfer status --run {started.run_id}")


def _with_route_id(conf: dict[str, Any]) -> dict[str, Any]:
    """Return the conf with its id as ids are written: a name such as "Dummy transfer" is dummy_transfer."""
    if "id" not in conf:
        return conf
    route_id = re.sub(r"[^a-z0-9_-]+", "_", conf["id"].strip().lower()).strip("_")
    if route_id != conf["id"]:
        say(f'"{conf["id"]}" is read as {route_id}')
    return {**conf, "id": route_id}


def _json(api: AirflowApi, one: TransferRun) -> Any:
    from skyferry.cli.documents import as_json, run_document

    return as_json(run_document(one, page_url=api.page_url(one.dag_id, one.run_id)))
