"""One DAG `transfer__<id>` for each route file, and one DAG `consume__<queue>` for each queue that routes read."""

from __future__ import annotations

from airflow.sdk import get_parsing_context

from airflow_bridge.route_files import CONSUME_DAG_PREFIX, ROUTE_DAG_PREFIX, parts_to_build
from airflow_bridge.transfer_params import route_params
from route_dags.dag_starts import start_of_transfers
from route_dags.transfer_dag import build_transfer_dag

routes, queues = parts_to_build(get_parsing_context().dag_id)

for route in routes:
    dag_id = ROUTE_DAG_PREFIX + route.id
    globals()[dag_id] = build_transfer_dag(
        dag_id,
        description=route.description or f"{route.source.url} to {route.destination.url}",
        doc_md=f"The route `{route.id}`, from `include/config/routes/{route.id}.yaml`. {route.description}",
        params=route_params(route),
        tags=["skyferry", "route"],
        start=start_of_transfers(dag_id, route),
        route=route,
        max_active_runs=1,
    )

for queue in queues:
    # Here, so that a worker that runs a transfer does not import what consumes queues.
    from route_dags.consume_dag import build_consume_dag

    dag_id = CONSUME_DAG_PREFIX + queue.name
    globals()[dag_id] = build_consume_dag(dag_id, queue)
