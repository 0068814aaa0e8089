"""The verbs that remove and make places: `transfer rm`, `mb`, `rb` and `mkdir`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli.output import say, size_text, write_lines
from skyferry.cli.progress import shown_progress
from skyferry.cli.row_output import JsonRows
from skyferry.cli.run import FAILED, AsJson
from skyferry.cli.storage_options import (
    Connection,
    DryRun,
    Exclude,
    Include,
    InFlight,
    Key,
    Recursive,
    Url,
    Yes,
    require_object,
    run_verb,
    wanted,
)

if TYPE_CHECKING:
    from skyferry.storage import Removed
    from skyferry.storage.removing import Removal

_SHOWN = 20


def rm(
    url: Url,
    *,
    conn: Connection = "",
    key: Key = None,
    recursive: Recursive = False,
    include: Include = None,
    exclude: Exclude = None,
    in_flight: InFlight = 64,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete an object, what a glob takes, or with --recursive a folder.

    They are counted first; on a terminal more than one is asked about. Each is deleted only if it is still the version
    that was counted. Exits with 1 if one is still there.
    """
    from skyferry.storage import Removed, Storage
    from skyferry.storage.targets import parse_target

    target = parse_target(url, key=key)
    if not target.name and not recursive:
        raise typer.BadParameter(f"{url} is a folder; add --recursive", param_hint="'URL'")
    rows = JsonRows(is_dry_run=dry_run) if as_json else None
    removed = Removed(on_row=rows.add if rows else None)

    async def work() -> None:
        async with Storage(conn, max_in_flight=in_flight) as storage:
            if not recursive and not target.has_glob:
                await require_object(storage, url, key, done="removed")
            async with storage.removal(url, key=key, wanted=wanted(include, exclude), removed=removed) as removal:
                if _is_wanted(removal, dry_run=dry_run, yes=yes):
                    async with shown_progress(lambda: _progress(removed)):
                        await removal.remove_all(max_in_flight=in_flight)
                elif rows is not None:
                    removal.tell_planned()

    run_verb(work())
    _write(removed, rows, is_dry_run=dry_run)
    if removed.failed:
        raise typer.Exit(FAILED)


def mb(url: Url, *, conn: Connection = "") -> None:
    """Create a bucket, a container or a local folder; one that is there already is fine."""
    from skyferry.storage import Storage

    async def work() -> None:
        async with Storage(conn) as storage:
            await storage.mb(url)

    run_verb(work())
    say(f"{url} is there")


def rb(
    url: Url,
    *,
    conn: Connection = "",
    force: Annotated[bool, typer.Option("--force", help="Remove the objects in it first.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a bucket, a container or a local folder that is empty; one that is not there is fine."""
    from skyferry.storage import Storage
    from skyferry.storage.targets import parse_bucket

    parse_bucket(url)
    if force and not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {url} with everything in it?", abort=True, err=True)

    async def work() -> None:
        async with Storage(conn) as storage:
            outcome = await storage.rb(url, force=force)
            if outcome.objects:
                say(f"removed {outcome.removed:,} objects")

    run_verb(work())
    say(f"{url} is gone")


def mkdir(url: Url, *, conn: Connection = "") -> None:
    """Make a folder; in a bucket that is an empty object whose name ends in "/", as the vendors' consoles make it.

    Buckets need no folders: an object's name may hold any "/". One that is there already is fine.
    """
    from skyferry.storage import Storage

    async def work() -> str:
        async with Storage(conn) as storage:
            return await storage.mkdir(url)

    made = run_verb(work())
    what = "folder" if made.startswith("file:") else "marker object"
    say(f"{what} {made} is there")


def _is_wanted(removal: Removal, *, dry_run: bool, yes: bool) -> bool:
    counts = removal.outcome
    if dry_run or not counts.objects:
        if dry_run:
            for info, _ in zip(removal.listed(), range(_SHOWN), strict=False):
                say(f"would remove {info.key}")
        return False
    if counts.objects > 1 and not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {counts.objects:,} objects ({size_text(counts.size_bytes)})?", abort=True, err=True)
    return True


def _progress(counts: Removed) -> tuple[float, float, str]:
    done = counts.removed + counts.already_gone + counts.failed
    return float(done), float(counts.objects), f"{done:,} of {counts.objects:,} objects"


def _write(counts: Removed, rows: JsonRows | None, *, is_dry_run: bool) -> None:
    if rows is not None:
        from skyferry.cli.storage_documents import removed_totals

        rows.end(removed_totals(counts))
        return
    for problem in counts.problems:
        say(problem)
    if is_dry_run:
        write_lines([f"would remove {counts.objects:,} objects ({size_text(counts.size_bytes)})"])
        return
    gone = f", {counts.already_gone:,} were gone already" if counts.already_gone else ""
    failed = f", {counts.failed:,} are still there" if counts.failed else ""
    write_lines([f"removed {counts.removed:,} of {counts.objects:,} objects{gone}{failed}"])
