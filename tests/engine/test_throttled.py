"""Stores that ask for fewer requests, over HTTP: objects wait, and none of them fails for it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skyferry.request import request_from_conf
from skyferry.stages import Run, copy_batch, plan_transfer, report_transfer
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.urls import Location, parse_location
from stack.running import Endpoint
from tests.contract.conftest import open_s3
from tests.faults.proxy import answer, fault_proxy


@pytest.mark.parametrize("status", [503, 429])
async def test_a_throttled_object_waits_longer_than_attempts_last(moto: Endpoint, tmp_path: Path, status: int) -> None:
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / "in" / f"{number}.csv").write_bytes(b"x" * number)
    bucket = f"throttled-{secrets.token_hex(6)}"
    async with fault_proxy(moto.url) as proxy, open_s3(proxy.url) as new_store:

        @asynccontextmanager
        async def open_store(location: Location, conn_id: str) -> AsyncIterator[Store]:
            yield new_store(location.bucket) if location.kind == "s3" else LocalStore(Path(location.bucket))

        arguments = {
            "request": request_from_conf(
                {"source": f"file://{tmp_path}/in", "destination": f"s3://{bucket}", "create_destination": True}
            ),
            "run": Run(dag_id="transfer", run_id="run", route="test", started_at="2026-01-01T00:00:00+00:00"),
            "open_store": open_store,
            "state": parse_location(f"file://{tmp_path}/state"),
            "state_conn_id": "",
        }
        plan = await plan_transfer(**arguments)
        proxy.inject(answer(status), method="PUT", target_contains="/7.csv", times=8)
        for batch in plan.batches:
            (await copy_batch(batch, attempt=1, **arguments)).raise_if_failed()
        report = await report_transfer(**arguments)
    assert (report.objects_copied, report.objects_failed) == (20, 0)
    assert report.retries_by_cause == {"ThrottledError": 8}
