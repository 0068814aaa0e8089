"""Our contender for one file: `Storage.put` or `Storage.get` in one process, without Airflow.

    python -m bench.verb_case CASE_JSON

The case holds the verb, its two arguments, and the addresses of the stores. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import uvloop

from bench.engine_case import DirectStores
from skyferry.storage import Sent, Storage
from skyferry.stores.base import Store
from skyferry.urls import Location


class DirectOpener:
    """Opens the stores of a case; a `skyferry.storage.opening.ConnectedOpener`."""

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        self._endpoints = endpoints

    def __call__(self, location: Location, conn_id: str, *, max_requests: int) -> AbstractAsyncContextManager[Store]:
        return DirectStores(self._endpoints, max_objects_in_flight=max_requests)(location, conn_id)


async def carry_out(verb: str, source: str, destination: str, opener: DirectOpener) -> Sent:
    """Put or get one file."""
    async with Storage(opener=opener) as storage:
        return await (storage.put if verb == "put" else storage.get)(source, destination)


def main() -> int:
    """Carry the case out; 1 when the file was not copied."""
    case = json.loads(sys.argv[1])
    started = time.monotonic()
    sent = uvloop.run(carry_out(case["verb"], case["source"], case["destination"], DirectOpener(case["endpoints"])))
    seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "verified_by": dict(sent.verified_by), "problems": sent.problems}))
    return 0 if sent.copied == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
