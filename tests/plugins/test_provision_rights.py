"""The generated policies, with IAM enforced: they are enough for a whole transfer, and no less is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from skyferry import attempts
from skyferry.errors import TransferError
from skyferry.routes import Route
from stack.components import component
from stack.running import running
from tests.plugins.guarded_aws import ROUTE, Guarded, furnished, move, needed, policy_of


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with running(component("moto"), tmp_path_factory.mktemp("guarded")) as moto:
        yield furnished(moto)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch, guarded: Guarded) -> None:
    monkeypatch.setattr(attempts, "_BACK_OFF", lambda state: 0.0)
    extra = {"endpoint_url": guarded.endpoint, "region_name": "us-east-1"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps({"conn_type": "aws", **guarded.keys, "extra": extra}))


def test_exactly_the_policy_is_enough_for_a_whole_move(guarded: Guarded) -> None:
    report = move(guarded, policy_of(Route.model_validate(ROUTE)), "whole")
    report.raise_if_incomplete()
    assert (report.state, report.objects_copied, report.objects_deleted_at_source) == ("success", 3, 3)
    kept = guarded.client("s3").list_objects_v2(Bucket="lake", Prefix="raw/")["Contents"]
    assert [one["Key"] for one in kept] == ["raw/0.csv", "raw/1.csv", "raw/2.csv"]


@pytest.mark.parametrize(("sid", "action"), needed())
def test_without_any_one_action_it_fails(guarded: Guarded, sid: str, action: str) -> None:
    policy = policy_of(Route.model_validate(ROUTE))
    for statement in policy["Statement"]:
        if statement["Sid"] == sid:
            statement["Action"].remove(action)
    with pytest.raises(TransferError, match="denied"):
        succeed(guarded, policy, f"without-{sid}-{action}")


def succeed(guarded: Guarded, policy: dict[str, Any], run_id: str) -> None:
    move(guarded, policy, run_id).raise_if_incomplete()


def test_another_prefix_is_not_in_it(guarded: Guarded) -> None:
    elsewhere = Route.model_validate({**ROUTE, "source": {"url": "s3://shop/refunds/", "conn_id": "aws_shop"}})
    with pytest.raises(TransferError, match="denied"):
        succeed(guarded, policy_of(elsewhere), "elsewhere")
