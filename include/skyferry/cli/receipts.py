"""`transfer receipts`: the history of a route's objects, from its index."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli.moments import since_time
from skyferry.cli.output import say, size_text, time_text, write_json, write_json_items, write_table
from skyferry.cli.provision import RouteOption
from skyferry.cli.run import FAILED, AsJson

if TYPE_CHECKING:
    from skyferry.receipts_index.items import IndexedReceipt
    from skyferry.receipts_index.reading import RouteIndex

_PREFIX = "--key-begins-with"
_SCAN = "--scan"
_REBUILD = "--rebuild"


def receipts(
    route: RouteOption,
    *,
    key_begins_with: Annotated[
        str | None, typer.Option(_PREFIX, metavar="TEXT", help="Only objects whose keys begin so; '' for all.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="7d", help="Only since then: 90m, 12h, 7d, 4w, or a date.")
    ] = "",
    run_id: Annotated[str, typer.Option("--run", metavar="RUN", help="Only this run's; its whole id.")] = "",
    scan: Annotated[
        bool, typer.Option(_SCAN, help="Read the whole table, for all destinations the route has had.")
    ] = False,
    rebuild: Annotated[
        str, typer.Option(_REBUILD, metavar="RUN", help="Write all receipts of a finished run to the index again.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show what became of a route's objects, run after run, from the table its receipts are written to as well.

    For a route with "receipts_index". It asks DynamoDB with the route's connection, and costs what is read: the keys
    that begin with TEXT, or with --scan everything. Exits with 1 if --rebuild could not write all.
    """
    from skyferry.receipts_index.reading import find_receipts, open_index
    from skyferry.routes import find_route

    _check(key_begins_with, scan=scan, rebuilds=bool(rebuild), filters=bool(since or run_id))
    begin = since_time(since)
    one = find_route(route)
    index = open_index(one)
    if rebuild:
        _rebuild(index, rebuild, as_json=as_json)
        return
    found = find_receipts(
        index,
        one,
        key_begins_with=key_begins_with or "",
        since=begin.astimezone(UTC).isoformat(timespec="milliseconds") if begin else "",
        run_id=run_id,
        scan=scan,
    )
    if as_json:
        write_json_items({"route": route}, "receipts", (each.to_json() for each in found))
    else:
        _write(found)


def _check(key_begins_with: str | None, *, scan: bool, rebuilds: bool, filters: bool) -> None:
    if rebuilds and (scan or filters or key_begins_with is not None):
        raise typer.BadParameter("goes with --id and --json only", param_hint=f"'{_REBUILD}'")
    if not rebuilds and key_begins_with is None and not scan:
        raise typer.BadParameter(
            f"say which keys, with {_PREFIX}, or read the whole table, with {_SCAN}", param_hint=f"'{_PREFIX}'"
        )


def _rebuild(index: RouteIndex, run_id: str, *, as_json: bool) -> None:
    done = index.rebuild(run_id)
    if as_json:
        write_json({"run_id": run_id, "written": done.written, "left": done.left, "problem": done.problem})
    else:
        say(done.text or f"{done.written:,} receipts were written to the index")
    if done.left:
        raise typer.Exit(FAILED)


def _write(found: Iterator[IndexedReceipt]) -> None:
    rows = [_row(each) for each in found]
    if rows:
        write_table(("when", "outcome", "size", "key", "run"), rows, numbers=("size",))
    else:
        say("no receipts were found")


def _row(each: IndexedReceipt) -> tuple[str, ...]:
    receipt = each.receipt
    when = time_text(datetime.fromisoformat(receipt.finished_at)) if receipt.finished_at else "-"
    return when, receipt.outcome.value, size_text(receipt.size_bytes), receipt.key, each.run_id
