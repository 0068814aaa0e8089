"""A store whose answers a test can spoil: the engine sees a real store behind it, and faults at the calls it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from skyferry.content_memory import Content
from skyferry.stores.base import Capabilities, Store

Meddler = Callable[..., Awaitable[Any]]


class MeddledStore:
    """Forwards everything to a store, except the calls a meddler is set for.

    A meddler is an async function that gets the real method and the call's arguments, and returns or raises what the
    engine is to see.
    """

    def __init__(self, store: Store, *, trusted: bool = True, **meddlers: Meddler) -> None:
        self._store = store
        self._meddlers = meddlers
        self.capabilities: Capabilities = dataclasses.replace(store.capabilities, reads_are_trusted=trusted)
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not callable(method) or name in ("url", "list_objects"):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            meddler = self._meddlers.get(name)
            if meddler is None:
                return await method(*args, **kwargs)
            return await meddler(method, *args, **kwargs)

        return call


def flip(body: Content) -> bytes:
    """Return the bytes with one bit changed."""
    return bytes([body[0] ^ 1]) + bytes(body[1:])
