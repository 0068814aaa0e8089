"""Reports on so many copied objects, whose receipts lie in a local state folder.

    python -m bench.report_case OBJECTS

The receipts are made up and look like those of a copy from S3 to Azure. What is measured is reading them and adding up.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.plan_case import resident_bytes
from skyferry.records import Outcome, Receipt
from skyferry.request import request_from_conf
from skyferry.stages import Batch, Run, StoreOpener, open_state, report_transfer
from skyferry.state import RecordWriter, StateFolder, plan_folder
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.urls import Location, parse_location

_BATCH_OBJECTS = 10_000
_RECEIPTS_PER_RECORD = 500
_RUN = Run(dag_id="bench", run_id="report", route="bench", started_at="2026-01-01T00:00:00+00:00")


@asynccontextmanager
async def open_store(location: Location, conn_id: str) -> AsyncIterator[Store]:
    """Open a folder."""
    del conn_id
    yield LocalStore(Path(location.bucket))


async def write_records(opener: StoreOpener, state: Location, objects: int) -> None:
    """Write a plan and a receipt for each of its objects."""
    async with open_state(opener, state, "", _RUN) as records:
        batches = [await _write_batch(records, first, objects) for first in range(0, objects, _BATCH_OBJECTS)]
        plan = {
            "objects_planned": objects,
            "objects_to_copy": objects,
            "bytes_to_copy": objects * 4096,
            "objects_skipped": 0,
            "objects_refused": 0,
            "objects_in_manifest": objects,
            "skipped_by_reason": {},
            "refused_by_reason": {},
            "problems": [],
            "batches": [batch.to_json() for batch in batches],
            "dry_run": False,
        }
        await records.write(f"{plan_folder(1)}plan.json", [plan])


async def _write_batch(records: StateFolder, first: int, objects: int) -> Batch:
    number, count = first // _BATCH_OBJECTS, min(_BATCH_OBJECTS, objects - first)
    folder = f"{plan_folder(1)}receipts/{number:05d}/"
    writer = RecordWriter(
        records, lambda record: f"{folder}try-01-{record:05d}.ndjson", rows_per_record=_RECEIPTS_PER_RECORD
    )
    for each in range(first, first + count):
        await writer.add(_receipt(each).to_json())
    await writer.flush()
    return Batch(
        name=f"batch {number + 1}",
        number=number,
        plan_number=1,
        first_record=number,
        last_record=number,
        objects=count,
        size_bytes=count * 4096,
    )


def _receipt(number: int) -> Receipt:
    return Receipt(
        key=f"exports/2026/11/21/part-{number:09d}.csv",
        destination_key=f"raw/exports/2026/11/21/part-{number:09d}.csv",
        outcome=Outcome.COPIED,
        reason="new",
        size_bytes=4096,
        source_etag=f'"{number:032x}"',
        destination_etag=f'"0x8DE{number:012X}"',
        checksums={"md5": f"{number:032x}", "crc32c": f"{number:08x}"},
        verified_by="md5",
        source_verified_by="md5",
        finished_at="2026-11-21T10:00:00.000+00:00",
        seconds=0.123,
    )


def main() -> None:
    """Report and print what it cost."""
    objects = int(sys.argv[1])
    request = request_from_conf({"source": "s3://source/a/", "destination": "az://destination/b/", "id": "bench"})
    with tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder:
        state = parse_location(f"file://{folder}")
        asyncio.run(write_records(open_store, state, objects))
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        idle_bytes, started, cpu_started = resident_bytes("VmRSS"), time.monotonic(), time.process_time()
        report = asyncio.run(report_transfer(request, run=_RUN, open_store=open_store, state=state, state_conn_id=""))
        told = {
            "seconds": time.monotonic() - started,
            "cpu_seconds": time.process_time() - cpu_started,
            "above_idle_bytes": resident_bytes("VmHWM") - idle_bytes,
            "objects_copied": report.objects_copied,
            "state": report.state,
            "record_bytes": sum(file.stat().st_size for file in files),
            "records": len(files),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
