"""Options that storage verbs share, and how such a verb runs: its exit codes, its JSON, its end by Ctrl-C."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from skyferry.cli.output import say
from skyferry.cli.run import FAILED
from skyferry.errors import (
    BucketMissingError,
    DestinationConflictError,
    ReplanError,
    RequestError,
    RetryableError,
    SourceMissingError,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from skyferry.storage import Entry, Storage, Wanted

_Result = TypeVar("_Result")

_SIZE = re.compile(r"(?P<number>[0-9]{1,12}(\.[0-9]{1,3})?)(?P<unit>[BKMGT]?)")
_SIZE_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_AGE = re.compile(r"(?P<number>[1-9][0-9]{0,6})(?P<unit>[smhdw])")
_AGE_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Url = Annotated[
    str, typer.Argument(metavar="URL", help="s3://bucket/key, az://container/key, gs://bucket/key or file:///path.")
]
Urls = Annotated[list[str], typer.Argument(metavar="URL...", help="One URL or more; a URL may hold a glob.")]
Connection = Annotated[
    str, typer.Option("--conn", metavar="ID", help="The Airflow connection; by default the store's default one.")
]
InFlight = Annotated[int, typer.Option("--in-flight", min=1, max=1024, help="Never more requests at a time than this.")]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="Name of one object below URL, for names that a URL cannot hold."),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Go into folders.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include", metavar="GLOB", help="Only objects one of these takes; keys, folders or globs below URL."
    ),
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="No objects one of these takes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def run_verb(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return what a verb's work comes to; what is missing, or failed on its way, is exit code 1."""
    try:
        return asyncio.run(work)
    except BucketMissingError as error:
        raise BucketMissingError(error.message, hint="create it with: transfer mb URL") from error
    except (RetryableError, ReplanError, DestinationConflictError) as error:
        say(str(error))
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:
        # Whoever read the output has enough; the interpreter must not write what is left when it ends.
        _close_output()
        raise typer.Exit(0) from None


def size_bytes(text: str | None, *, option: str) -> int | None:
    """Return a number of bytes written as `10M`; units are powers of 1,024, as for rclone.

    Raises:
        typer.BadParameter: It is none.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f'"{text[:40]}" is no size; expected for example 500, 64K, 10M or 1.5G', param_hint=f"'{option}'"
        )
    return int(float(match["number"]) * _SIZE_UNITS[match["unit"]])


def age(text: str | None, *, option: str) -> timedelta | None:
    """Return a length of time written as `90m`, `12h`, `7d`.

    Raises:
        typer.BadParameter: It is none.
    """
    if text is None:
        return None
    match = _AGE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f'"{text[:40]}" is no length of time; expected for example 90m, 12h, 7d or 4w', param_hint=f"'{option}'"
        )
    return timedelta(**{_AGE_UNITS[match["unit"]]: int(match["number"])})


def moment(text: str | None, *, option: str) -> datetime | None:
    """Return the time so long ago, or of an ISO 8601 date or time (UTC unless it says otherwise).

    Raises:
        typer.BadParameter: It is none.
    """
    if text is None:
        return None
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        ago = age(text, option=option)
        assert ago is not None
        return datetime.now(UTC) - ago
    return written if written.tzinfo else written.replace(tzinfo=UTC)


def wanted(include: list[str] | None, exclude: list[str] | None) -> Wanted:
    """Return which objects count by their names."""
    from skyferry.storage import Wanted

    return Wanted(include=tuple(include or ()), exclude=tuple(exclude or ()))


async def require_object(storage: Storage, url: str, key: str | None, *, done: str) -> None:
    """Raise where the URL names no object but a folder, as for one that ends in `/`.

    Args:
        done: What would have been done with it, for the message.
    """
    try:
        await storage.stat(url, key=key)
    except SourceMissingError:
        if key is None and [entry async for entry in storage.ls(url)]:
            raise RequestError(f"{url} is a folder", hint=f"add --recursive; nothing was {done}") from None
        raise


def entry_json(entry: Entry) -> JsonValue:
    """Return an entry of a listing for programs: every byte of its name, lone surrogates as JSON escapes."""
    from skyferry.cli.documents import as_json
    from skyferry.cli.storage_documents import entry_document

    return as_json(entry_document(entry))


def _close_output() -> None:
    import os
    import sys

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
