"""`transfer audit`: compares what a finished run copied with what its destination holds now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.control import RunId
from skyferry.cli.output import counts_text, say, write_json, write_table
from skyferry.cli.run import FAILED, AsJson
from skyferry.cli.watching import await_result


def audit(
    run_id: RunId,
    *,
    reads_back: Annotated[
        bool, typer.Option("--readback", help="Read every copy, also those whose store publishes a checksum.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what a finished run copied with what its destination holds now, and name each difference.

    It runs in Airflow, as the DAG "audit", with the connections of the run. Exits with 1 if anything differs.
    """
    from skyferry.history.run_control import AUDIT_TASK_ID, start_audit
    from skyferry.history.run_history import RunHistory

    api = connect()
    run = RunHistory(api).run(run_id)
    started = start_audit(api, run, reads_back=reads_back)
    found = await_result(api, started, task_id=AUDIT_TASK_ID)
    if as_json:
        write_json(dict(found))
    else:
        _write(found)
    if found["state"] != "success":
        raise typer.Exit(FAILED)


def _write(found: Mapping[str, Any]) -> None:
    rows = [
        ("run", str(found["run_id"])),
        ("destination", str(found["destination"])),
        ("copies", f"{found['objects_audited']:,}"),
        ("confirmed", f"{found['objects_confirmed']:,} ({counts_text(found['confirmed_by']) or 'none'})"),
        ("rewritten since", f"{found['objects_rewritten']:,}"),
        ("differences", counts_text(found["differences_by_kind"]) or "none"),
    ]
    write_table((), rows)
    for text in found["differences"]:
        say(f"difference: {text}")
    if sum(found["differences_by_kind"].values()) > len(found["differences"]):
        say(f"all of them are in {found['records']}")
