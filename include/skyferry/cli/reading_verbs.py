"""The verbs that look: `transfer ls`, `stat`, `find`, `du` and `cat`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from skyferry.cli.output import JsonItems, say, size_text, time_text, write_json, write_lines, write_table
from skyferry.cli.run import AsJson
from skyferry.cli.storage_options import (
    Connection,
    Exclude,
    Include,
    Key,
    Recursive,
    Url,
    Urls,
    entry_json,
    moment,
    run_verb,
    size_bytes,
    wanted,
)

if TYPE_CHECKING:
    from skyferry.storage import Entry

_SIZE_WIDTH = 9
_TIME_WIDTH = 19
_MIN_SIZE = "--larger"
_ENTRIES_A_PAGE = 1000


def ls(
    url: Url,
    *,
    conn: Connection = "",
    recursive: Recursive = False,
    include: Include = None,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> None:
    """List the objects and folders at URL: size, time (of this machine's zone) and name.

    Without --recursive one level is shown; folders end in "/". s3://, az:// and gs:// alone list the buckets of the
    connection's account or project. Exits with 1 if there is nothing of that name.
    """
    from skyferry.storage import Storage

    async def work() -> None:
        async with Storage(conn) as storage:
            if recursive or include or exclude:
                await _write_entries(storage.find(url, wanted(include, exclude)), url, as_json=as_json)
            else:
                await _write_entries(storage.ls(url), url, as_json=as_json)

    run_verb(work())


def find(
    url: Url,
    *,
    conn: Connection = "",
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="GLOB", help="Only objects whose name behind the last slash one of these takes."
        ),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    larger: Annotated[
        str | None, typer.Option(_MIN_SIZE, metavar="10M", help="Only objects of this size or more.")
    ] = None,
    smaller: Annotated[
        str | None, typer.Option("--smaller", metavar="1G", help="Only objects of this size or less.")
    ] = None,
    newer: Annotated[
        str | None, typer.Option("--newer", metavar="7d", help="Only objects written since: 90m, 12h, 7d, or a date.")
    ] = None,
    older: Annotated[
        str | None, typer.Option("--older", metavar="4w", help="Only objects written before: 90m, 12h, 7d, or a date.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the URL of every object below URL that is wanted, one in a line.

    Finding nothing is no error. Exits with 1 if there is nothing at URL at all.
    """
    from skyferry.storage import Storage, Wanted

    sought = Wanted(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        names=tuple(name or ()),
        min_size_bytes=size_bytes(larger, option=_MIN_SIZE) or 0,
        max_size_bytes=size_bytes(smaller, option="--smaller"),
        modified_after=moment(newer, option="--newer"),
        modified_before=moment(older, option="--older"),
    )

    async def work() -> None:
        async with Storage(conn) as storage:
            found = storage.find(url, sought)
            if as_json:
                await _write_entries(found, url, as_json=True)
            else:
                async for page in _pages(found):
                    write_lines(entry.url for entry in page)

    run_verb(work())


def stat(url: Url, *, conn: Connection = "", key: Key = None, as_json: AsJson = False) -> None:
    """Show everything the store tells about one object: version, checksums, headers, metadata and tags."""
    from skyferry.storage import Storage

    async def work() -> Entry:
        async with Storage(conn) as storage:
            return await storage.stat(url, key=key)

    entry = run_verb(work())
    if as_json:
        write_json(entry_json(entry))
    else:
        write_table((), _stat_rows(entry))


def du(
    url: Url,
    *,
    conn: Connection = "",
    depth: Annotated[int, typer.Option("--depth", min=0, max=64, help="Show the folders of so many levels.")] = 0,
    include: Include = None,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> None:
    """Add up what lies below URL: objects and bytes, for each folder and in total."""
    from skyferry.cli.documents import as_json as plain
    from skyferry.cli.storage_documents import UsageDocument
    from skyferry.storage import Storage, Usage

    async def work() -> list[Usage]:
        async with Storage(conn) as storage:
            return await storage.du(url, depth=depth, wanted=wanted(include, exclude))

    sums = run_verb(work())
    if as_json:
        write_json(plain(UsageDocument(total=sums[-1], folders=tuple(sums[:-1]))))
    else:
        rows = [(size_text(one.size_bytes), f"{one.objects:,}", one.url) for one in sums]
        write_table(("size", "objects", "below"), rows, numbers=("size", "objects"))


def cat(
    urls: Urls,
    *,
    conn: Connection = "",
    key: Key = None,
    offset: Annotated[
        str | None, typer.Option("--offset", metavar="1M", help="Begin at this byte of each object.")
    ] = None,
    count: Annotated[
        str | None, typer.Option("--count", metavar="64K", help="Write so many bytes of each object.")
    ] = None,
) -> None:
    """Write the content of objects to standard output, one after the other.

    Whole objects are compared with the store's checksum at their end: exit code 1 says not to use what was written.
    """
    from skyferry.storage import Storage

    start_byte = size_bytes(offset, option="--offset") or 0
    most_bytes = size_bytes(count, option="--count")

    async def work() -> None:
        async with Storage(conn) as storage:
            for url in urls:
                async for piece in storage.cat(url, key=key, start_byte=start_byte, size_bytes=most_bytes):
                    sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    run_verb(work())


async def _write_entries(entries: AsyncIterator[Entry], url: str, *, as_json: bool) -> None:
    if as_json:
        written = JsonItems({"url": url}, "entries")
        async for entry in entries:
            written.add(entry_json(entry))
        written.end()
        return
    objects = folders = 0
    total_bytes = 0
    async for page in _pages(entries):
        write_lines(_line(entry) for entry in page)
        objects += sum(entry.info is not None for entry in page)
        folders += sum(entry.info is None for entry in page)
        total_bytes += sum(entry.info.size_bytes for entry in page if entry.info)
    if url.endswith("://"):
        say(f"{folders:,} buckets")
        return
    say(f"{objects:,} objects ({size_text(total_bytes)})" + (f", {folders:,} folders" if folders else ""))


async def _pages(entries: AsyncIterator[Entry]) -> AsyncIterator[list[Entry]]:
    page: list[Entry] = []
    async for entry in entries:
        page.append(entry)
        if len(page) == _ENTRIES_A_PAGE:
            yield page
            page = []
    if page:
        yield page


def _line(entry: Entry) -> str:
    if entry.info is None:
        return f"{'-':>{_SIZE_WIDTH}}  {'-':<{_TIME_WIDTH}}  {entry.name}"
    note = f"  ({entry.info.unreadable_because})" if entry.info.unreadable_because else ""
    size = size_text(entry.info.size_bytes)
    return f"{size:>{_SIZE_WIDTH}}  {time_text(entry.info.modified_at):<{_TIME_WIDTH}}  {entry.name}{note}"


def _stat_rows(entry: Entry) -> list[tuple[str, str]]:
    info = entry.info
    assert info is not None
    rows = [
        ("url", entry.url),
        ("size", f"{info.size_bytes:,} bytes ({size_text(info.size_bytes)})"),
        ("modified", time_text(info.modified_at)),
        ("etag", info.etag),
        ("version", info.version_id or "-"),
        *sorted(info.checksums.items()),
    ]
    if info.is_archived:
        rows.append(("archived", "restore it before it can be read"))
    if info.unreadable_because:
        rows.append(("unreadable", info.unreadable_because))
    metadata = info.metadata
    if metadata is None:
        return rows
    for name in ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control"):
        value = cast("str", getattr(metadata, name))
        if value:
            rows.append((name.replace("_", " "), value))
    rows += [(f"metadata {name}", value) for name, value in sorted(metadata.user.items())]
    rows += [(f"tag {name}", value) for name, value in sorted(metadata.tags.items())]
    return rows + [("withheld", text) for text in metadata.withheld]
