"""The verb that hands out addresses: `transfer presign`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from skyferry.cli.output import say, write_json, write_lines
from skyferry.cli.run import AsJson
from skyferry.cli.storage_options import Connection, Key, Url, age, run_verb, size_bytes

if TYPE_CHECKING:
    from skyferry.storage import Presigned
    from skyferry.storage.presigning import Method

_EXPIRES = "--expires"
_MAX_SIZE = "--max-size-bytes"


def presign(
    url: Url,
    *,
    conn: Connection = "",
    key: Key = None,
    method: Annotated[
        str, typer.Option("--method", metavar="get|put|post", help="Read, write, or write from an HTML form (S3).")
    ] = "get",
    expires: Annotated[
        str, typer.Option(_EXPIRES, metavar="90m", help="For how long: 30s, 90m, 12h, at most 7d.")
    ] = "1h",
    content_type: Annotated[
        str, typer.Option("--content-type", metavar="TYPE", help="put, post: the type that must be sent.")
    ] = "",
    max_size: Annotated[
        str | None, typer.Option(_MAX_SIZE, metavar="10M", help="post: the most that may be sent.")
    ] = None,
    starts_with: Annotated[
        bool, typer.Option("--starts-with", help="post: any name that begins with URL is taken.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write an address with which anybody may read or write one object until it expires.

    For post, JSON of its url and the fields of the form. Headers that must be sent are told on standard error. Whether
    the object exists is not looked at; put and post write over what is there. The address is a secret: it is written
    nowhere else.
    """
    from skyferry.storage import PresignOptions, Storage

    lifetime = age(expires, option=_EXPIRES)
    assert lifetime is not None
    options = PresignOptions(
        method=_method(method),
        lifetime=lifetime,
        content_type=content_type,
        max_size_bytes=size_bytes(max_size, option=_MAX_SIZE),
        is_prefix=starts_with,
    )

    async def work() -> Presigned:
        async with Storage(conn) as storage:
            return await storage.presign(url, options, key=key)

    _write(run_verb(work()), as_json=as_json)


def _method(text: str) -> Method:
    from skyferry.storage.presigning import Method

    known = get_args(Method)
    if text not in known:
        raise typer.BadParameter(f'"{text[:40]}" is not known; expected {", ".join(known)}', param_hint="'--method'")
    return cast("Method", text)


def _write(presigned: Presigned, *, as_json: bool) -> None:
    if presigned.caution:
        say(f"caution: {presigned.caution}")
    if as_json:
        from skyferry.cli.documents import as_json as plain

        write_json(plain(presigned))
        return
    for name, value in presigned.headers.items():
        say(f"send the header {name}: {value}")
    if presigned.fields:
        write_json({"url": presigned.url, "fields": dict(presigned.fields)})
    else:
        write_lines([presigned.url])
