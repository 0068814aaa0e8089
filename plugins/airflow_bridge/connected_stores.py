"""Opens stores for programs outside a DAG run, the command `transfer ls` among them, by Airflow's connections.

It is the entry point `airflow` of the group `skyferry.store_openers`. A connection is looked up as Airflow's server
does: in a secrets backend, in AIRFLOW_CONN_<ID>, in the metadata database.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from skyferry.defaults import load_defaults
from skyferry.stores.base import Store
from skyferry.urls import Location

if TYPE_CHECKING:
    from airflow_bridge.store_opener import PreparedStores


@asynccontextmanager
async def open_connected(location: Location, conn_id: str, *, max_requests: int) -> AsyncIterator[Store]:
    """Yield a bucket; a `skyferry.storage.opening.ConnectedOpener`.

    Costs the import of Airflow and of one provider, two or three seconds, the first time.

    Raises:
        ConnectionConfigError: There is no such connection, or it is of no use for this store.
    """
    stores = await asyncio.to_thread(_prepare, location, conn_id, max_requests)
    async with stores(location, conn_id) as store:
        yield store


def _prepare(location: Location, conn_id: str, max_requests: int) -> PreparedStores:
    settle_process()
    from airflow_bridge.store_opener import PreparedStores
    from airflow_bridge.transfer_connections import StoreUse

    use = StoreUse(what="URL", location=location, conn_id=conn_id)
    return PreparedStores([use], known_connections=load_defaults().connections, max_objects_in_flight=max_requests)


def settle_process() -> None:
    """Make a process that is none of Airflow's own look up connections as the server does, and keep its peace.

    Standard output is for data: what Airflow logs, at whatever level, goes to standard error, and so does what other
    threads print while Airflow is imported. Inside Airflow (a task, the API server) nothing is changed.
    """
    if "airflow" in sys.modules:
        return
    # Without it, the SDK asks the metadata database in no process but a server's.
    # airflow/sdk/execution_time/supervisor.py, ensure_secrets_backend_loaded
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Providers tell where they took credentials from.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    # It sets up its log while it is imported, on what standard output is then.
    with redirect_stdout(sys.stderr):
        importlib.import_module("airflow")
    import structlog

    factory: Any = structlog.get_config()["logger_factory"]

    def log_to_standard_error(name: str | None = None, *_: Any) -> Any:
        return factory.cls(name, sys.stderr.buffer if issubclass(factory.cls, structlog.BytesLogger) else sys.stderr)

    structlog.configure(logger_factory=log_to_standard_error)
