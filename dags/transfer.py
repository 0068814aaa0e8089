"""The DAG `transfer`: moves objects from anywhere to anywhere, as its parameters say."""

from __future__ import annotations

from airflow_bridge.transfer_params import on_demand_params
from route_dags.transfer_dag import build_transfer_dag

_DOC = """
Copies (or moves) objects between S3, Azure Blob Storage, Google Cloud Storage and local folders, proves each copy, and
reports what became of every object. Running it again copies only what is missing or has changed.

Start it with the form, or with a conf such as

```json
{"source": "s3://shop-exports/orders/", "destination": "az://lake/raw/orders/", "data": "**/*.csv"}
```

from the command line (`airflow dags test transfer -c '{...}'`, `airflow dags trigger transfer -c '{...}'`) or over
REST. `"dry_run": true` shows what would be done. `{"id": "orders_to_lake"}` takes source, destination and everything
else from that route; whatever else the conf holds wins over the route. The form sends all of its fields, so to start a
route by form use the route's own DAG, `transfer__<id>`.

A connection must be one of those `include/config/defaults.yaml` allows, or the one the named route has for that place.
"""

dag = build_transfer_dag(
    "transfer",
    description="Copy or move objects between S3, Azure Blob, GCS and local folders",
    doc_md=_DOC,
    params=on_demand_params(),
    tags=["skyferry", "transfer"],
    max_active_runs=16,
)
