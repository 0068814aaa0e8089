"""`transfer policy` shows the rights of a route, and those of its Lambda function, without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUTE = """\
id: bell
source: {url: "s3://shop/orders/", conn_id: aws_shop}
destination: {url: "s3://lake/raw/", conn_id: aws_shop}
"""
FORWARDER = """\
provision:
  forwarder:
    airflow_url: https://airflow.example.com
    secret: arn:aws:secretsmanager:eu-central-1:123456789012:secret:airflow-ringer-a1b2c3
    role: arn:aws:iam::123456789012:role/skyferry-forwarder
"""


def test_the_role_of_a_function_is_shown_only_if_there_is_one(
    tmp_path: Path, transfer_here: Callable[..., Any]
) -> None:
    file = tmp_path / "routes" / "bell.yaml"
    file.parent.mkdir()
    environ = {"SKYFERRY_CONFIG": str(tmp_path)}
    file.write_text(ROUTE)
    shown = json.loads(transfer_here("policy", "--id", "bell", environ=environ).stdout)
    assert set(shown) == {"route", "connections"}
    file.write_text(ROUTE + FORWARDER)
    done = transfer_here("policy", "--id", "bell", "--region", "eu-central-1", environ=environ)
    found = json.loads(done.stdout)["forwarder"]
    assert found["role"] == "arn:aws:iam::123456789012:role/skyferry-forwarder"
    letters = next(one for one in found["document"]["Statement"] if one["Sid"] == "DeadLetters")
    assert letters["Resource"] == "arn:aws:sqs:eu-central-1:123456789012:skyferry-bell-dead-letter"
