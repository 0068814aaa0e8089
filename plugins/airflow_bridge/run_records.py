"""The records of a run, read from the state folder with the installation's own connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from skyferry.copied_keys import copied_keys
from skyferry.defaults import load_defaults
from skyferry.run_objects import ObjectPage, read_objects
from skyferry.state import Run

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

    from skyferry.history.transfer_run import TransferRun

_REQUESTS_AT_ONCE = 8


def objects_of_run(run: TransferRun, *, outcome: str | None, limit: int, cursor: str) -> ObjectPage:
    """Return some of a run's objects; blocks, so call it in a thread.

    Whether the caller may see the run is to be asked first: the records are read in nobody's name.

    Raises:
        TransferError: The state folder cannot be read.
    """
    use = state_use(load_defaults())
    stores = PreparedStores((use,), known_connections=(), max_objects_in_flight=_REQUESTS_AT_ONCE)
    place = Run(dag_id=run.dag_id, run_id=run.run_id, route=run.route, started_at="")
    coroutine = read_objects(
        place,
        open_store=stores,
        state=use.location,
        state_conn_id=use.conn_id,
        outcome=outcome,
        limit=limit,
        cursor=cursor,
        is_finished=run.is_finished,
    )
    return asyncio.run(coroutine)


def copied_keys_of_run(dag_run: DagRunProtocol, *, route_id: str | None) -> list[str]:
    """Return the destination keys of what a run copied; see `skyferry.copied_keys`. Blocks.

    Raises:
        TransferError: The state folder cannot be read.
    """
    use = state_use(load_defaults())
    stores = PreparedStores((use,), known_connections=(), max_objects_in_flight=_REQUESTS_AT_ONCE)
    place = Run(dag_id=dag_run.dag_id, run_id=dag_run.run_id, route=route_id or "", started_at="")
    return asyncio.run(
        copied_keys(place, open_store=stores, state=use.location, state_conn_id=use.conn_id, route_id=route_id)
    )


def local_records_folder() -> str:
    """Return the folder of all records if it is a local one; else nothing."""
    location = state_use(load_defaults()).location
    return f"{location.bucket}/{location.prefix}" if location.kind == "file" else ""
