"""The verbs that copy between this machine and a store: `transfer put` and `transfer get`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from skyferry.cli.output import counts_text, rate_text, say, seconds_text, size_text, write_table
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
    run_verb,
    wanted,
)
from skyferry.request import OnConflict

if TYPE_CHECKING:
    from skyferry.storage import SendOptions, Sent, Storage

_STREAM = "-"
_COPY_BYTES = 2**20

Conflict = Annotated[
    str,
    typer.Option(
        "--on-conflict",
        metavar="WHAT",
        help="When there is other content of that name: fail (leave it, exit with 1), skip, replace_if_different, or "
        "replace even what is equal.",
    ),
]
Readback = Annotated[bool, typer.Option("--readback", help="Read every copy back, whatever the store proves.")]


def put(
    path: Annotated[str, typer.Argument(metavar="PATH", help='A local file, a folder, a glob in quotes, or "-".')],
    url: Url,
    *,
    conn: Connection = "",
    key: Key = None,
    recursive: Recursive = False,
    include: Include = None,
    exclude: Exclude = None,
    on_conflict: Conflict = "fail",
    readback: Readback = False,
    in_flight: InFlight = 64,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Copy a file, a folder (--recursive) or standard input ("-") to a store; nothing is overwritten unless asked.

    A file gets the name URL ends in, or keeps its own if URL ends in "/". Every copy is proven as in a transfer, and
    visible only when it is whole. Standard input is kept in a temporary file first.
    """
    options = _options(on_conflict, include, exclude, in_flight=in_flight, readback=readback, dry_run=dry_run)
    if path == _STREAM:
        if url.endswith("/") and key is None:
            raise typer.BadParameter('standard input has no name; end URL in one, without a "/"', param_hint="'URL'")
        with tempfile.NamedTemporaryFile(prefix="skyferry-") as kept:
            while piece := sys.stdin.buffer.read(_COPY_BYTES):
                kept.write(piece)
            kept.flush()
            _put(kept.name, url, conn, options, key=key, as_json=as_json)
        return
    if Path(path).is_dir() and not recursive:
        raise typer.BadParameter(f"{path} is a folder; add --recursive", param_hint="'PATH'")
    _put(path, url, conn, options, key=key, as_json=as_json)


def get(
    url: Url,
    path: Annotated[str, typer.Argument(metavar="PATH", help='A local file or folder, or "-" for standard output.')],
    *,
    conn: Connection = "",
    key: Key = None,
    recursive: Recursive = False,
    include: Include = None,
    exclude: Exclude = None,
    on_conflict: Conflict = "fail",
    readback: Readback = False,
    in_flight: InFlight = 64,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Copy an object, a folder (--recursive) or what a glob takes to this machine; nothing is overwritten unless asked.

    An object gets the name PATH ends in, or keeps its own if PATH is a folder or ends in "/". Every copy is compared
    with what the store says of it, and visible only when it is whole.
    """
    options = _options(on_conflict, include, exclude, in_flight=in_flight, readback=readback, dry_run=dry_run)
    if path == _STREAM:
        from skyferry.cli.reading_verbs import cat

        cat([url], conn=conn, key=key)
        return
    if url.endswith("/") and key is None and not recursive:
        raise typer.BadParameter(f"{url} is a folder; add --recursive", param_hint="'URL'")
    _send(conn, lambda storage, sent: storage.get(url, path, options, key=key, sent=sent), options, as_json=as_json)


def _options(
    on_conflict: str,
    include: list[str] | None,
    exclude: list[str] | None,
    *,
    in_flight: int,
    readback: bool,
    dry_run: bool,
) -> SendOptions:
    from skyferry.storage import SendOptions

    known = get_args(OnConflict)
    if on_conflict not in known:
        raise typer.BadParameter(
            f'"{on_conflict[:40]}" is not known; expected {", ".join(known)}', param_hint="'--on-conflict'"
        )
    return SendOptions(
        on_conflict=cast("OnConflict", on_conflict),
        verify="readback" if readback else "checksum",
        wanted=wanted(include, exclude),
        dry_run=dry_run,
        max_in_flight=in_flight,
    )


def _put(path: str, url: str, conn: str, options: SendOptions, *, key: str | None, as_json: bool) -> None:
    _send(conn, lambda storage, sent: storage.put(path, url, options, key=key, sent=sent), options, as_json=as_json)


def _send(
    conn: str, verb: Callable[[Storage, Sent], Coroutine[Any, Any, Sent]], options: SendOptions, *, as_json: bool
) -> None:
    from skyferry.storage import Sent, Storage

    rows = JsonRows(is_dry_run=options.dry_run) if as_json else None
    sent = Sent(on_row=rows.add if rows else None)
    began_at = time.monotonic()

    async def work() -> None:
        async with (
            Storage(conn, max_in_flight=options.max_in_flight) as storage,
            shown_progress(lambda: _progress(sent, storage.bytes_passed)),
        ):
            await verb(storage, sent)

    run_verb(work())
    _write(sent, rows, seconds=time.monotonic() - began_at, is_dry_run=options.dry_run)
    if not sent.is_complete:
        raise typer.Exit(FAILED)


def _progress(sent: Sent, bytes_passed: int) -> tuple[float, float, str]:
    done = sent.copied + sent.failed
    text = f"{done:,} of {sent.objects:,} objects, {size_text(max(sent.bytes_copied, bytes_passed))}"
    return float(max(sent.bytes_copied, min(bytes_passed, sent.size_bytes))), float(sent.size_bytes), text


def _write(sent: Sent, rows: JsonRows | None, *, seconds: float, is_dry_run: bool) -> None:
    if rows is not None:
        from skyferry.cli.storage_documents import sent_totals

        rows.end(sent_totals(sent, seconds=seconds))
        return
    for problem in sent.problems:
        say(problem)
    to_copy = sent.objects - sent.skipped - sent.refused
    rate = sent.bytes_copied / seconds if sent.bytes_copied and seconds else None
    table = [
        ("would be copied", f"{to_copy:,}")
        if is_dry_run
        else ("copied", f"{sent.copied:,} ({size_text(sent.bytes_copied)})"),
        ("skipped, equal or unwanted", f"{sent.skipped:,}"),
        ("refused", f"{sent.refused:,}"),
        ("failed", f"{sent.failed:,}"),
        ("verified by", counts_text(sent.verified_by) or "-"),
        ("took", f"{seconds_text(seconds)} ({rate_text(rate)})"),
    ]
    write_table((), table)
