"""One case of `bench.memory`, in a process of its own: fills a source, or copies it and measures itself.

Usage: python -m bench.memory_case fill|copy CASE_JSON FOLDER
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# What an idle task of this project has imported: Airflow's task library and the operator. Nothing of a vendor.
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from operators.transfer_copy import CopyBatchOperator
from skyferry.request import TransferRequest, request_from_conf
from skyferry.state import Run
from skyferry.urls import parse_location

if TYPE_CHECKING:
    from skyferry.stores.base import Store

_PIECE_BYTES = 8 * 2**20


def main() -> None:
    """Do what the arguments say."""
    case, folder = json.loads(sys.argv[2]), Path(sys.argv[3])
    if sys.argv[1] == "fill":
        asyncio.run(fill(case, request_of(case, folder)))
    else:
        print(json.dumps(copy(request_of(case, folder), folder)))


def request_of(case: dict[str, Any], folder: Path) -> TransferRequest:
    """Return the transfer of a case; its buckets are named after its folder."""
    name = f"bench-{folder.name}"
    urls = {
        side: f"file://{folder}/{side}" if case[side] == "file" else f"{case[side]}://{name}-{side}/objects/"
        for side in ("source", "destination")
    }
    return request_from_conf({**urls, "create_destination": True, "batch_objects": 10_000, "id": "bench"})


def stores_of(request: TransferRequest) -> PreparedStores:
    """Return the opener of the case's stores, as a task has it."""
    uses = (
        StoreUse(what="source", location=request.source_location, conn_id=request.source_conn_id),
        StoreUse(what="destination", location=request.destination_location, conn_id=request.destination_conn_id),
    )
    return PreparedStores(uses, known_connections=(), max_objects_in_flight=request.max_objects_in_flight)


async def fill(case: dict[str, Any], request: TransferRequest) -> None:
    """Put the objects of the case into its source."""
    async with stores_of(request)(request.source_location, request.source_conn_id) as store:
        await store.create_bucket()
        prefix = request.source_location.prefix
        gate = asyncio.Semaphore(16)

        async def put(number: int) -> None:
            async with gate:
                await put_object(store, f"{prefix}{number // 1000:03d}/{number:06d}", case["size_bytes"], number)

        await asyncio.gather(*(put(number) for number in range(case["count"])))


async def put_object(store: Store, key: str, size_bytes: int, seed: int) -> None:
    """Put one object of random bytes."""
    from skyferry.checksums import ContentDigests, digest
    from skyferry.objects import ObjectMetadata

    metadata, wanted = ObjectMetadata(), store.capabilities.digests
    if size_bytes <= _PIECE_BYTES:
        body = next(pieces(size_bytes, seed))
        digests = await digest(body, wanted)
        await store.put_object(key, body, metadata=metadata, digests=digests, replaces=None)
        return
    upload = await store.start_upload(
        key, size_bytes=size_bytes, part_bytes=_PIECE_BYTES, metadata=metadata, replaces=None
    )
    whole = ContentDigests(wanted)
    for index, body in enumerate(pieces(size_bytes, seed)):
        whole.update(body)
        await upload.put_part(index, body, await digest(body, upload.part_digests))
    await upload.commit(whole.hexdigests())


def pieces(size_bytes: int, seed: int) -> Iterator[bytes]:
    """Yield that many random bytes, the same ones for a seed."""
    numbers = random.Random(seed)  # noqa: S311 - content to copy, not a secret
    for start in range(0, size_bytes, _PIECE_BYTES):
        yield numbers.randbytes(min(_PIECE_BYTES, size_bytes - start))


def copy(request: TransferRequest, folder: Path) -> dict[str, Any]:
    """Plan in a child, copy here, and return what the copy cost."""
    batches = in_child(lambda: asyncio.run(plan(request, folder)))
    idle_bytes = resident_bytes("VmRSS")
    started, cpu = time.monotonic(), os.times()
    copied = asyncio.run(copy_batches(request, folder, batches))
    spent = os.times()
    return {
        "idle_bytes": idle_bytes,
        "peak_bytes": resident_bytes("VmHWM"),
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(spent.user + spent.system - cpu.user - cpu.system, 2),
        "objects_copied": copied,
        "operator": CopyBatchOperator.__name__,
    }


def in_child(function: Any) -> Any:
    """Return the JSON result of a function run in a forked child, so that its memory does not count."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps(function()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.wait()
    return answer


def common(request: TransferRequest, folder: Path) -> dict[str, Any]:
    """Return the arguments all stages take."""
    return {
        "request": request,
        "run": Run(dag_id="bench", run_id="memory", route="bench", started_at="2026-01-01T00:00:00+00:00"),
        "open_store": stores_of(request),
        "state": parse_location(f"file://{folder}/state"),
        "state_conn_id": "",
    }


async def plan(request: TransferRequest, folder: Path) -> list[dict[str, Any]]:
    """Return the batches of the case."""
    from skyferry.stages import plan_transfer

    return [batch.to_json() for batch in (await plan_transfer(**common(request, folder))).batches]


async def copy_batches(request: TransferRequest, folder: Path, batches: list[dict[str, Any]]) -> int:
    """Copy all batches and return the number of objects copied."""
    from skyferry.stages import Batch, copy_batch

    copied = 0
    for batch in batches:
        result = await copy_batch(Batch.from_json(batch), attempt=1, **common(request, folder))
        result.raise_if_failed()
        copied += result.counts["copied"]
    return copied


def resident_bytes(field: str) -> int:
    """Return a memory figure of this process: `VmRSS` now, `VmHWM` at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


if __name__ == "__main__":
    main()
