"""The links of a task lead to its run on the Transfers page, on whatever host Airflow is looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from operators.transfer_copy import CopyBatchOperator
from operators.transfer_report import ReportTransferOperator

KEY: Any = SimpleNamespace(dag_id="transfer__orders", run_id="manual__2026-11-21T05:00:00+00:00")


@pytest.mark.parametrize("operator", [CopyBatchOperator, ReportTransferOperator])
@pytest.mark.parametrize(
    ("base_url", "path"), [("http://127.0.0.1:8080", ""), ("https://x.example/airflow/", "/airflow")]
)
def test_they_lead_to_the_run(operator: Any, base_url: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    links = {link.name: link.get_link(operator, ti_key=KEY) for link in operator.operator_extra_links}
    run = f"{path}/transfer/v1/page/#/runs/transfer__orders/manual__2026-11-21T05%3A00%3A00%2B00%3A00"
    assert links == {"Transfer": run, "Objects": f"{run}?at=objects"}
