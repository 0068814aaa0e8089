"""A source folder, a destination of any kind and a state folder, between which one large object is copied.

Whatever crosses the network goes through something that counts: the parts of an upload at the fault proxy, the bytes of
a session at the benchmark's sink (no GCS emulator keeps what has arrived when a request breaks off).
"""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from skyferry.batch_tally import BatchResult
from skyferry.objects import ObjectInfo
from skyferry.report import Report
from skyferry.request import request_from_conf
from skyferry.stages import Plan, Run, copy_batch, plan_transfer, report_transfer
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.urls import Location, parse_location
from tests.contract.conftest import open_azure, open_gcs, open_s3

PART_BYTES = 8 * 2**20
PARTS = 10
OBJECT_BYTES = (PARTS - 1) * PART_BYTES + 1_000_003
KEY = "large.bin"

Wrapper = Callable[[Store], Any]
_OPENERS: dict[str, Callable[[str], AbstractAsyncContextManager[Callable[[str], Store]]]] = {
    "s3": open_s3,
    "az": open_azure,
    "gs": open_gcs,
}


def content(seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(OBJECT_BYTES)


class Harbour:
    """One copy of `KEY` from `<root>/in` to `kind`, the records in `<root>/state`.

    Set `wrap_source` or `wrap_destination` to put something between the engine and the store.

    Args:
        kind: Of the destination.
        endpoint: Where it is; nothing for a folder.
        bucket: Its name; for a folder, below the root.
    """

    def __init__(self, root: Path, *, kind: str, endpoint: str, bucket: str) -> None:
        self.root, self.kind, self.endpoint, self.bucket = root, kind, endpoint, bucket
        self.source, self.state = root / "in", root / "state"
        self.wrap_source: Wrapper = lambda store: store
        self.wrap_destination: Wrapper = lambda store: store
        self.source.mkdir(exist_ok=True)

    @property
    def destination(self) -> str:
        return f"file://{self.root / self.bucket}" if self.kind == "file" else f"{self.kind}://{self.bucket}"

    @asynccontextmanager
    async def open_store(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        del conn_id
        if location.kind == "file":
            store = LocalStore(Path(location.bucket))
            is_source = Path(location.bucket) == self.source
            is_destination = Path(location.bucket) == self.root / self.bucket
            yield self.wrap_source(store) if is_source else self.wrap_destination(store) if is_destination else store
            return
        async with _OPENERS[location.kind](self.endpoint) as made:
            yield self.wrap_destination(made(location.bucket))

    def arguments(self, run_id: str) -> dict[str, Any]:
        conf = {"source": f"file://{self.source}", "destination": self.destination, "create_destination": True}
        return {
            "request": request_from_conf(conf),
            "run": Run(dag_id="transfer", run_id=run_id, route="test", started_at="2026-01-01T00:00:00+00:00"),
            "open_store": self.open_store,
            "state": parse_location(f"file://{self.state}"),
            "state_conn_id": "",
        }

    async def plan(self, run_id: str = "run") -> Plan:
        return await plan_transfer(**self.arguments(run_id))

    async def copy(self, plan: Plan, *, attempt: int, run_id: str = "run") -> BatchResult:
        (batch,) = plan.batches
        return await copy_batch(batch, attempt=attempt, **self.arguments(run_id))

    async def report(self, run_id: str = "run") -> Report:
        return await report_transfer(**self.arguments(run_id))

    async def found(self) -> ObjectInfo | None:
        async with self.open_store(parse_location(self.destination), "") as store:
            return await store.stat(KEY)

    async def found_content(self) -> bytes:
        async with self.open_store(parse_location(self.destination), "") as store:
            info = await store.stat(KEY)
            assert info is not None
            return (await store.read_object(info))[1]

    def records(self) -> list[str]:
        """Return the names of what is remembered of unfinished uploads."""
        folder = self.state / "uploads"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def receipts(self) -> list[dict[str, Any]]:
        """Return all receipts in the order in which they were written."""
        names = sorted(self.state.rglob("receipts/00000/*.ndjson"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(line) for name in names for line in name.read_text().splitlines()]


def session_bytes(sink_url: str) -> int:
    """Return how many bytes the sink was sent in upload sessions."""
    with urllib.request.urlopen(f"{sink_url}/_sink/stats") as answer:
        return int(json.load(answer)["upload_bytes"])
