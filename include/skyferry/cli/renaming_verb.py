"""The verb that gives objects another name in their bucket: `transfer rename`."""

from __future__ import annotations

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
    require_object,
    run_verb,
    wanted,
)

if TYPE_CHECKING:
    from skyferry.storage import Renamed


def rename(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The URL of an object, a folder, or a glob.")],
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION", help='A URL in the same bucket; one that ends in "/" is a folder.')
    ],
    *,
    conn: Connection = "",
    key: Key = None,
    recursive: Recursive = False,
    include: Include = None,
    exclude: Exclude = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what has the other name.")] = False,
    in_flight: InFlight = 64,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give an object, what a glob takes, or with --recursive a folder another name in its bucket.

    The bytes do not leave the store. Nothing is overwritten unless asked, and nothing is lost when it is stopped: the
    same command goes on. --key names one object below SOURCE. Exits with 1 if one still has its old name.
    """
    from skyferry.storage import Renamed, RenameOptions, Storage
    from skyferry.storage.targets import parse_target

    target = parse_target(source, key=key, what="SOURCE")
    if not target.name and not recursive:
        raise typer.BadParameter(f"{source} is a folder; add --recursive", param_hint="'SOURCE'")
    rows = JsonRows(is_dry_run=dry_run) if as_json else None
    renamed = Renamed(on_row=rows.add if rows else None)
    options = RenameOptions(overwrite=overwrite, wanted=wanted(include, exclude), dry_run=dry_run)

    async def work() -> None:
        async with Storage(conn, max_in_flight=in_flight) as storage, shown_progress(lambda: _progress(renamed)):
            if not recursive and not target.has_glob:
                await require_object(storage, source, key, done="renamed")
            await storage.rename(source, destination, options, key=key, renamed=renamed)

    run_verb(work())
    _write(renamed, rows, is_dry_run=dry_run)
    if renamed.failed:
        raise typer.Exit(FAILED)


def _progress(counts: Renamed) -> tuple[float, float, str]:
    done = counts.renamed + counts.failed
    return float(done), float(counts.objects), f"{done:,} of {counts.objects:,} objects"


def _write(counts: Renamed, rows: JsonRows | None, *, is_dry_run: bool) -> None:
    for caution in sorted(counts.cautions):
        say(f"caution: {caution}")
    if rows is not None:
        from skyferry.cli.storage_documents import renamed_totals

        rows.end(renamed_totals(counts))
        return
    for problem in counts.problems:
        say(problem)
    if is_dry_run:
        write_lines([f"would rename {counts.objects:,} objects ({size_text(counts.size_bytes)})"])
        return
    failed = f", {counts.failed:,} have their old name" if counts.failed else ""
    write_lines([f"renamed {counts.renamed:,} of {counts.objects:,} objects{failed}"])
