"""One consumer of `bench.events`, in a process of its own, as an Airflow task would be one.

Usage: python -m bench.consume_case REQUEST_JSON QUEUE_URL STATE_FOLDER SLOT
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from airflow_bridge.sqs_access import SqsAccess
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from bench.event_throughput import CONN_ID
from skyferry.detect.consumption import ConsumeOptions
from skyferry.detect.queue_route import QueueRoute
from skyferry.queue_stages import consume_queue
from skyferry.request import request_from_conf
from skyferry.state import Run
from skyferry.urls import parse_location


def main() -> None:
    """Consume until the queue is empty, and print what it cost."""
    request, queue_url, state, slot = request_from_conf(json.loads(sys.argv[1])), *sys.argv[2:5]
    uses = (
        StoreUse(what="source", location=request.source_location, conn_id=request.source_conn_id),
        StoreUse(what="destination", location=request.destination_location, conn_id=request.destination_conn_id),
    )
    started_at, cpu = time.time(), os.times()
    result = asyncio.run(
        consume_queue(
            [QueueRoute(request=request)],
            ConsumeOptions(),
            slot=int(slot),
            open_queue=SqsAccess(queue_url, conn_id=CONN_ID).open,
            run=Run(dag_id="bench", run_id="events", route=request.id, started_at="2026-01-01T00:00:00+00:00"),
            attempt=1,
            open_store=PreparedStores(uses, known_connections=(), max_objects_in_flight=request.max_objects_in_flight),
            state=parse_location(f"file://{state}"),
            state_conn_id="",
        )
    )
    result.raise_if_failed()
    spent = os.times()
    measured = {
        "started_at": started_at,
        "ended_at": time.time(),
        "cpu_seconds": round(spent.user + spent.system - cpu.user - cpu.system, 2),
        "messages_deleted": result.messages["deleted"],
        "objects_copied": result.counts["copied"],
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
