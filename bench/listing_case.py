"""Plans so many keys against as many on the slow sink, with listings read in shards, read ahead, and plain.

    python -m bench.listing_case KEYS DELAY_SECONDS [KEYS_PER_PREFIX]

Both sides hold the same objects, so the plan reads both listings and writes only its totals and the skipped keys.
Without KEYS_PER_PREFIX all keys are on one level, and there is nothing to make shards of.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from unittest.mock import patch

from bench.engine_case import DirectStores
from bench.grounds import Grounds, ask_sink
from skyferry import ordered_listing
from skyferry.attempts import Attempts
from skyferry.listing_pages import ResumedListing
from skyferry.objects import ObjectInfo
from skyferry.request import request_from_conf
from skyferry.stages import Run, plan_transfer
from skyferry.stores.base import Store
from skyferry.urls import parse_location

_PREFIX = "objects/"
_TURNS = 2


async def plain(listing: AsyncIterator[ObjectInfo]) -> AsyncGenerator[ObjectInfo, None]:
    """Yield a listing as it comes."""
    async for info in listing:
        yield info


def in_one(store: Store, prefix: str, *, attempts: Attempts) -> ResumedListing:
    """Return a listing that is not made of several."""
    return ResumedListing(store, prefix, attempts)


def plan_seconds(endpoint: str, folder: Path) -> tuple[float, float]:
    """Return how long one plan takes, by the clock and by the processor."""
    conf = {"source": f"s3://source/{_PREFIX}", "destination": f"s3://destination/{_PREFIX}", "id": "bench"}
    stores = DirectStores({"s3": endpoint, "s3-source": endpoint}, max_objects_in_flight=128)
    started, cpu_started = time.monotonic(), time.process_time()
    asyncio.run(
        plan_transfer(
            request_from_conf(conf),
            run=Run(dag_id="bench", run_id=f"{started}", route="bench", started_at="2026-01-01T00:00:00+00:00"),
            open_store=stores,
            state=parse_location(f"file://{folder}"),
            state_conn_id="",
        )
    )
    return round(time.monotonic() - started, 2), round(time.process_time() - cpu_started, 2)


def main() -> None:
    """Let both kinds take turns and print the seconds of each plan, wall and processor."""
    keys, delay_seconds = int(sys.argv[1]), float(sys.argv[2])
    keys_per_prefix = int(sys.argv[3]) if len(sys.argv) > 3 else keys
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in ("sharded", "read_ahead", "plain")}
    with (
        tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder,
        Grounds(Path(folder), delay_seconds=delay_seconds) as grounds,
    ):
        ground = grounds.slow_sink()
        for bucket in ("source", "destination"):
            for start in range(0, keys, keys_per_prefix):
                prefix = _PREFIX if keys_per_prefix == keys else f"{_PREFIX}{start:08d}/"
                ask_sink(ground, "fill", bucket=bucket, prefix=prefix, count=keys_per_prefix, size_bytes=16)
        url = ground.place.endpoints["s3"]
        for _ in range(_TURNS):
            told["sharded"].append(plan_seconds(url, Path(folder)))
            with patch.object(ordered_listing, "list_in_shards", in_one):
                told["read_ahead"].append(plan_seconds(url, Path(folder)))
                with patch.object(ordered_listing, "_read_ahead", plain):
                    told["plain"].append(plan_seconds(url, Path(folder)))
    print(json.dumps({"keys": keys, "delay_seconds": delay_seconds, "wall_and_cpu_seconds": told}))


if __name__ == "__main__":
    main()
