"""A workshop of local folders in which whole transfers run without Airflow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skyferry import attempts as attempts_module
from skyferry.batch_tally import BatchResult
from skyferry.report import Report
from skyferry.request import request_from_conf
from skyferry.stages import Batch, Plan, Run, copy_batch, plan_transfer, report_transfer
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.urls import Location, parse_location

Wrapper = Callable[[Store], Any]


class Workshop:
    """Folders `in` and `out`, and the stages of a transfer between them.

    Set `wrap_source`, `wrap_destination` or `wrap_state` to put something between the engine and the folder.
    """

    def __init__(self, root: Path) -> None:
        self.source, self.destination, self.state = root / "in", root / "out", root / "state"
        self.source.mkdir(exist_ok=True)
        self.wrap_source: Wrapper = lambda store: store
        self.wrap_destination: Wrapper = lambda store: store
        self.wrap_state: Wrapper = lambda store: store

    def put(self, key: str, content: bytes, *, where: Path | None = None) -> Path:
        path = (where or self.source) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def tree(self, folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    @asynccontextmanager
    async def open_store(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        store = LocalStore(Path(location.bucket))
        if Path(location.bucket) == self.source:
            yield self.wrap_source(store)
        elif Path(location.bucket) == self.destination:
            yield self.wrap_destination(store)
        else:
            yield self.wrap_state(store)

    def arguments(self, run_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        defaults = {"source": f"file://{self.source}", "destination": f"file://{self.destination}"}
        return {
            "request": request_from_conf({**defaults, "create_destination": True, **conf}),
            "run": Run(dag_id="transfer", run_id=run_id, route="test", started_at="2026-01-01T00:00:00+00:00"),
            "open_store": self.open_store,
            "state": parse_location(f"file://{self.state}"),
            "state_conn_id": "",
        }

    async def plan(self, run_id: str = "run", **conf: Any) -> Plan:
        return await plan_transfer(**self.arguments(run_id, conf))

    async def copy(self, batch: Batch, run_id: str = "run", attempt: int = 1, **conf: Any) -> BatchResult:
        return await copy_batch(batch, attempt=attempt, **self.arguments(run_id, conf))

    async def report(self, run_id: str = "run", **conf: Any) -> Report:
        return await report_transfer(**self.arguments(run_id, conf))

    async def run(self, run_id: str = "run", attempt: int = 1, **conf: Any) -> Report:
        plan = await self.plan(run_id, **conf)
        for batch in plan.batches:
            await self.copy(batch, run_id, attempt, **conf)
        return await self.report(run_id, **conf)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)
