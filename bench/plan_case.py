"""Plans a transfer of so many keys against as many, with listings that are made up page by page.

    python -m bench.plan_case KEYS

Of ten keys eight are identical, one has changed and one is new; so the manifest gets a fifth of them. No store answers,
so what is measured is the planner itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from skyferry.objects import ObjectInfo, Prefix
from skyferry.request import request_from_conf
from skyferry.stages import Run, plan_transfer
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_api import S3Api
from skyferry.urls import Location, parse_location

_PAGE_KEYS = 1_000
_MODIFIED_AT = datetime(2026, 1, 1, tzinfo=UTC)


async def _nowhere(region: str) -> NoReturn:
    raise AssertionError(f"a request was sent to {region}")


async def _nobody() -> None:
    """No keys: nothing is asked."""


class PagedListing(S3Store):
    """A bucket of S3 with nothing behind it but a listing.

    Args:
        keys: How many there are.
    """

    def __init__(self, bucket: str, *, keys: int) -> None:
        super().__init__(S3Api(_nowhere, _nobody), bucket, "us-east-1")
        self._keys = keys
        self._is_source = bucket == "source"

    async def check_bucket(self) -> None:
        """It is there."""

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """As the protocol says, from the beginning only; pauses after each page as a request would."""
        if start_after:
            raise NotImplementedError("no listing breaks off here")
        for page in range(0, self._keys, _PAGE_KEYS):
            await asyncio.sleep(0)
            for number in range(page, min(page + _PAGE_KEYS, self._keys)):
                if self._is_source or number % 10:
                    yield self._info(prefix, number)

    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """As the protocol says: no key has a `/`, so a long listing goes on with this one."""
        return self.list_objects(prefix)

    def _info(self, prefix: str, number: int) -> ObjectInfo:
        content = number if self._is_source or number % 10 != 1 else -number
        return ObjectInfo(
            key=f"{prefix}{number:09d}",
            size_bytes=4096 + (content < 0),
            etag=f"{abs(content):032x}",
            modified_at=_MODIFIED_AT,
            etag_may_be_md5=True,
        )


def main() -> None:
    """Plan and print what it cost, beyond what the imports cost."""
    keys = int(sys.argv[1])
    request = request_from_conf({"source": "s3://source/a/", "destination": "s3://destination/b/", "id": "bench"})

    @asynccontextmanager
    async def open_store(location: Location, conn_id: str) -> AsyncIterator[Store]:
        del conn_id
        if location.kind == "file":
            yield LocalStore(Path(location.bucket))
        else:
            yield PagedListing(location.bucket, keys=keys)

    idle_bytes, started, cpu_started = resident_bytes("VmRSS"), time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder:
        plan = asyncio.run(
            plan_transfer(
                request,
                run=Run(dag_id="bench", run_id="plan", route="bench", started_at="2026-01-01T00:00:00+00:00"),
                open_store=open_store,
                state=parse_location(f"file://{folder}"),
                state_conn_id="",
            )
        )
    told = {
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu_started,
        "above_idle_bytes": resident_bytes("VmHWM") - idle_bytes,
        "objects_planned": plan.totals["objects_planned"],
        "objects_to_copy": plan.totals["objects_to_copy"],
    }
    print(json.dumps(told))


def resident_bytes(field: str) -> int:
    """Return a memory figure of this process: `VmRSS` now, `VmHWM` at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


if __name__ == "__main__":
    main()
