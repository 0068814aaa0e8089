"""The one object that a doctor sends through a route: its name, its content, and that it is removed again.

Name and content follow from a random token and the route's own filter: who removes the object needs no list of what
there is to remove, and nothing else has that name and that content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from skyferry.attempts import Attempts
from skyferry.checksums import digest
from skyferry.errors import DestinationChangedError, RequestError, TransferError
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectMetadata
from skyferry.selection import Selection
from skyferry.stores.base import Store

TOKEN_PATTERN = r"^[0-9a-f]{32}$"  # noqa: S105 - the form of a name
"""A token in hexadecimal digits."""

_PREFIX = "skyferry-flow-"
_MAX_BODY_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowProbe:
    """The object of one token.

    Attributes:
        relative_key: Below the source, and below the destination.
    """

    relative_key: str
    body: bytes


def flow_probe(token: str, wanted: ObjectFilter) -> FlowProbe:
    """Return the object of a token that a route's filter takes; the same one each time.

    Raises:
        RequestError: The token is none, or no object of a new name, or none so small, is taken.
    """
    if not re.fullmatch(TOKEN_PATTERN, token):
        raise RequestError("the token of a probe is 32 hexadecimal digits", hint="`transfer doctor` makes one itself")
    key = next((key for key in _keys(wanted, f"{_PREFIX}{token}") if wanted.names(key)), "")
    if not key:
        raise RequestError(
            f"no name for a probe was found that data and select take (data is {wanted.data or 'everything'})",
            hint="they may name single objects only; nothing was written. Put an object of a right name there yourself",
        )
    if wanted.min_size_bytes > _MAX_BODY_BYTES:
        raise RequestError(
            f"the route takes objects of {wanted.min_size_bytes:,} bytes and more, and a probe has {_MAX_BODY_BYTES:,} "
            "at most",
            hint="nothing was written. Put an object there yourself",
        )
    body = f"a probe of transfer doctor, {token}; it may be deleted\n".encode().ljust(wanted.min_size_bytes, b".")
    return FlowProbe(relative_key=key, body=body[: wanted.max_size_bytes])


async def put_probe(store: Store, key: str, body: bytes) -> None:
    """Write the object; one that is there already is fine.

    Raises:
        TransferError: The store does not take it.
    """
    digests = await digest(body, store.capabilities.digests)
    try:
        await Attempts().call(
            lambda: store.put_object(key, body, metadata=ObjectMetadata(), digests=digests, replaces=None)
        )
    except DestinationChangedError:
        # The answer to the first attempt was lost.
        if not await _holds(store, key, body):
            raise


async def remove_probe(store: Store, key: str, body: bytes) -> bool:
    """Delete the object if it is the one that was sent, in exactly the version looked at; return whether it was there.

    Raises:
        TransferError: It is still there, and why.
    """
    info = await Attempts().call(lambda: store.stat(key))
    if info is None:
        return False
    if not await _holds(store, key, body):
        raise TransferError(
            f"{store.url(key)} holds something else than the probe", hint="it was left; look who writes it"
        )
    return await Attempts().call(lambda: store.delete_object(info))


async def _holds(store: Store, key: str, body: bytes) -> bool:
    info = await store.stat(key)
    if info is None or info.size_bytes != len(body):
        return False
    return not body or (await store.read_object(info))[1] == body


def _keys(wanted: ObjectFilter, name: str) -> Iterator[str]:
    """Yield names that may be taken, the plainest first."""
    data = Selection.parse(wanted.data)
    patterns = [data, *(Selection.parse(one) for one in wanted.include)]
    folder = data.literal_prefix.rpartition("/")[0]
    for pattern in patterns:
        for key in pattern.keys_with(name):
            yield key
            if folder:
                yield f"{folder}/{key}"
