"""Opens the index of a route for programs outside a DAG run, the command `transfer receipts` among them.

It is the entry point `airflow` of the group `skyferry.receipts_indexes`; see `airflow_bridge.connected_stores`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_bridge.connected_stores import settle_process
from skyferry.defaults import load_defaults
from skyferry.history.transfer_run import ON_DEMAND_DAG_ID, QUEUE_DAG_PREFIX, ROUTE_DAG_PREFIX
from skyferry.queue_groups import group_by_queue
from skyferry.receipts_index.upkeep import rebuild_index
from skyferry.routes import Route, load_routes

if TYPE_CHECKING:
    from airflow_bridge.dynamodb_index import DynamoDbIndex
    from skyferry.receipts_index.indexing import Indexing
    from skyferry.receipts_index.items import Item
    from skyferry.receipts_index.reading import IndexQuery

_REQUESTS_AT_ONCE = 8


def open_connected_index(route: Route) -> ConnectedIndex:
    """Return the index of a route; a `skyferry.receipts_index.reading.IndexOpener`.

    Costs the import of Airflow and of one provider, two or three seconds, the first time.

    Raises:
        ConnectionConfigError: There is no such connection, or it is of no use for DynamoDB.
    """
    settle_process()
    from airflow_bridge.dynamodb_index import DynamoDbIndex

    assert route.receipts_index is not None
    return ConnectedIndex(route, DynamoDbIndex(route.receipts_index, conn_id=route.index_conn_id))


class ConnectedIndex:
    """The index of one route behind its connection; a `skyferry.receipts_index.reading.RouteIndex`."""

    def __init__(self, route: Route, table: DynamoDbIndex) -> None:
        self._route = route
        self._table = table

    def find(self, query: IndexQuery) -> Iterator[Item]:
        """Yield items, page by page; blocks."""
        return self._table.find(query)

    def rebuild(self, run_id: str) -> Indexing:
        """Write all receipts of a run again, from its records; blocks."""
        from airflow_bridge.state_location import state_use
        from airflow_bridge.store_opener import PreparedStores

        use = state_use(load_defaults())
        stores = PreparedStores((use,), known_connections=(), max_objects_in_flight=_REQUESTS_AT_ONCE)
        coroutine = rebuild_index(
            self._route.id,
            run_id,
            dag_ids=_dag_ids(self._route),
            writer=self._table,
            open_store=stores,
            state=use.location,
            state_conn_id=use.conn_id,
        )
        return asyncio.run(coroutine)


def _dag_ids(route: Route) -> list[str]:
    """Return the DAGs whose runs write to the index of a route."""
    groups, _ = group_by_queue(load_routes()[0])
    queues = [f"{QUEUE_DAG_PREFIX}{group.name}" for group in groups if route.id in group.route_ids]
    return [f"{ROUTE_DAG_PREFIX}{route.id}", *queues, ON_DEMAND_DAG_ID]
