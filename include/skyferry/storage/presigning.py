"""Addresses with which anybody may read or write one object until they expire: what is asked for, and what comes back.

The library signs nothing and knows no connections. Whoever does (the Airflow bridge) says so as an entry point of the
group `skyferry.url_signers`, a function as `UrlSigner` describes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, cast

from skyferry.errors import KeyRefusedError, RequestError
from skyferry.keys import check_key
from skyferry.request import DEFAULT_CONN_IDS
from skyferry.storage.opening import installed
from skyferry.storage.targets import Target
from skyferry.urls import Location

SIGNERS_GROUP = "skyferry.url_signers"

Method = Literal["get", "put", "post"]

LONGEST_LIFETIME = timedelta(days=7)
"""What S3 and Google allow, and Azure where it gives out the key; an account's own key would allow more.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html,
https://cloud.google.com/storage/docs/access-control/signed-urls,
https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key
"""

FILE_NAME = "${filename}"
"""What S3 replaces in the key of a form by the name of the file that is posted."""

_DOT_ELEMENT = re.compile(r"(?:^|/)\.\.?(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignOptions:
    """What an address is to allow.

    Attributes:
        method: `get` reads; `put` writes, over what is there; `post` writes from an HTML form, on S3 only.
        lifetime: One second to seven days.
        content_type: The one an upload must have; empty for any. Azure does not hold anybody to it.
        max_size_bytes: The most a form may post; None for what the store takes.
        is_prefix: A form may post to every key that begins with the one that is named.
    """

    method: Method = "get"
    lifetime: timedelta = timedelta(hours=1)
    content_type: str = ""
    max_size_bytes: int | None = None
    is_prefix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Presigned:
    """An address, and what to send there. Whoever has it needs no credentials: it is one, so `repr` leaves it out.

    Attributes:
        method: `GET`, `PUT` or `POST`.
        fields: Of a form, to be posted before the field `file`; empty for the other methods.
        headers: Must be sent exactly so.
        expires_at: With time zone.
        caution: A sentence on why it may end before; empty when nothing is known.
    """

    method: str
    url: str = field(repr=False)
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime
    caution: str = ""


class UrlSigner(Protocol):
    """Signs the address of one object with the credentials a connection id stands for."""

    async def __call__(self, location: Location, key: str, *, options: PresignOptions, conn_id: str) -> Presigned:
        """Return the address; nothing of it may be logged.

        Args:
            location: The bucket.
            options: Checked by the caller.

        Raises:
            ConnectionConfigError: There is no such connection, or it holds nothing to sign with.
            RequestError: The credentials cannot sign for so long a time.
        """


async def presign(target: Target, options: PresignOptions, *, conn_id: str, signer: UrlSigner | None) -> Presigned:
    """Return the address of an object; see `skyferry.storage.Storage.presign`.

    Args:
        signer: By default the installed one.
    """
    _check_target(target, options)
    _check_options(options)
    sign = signer or cast("UrlSigner", installed(SIGNERS_GROUP, target.bucket.url))
    return await sign(
        target.bucket, target.key, options=options, conn_id=conn_id or DEFAULT_CONN_IDS[target.bucket.kind]
    )


def _check_target(target: Target, options: PresignOptions) -> None:
    shown = target.bucket.url + target.key
    if target.bucket.kind == "file":
        raise RequestError(
            f"{shown} is on this machine, and only a store answers signed addresses",
            hint="copy it into a bucket first, with: transfer put",
        )
    if options.method == "post" and target.bucket.kind != "s3":
        raise RequestError(f"{shown} cannot be posted to: forms are for S3 only", hint="use the method put")
    if target.has_glob:
        raise RequestError(
            f"{shown} is a glob, and an address is for one object",
            hint="if that is the object's very name, give it as --key below the URL of its folder",
        )
    if not target.name and not options.is_prefix:
        raise RequestError(
            f"{shown} names no object", hint="add its name; a form takes a prefix of names with --starts-with"
        )
    if target.key:
        check_key(target.key, target.bucket.kind)
    if _DOT_ELEMENT.search(target.key):
        raise KeyRefusedError(
            f'{shown} holds "." or ".." as a path element; HTTP clients would ask for another object',
            hint="rename the object, or read it with: transfer cat",
        )
    if options.method == "post" and FILE_NAME in target.key:
        raise KeyRefusedError(f'{shown} holds "{FILE_NAME}", which S3 replaces in forms', hint="use the method put")


def _check_options(options: PresignOptions) -> None:
    if not timedelta(seconds=1) <= options.lifetime <= LONGEST_LIFETIME:
        raise RequestError(
            f"an address cannot be good for {options.lifetime.total_seconds():,.0f} seconds; expected one second to"
            f" {LONGEST_LIFETIME.days} days",
            hint="for a longer time give the reader access to the bucket",
        )
    if options.method != "post" and (options.max_size_bytes is not None or options.is_prefix):
        raise RequestError(f"the method {options.method} takes no limit of size and no prefix; the method post does")
    if options.method == "get" and options.content_type:
        raise RequestError("the method get takes no content type: the object has its own")
    if not (options.content_type.isascii() and options.content_type.isprintable()):
        raise RequestError("a content type is printable ASCII, such as text/csv")
