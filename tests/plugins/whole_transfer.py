"""A transfer from plan to report in this process, with Airflow's connections."""

from __future__ import annotations

from typing import Any

from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from airflow_bridge.transfer_setup import uses_of
from skyferry.report import Report
from skyferry.routes import Route
from skyferry.stages import Run, copy_batch, plan_transfer, report_transfer


def transfer_whole(route: Route, state: StoreUse, run_id: str) -> Report:
    """Do all that a run of a route does."""
    stores = PreparedStores((*uses_of(route.request()), state), known_connections=(), max_objects_in_flight=4)
    arguments: dict[str, Any] = {
        "request": route.request(),
        "run": Run(
            dag_id=f"transfer__{route.id}", run_id=run_id, route=route.id, started_at="2026-01-01T00:00:00+00:00"
        ),
        "open_store": stores,
        "state": state.location,
        "state_conn_id": state.conn_id,
    }

    async def run() -> Report:
        plan = await plan_transfer(**arguments)
        for batch in plan.batches:
            await copy_batch(batch, attempt=1, **arguments)
        return await report_transfer(**arguments)

    return StageRunner().run(run())
