"""The DAG that consumes a queue: consumers side by side, then the report; before them, perhaps, a sensor."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_bridge.arrival_assets import arrival_links
from operators.consumption_report import ReportConsumptionOperator
from operators.transfer_consume import ConsumeQueueOperator
from operators.transfer_stage import REPORT_TASK_ID
from route_dags.dag_settings import dag_settings, pool_settings, retry_settings, worker_settings
from route_dags.dag_starts import start_of_consumption
from route_dags.then_tasks import follow_with_steps
from skyferry.queue_groups import QueueGroup

CONSUME_TASK_ID = "consume"


def build_consume_dag(dag_id: str, queue: QueueGroup) -> DAG:
    """Return the DAG of one queue, for all routes that read it.

    Costs no I/O and imports no store's client. It has no parameters: a message says what to copy, its routes say how.
    One run at a time, since two would take each other's messages; `consumers` makes one run faster.
    """
    start = start_of_consumption(dag_id, queue)
    routes = ", ".join(f"`{route_id}`" for route_id in queue.route_ids)
    route_ids, queue_url = list(queue.route_ids), queue.detect.queue_url
    with DAG(
        dag_id,
        description=f"Copies what the messages of {queue.detect.queue_name} tell of",
        doc_md=f"Consumes the queue {queue_url} for the routes {routes}.",
        schedule=start.schedule,
        max_active_runs=1,
        tags=["skyferry", "queue"],
        **dag_settings(),
        **worker_settings(queue.worker_queue),
    ) as dag:
        consume = ConsumeQueueOperator.partial(
            task_id=CONSUME_TASK_ID,
            route_ids=route_ids,
            queue_url=queue_url,
            queue_conn_id=queue.conn_id,
            consumers=queue.detect.consumers,
            options=queue.detect.consume_options(),
            **pool_settings(queue.pool),
            **retry_settings(),
        ).expand(slot=list(range(queue.detect.consumers)))
        report = ReportConsumptionOperator(
            task_id=REPORT_TASK_ID,
            route_ids=route_ids,
            queue_url=queue_url,
            consumers=queue.detect.consumers,
            **arrival_links(dag_id, queue.route_ids),
            **retry_settings(),
        )
        consume >> report
        for route in queue.routes:
            follow_with_steps(report, route, is_share=True)
        if start.sensor is not None:
            start.sensor() >> consume
    return dag
