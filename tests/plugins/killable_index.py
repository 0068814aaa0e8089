"""Copies one batch in a process of its own, which a test can have killed between its receipts and their index.

Usage: python -m tests.plugins.killable_index REQUEST, a file with the batch, the request of the plan and the run
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow.sdk  # noqa: F401 - puts the plugins folder on the path

from airflow_bridge.dynamodb_index import DynamoDbIndex
from operators.transfer_copy import CopyBatchOperator
from tests.killing import take


def main(given: dict[str, Any]) -> None:
    write = DynamoDbIndex.write

    def stepped(self: DynamoDbIndex, items: Sequence[Any]) -> None:
        take("before write")
        write(self, items)
        take("after write")

    DynamoDbIndex.write = stepped  # type: ignore[method-assign]
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    run = SimpleNamespace(conf={}, dag_id=given["dag_id"], run_id=given["run_id"], start_date=now, run_after=now)
    ti = SimpleNamespace(try_number=given["try_number"], xcom_pull=lambda task_ids, key: given["request"])
    CopyBatchOperator(task_id="copy", route_id=given["route"], batch=given["batch"]).execute(
        {"dag_run": run, "ti": ti}  # type: ignore[typeddict-item]
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
