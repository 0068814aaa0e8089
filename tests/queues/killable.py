"""Consumes a queue for two routes in a process of its own, which a test can have killed at a step.

Usage: python -m tests.queues.killable ENDPOINT ROOT NAME ATTEMPT
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from tests.engine.meddling import MeddledStore
from tests.killing import steps_around
from tests.queues.yard import Yard, two_folders


class _SteppedQueue:
    """Forwards everything to a queue; receiving and deleting are steps."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._queue, name)
        if name not in ("receive", "delete"):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await steps_around(name)(method, *args, **kwargs)

        return call


async def main(endpoint: str, root: Path, name: str, attempt: int) -> None:
    yard = Yard(endpoint, root, name)
    yard.wrap_queue = _SteppedQueue
    yard.wrap_source = lambda store: MeddledStore(store, trusted=False, read_range=steps_around("read"))
    yard.wrap_destination = lambda store: MeddledStore(store, put_object=steps_around("put"))
    routes = two_folders(yard)
    result = await yard.consume(*routes, attempt=attempt, visibility_seconds=2, wait_seconds=3)
    result.raise_if_failed()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
