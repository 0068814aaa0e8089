"""`transfer clean`: removes what interrupted transfers left behind and nobody goes on with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json, write_table
from skyferry.cli.request_options import complete_route
from skyferry.cli.run import FAILED, AsJson
from skyferry.cli.watching import await_result

_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def clean(
    *,
    route: Annotated[
        str, typer.Option("--id", metavar="ROUTE", autocompletion=complete_route, help="Only this route's destination.")
    ] = "",
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Only uploads to keys below this URL.")] = "",
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="7d", help="Nothing was written of them for so long: 12h, 7d, 4w.")
    ] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove unfinished uploads that nobody goes on with, and partial files in local destinations.

    Only what transfers left is touched, never what belongs to a run that is not over. It runs in Airflow, as the DAG
    "maintenance". Exits with 1 if something could not be removed.
    """
    from skyferry.history.run_control import CLEAN_TASK_ID, start_clean

    seconds = _seconds(older_than)
    api = connect()
    started = start_clean(api, route=route, url=url, older_than_seconds=seconds, dry_run=dry_run)
    found = await_result(api, started, task_id=CLEAN_TASK_ID)
    if as_json:
        write_json(dict(found))
    else:
        _write(found)
    if found["state"] != "success":
        raise typer.Exit(FAILED)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if seconds < _UNIT_SECONDS["h"]:
        raise typer.BadParameter(
            f'"{text[:40]}" is no age of an hour or more; expected for example 12h, 7d or 4w',
            param_hint="'--older-than'",
        )
    return seconds


def _write(found: Mapping[str, Any]) -> None:
    done = "to remove" if found["dry_run"] else "removed"
    rows = [
        ("unfinished uploads", f"{found['uploads_found']:,}"),
        (done, f"{found['uploads_removed']:,}"),
        ("too young", f"{found['uploads_young']:,}"),
        ("of runs that are not over", f"{found['uploads_live']:,}"),
        (f"partial files {done}", f"{found['files_removed']:,}"),
    ]
    write_table((), rows)
    for text in found["removed"]:
        say(f"{done}: {text}")
    for text in found["problems"]:
        say(f"not removed: {text}")
