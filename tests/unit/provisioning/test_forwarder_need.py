"""What a route's function is to be, and no more rights than it needs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from skyferry.lambda_forwarder.forward_event import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MAX_ATTEMPTS
from skyferry.lambda_forwarder.http_post import TIMEOUT_SECONDS as REQUEST_SECONDS
from skyferry.provisioning.forwarder_need import TIMEOUT_SECONDS, ForwarderNeed, role_rights
from skyferry.provisioning.settings import Forwarder
from skyferry.routes import Route

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:airflow-ringer-a1b2c3"
ROLE = "arn:aws:iam::123456789012:role/skyferry-forwarder"
SETTINGS = {"airflow_url": "https://airflow.example.com", "secret": SECRET, "role": ROLE}


def need(route_id: str = "orders", *, region: str = "eu-central-1", **more: Any) -> ForwarderNeed:
    settings = Forwarder.model_validate(SETTINGS | more)
    return ForwarderNeed(route_id=route_id, settings=settings, region=region)


def route(**more: Any) -> Route:
    values = {"id": "orders", "source": {"url": "s3://shop/orders/"}, "destination": {"url": "s3://lake/raw/"}}
    return Route.model_validate(values | {"provision": {"forwarder": SETTINGS}} | more)


def test_the_role_may_do_three_things_to_three_things() -> None:
    statements = role_rights(need())["document"]["Statement"]
    allowed = {action: one["Resource"] for one in statements for action in one["Action"]}
    logs = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/skyferry-orders"
    assert allowed == {
        **{f"logs:{name}": [logs, f"{logs}:*"] for name in ("CreateLogGroup", "CreateLogStream", "PutLogEvents")},
        "secretsmanager:GetSecretValue": SECRET,
        "sqs:SendMessage": "arn:aws:sqs:eu-central-1:123456789012:skyferry-orders-dead-letter",
    }
    assert role_rights(need())["trust"]["Statement"][0]["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_only_in_a_vpc_it_may_have_interfaces() -> None:
    inside = need(subnets=["subnet-0a1b2c3d"], security_groups=["sg-0a1b2c3d"])
    assert [one["Sid"] for one in role_rights(inside)["document"]["Statement"]][-1] == "Network"


def test_the_password_is_nowhere_in_the_function() -> None:
    assert need().environment == {"TRANSFER_AIRFLOW_URL": SETTINGS["airflow_url"], "TRANSFER_AIRFLOW_SECRET": SECRET}


def test_the_partition_is_that_of_the_role() -> None:
    found = need(region="cn-north-1", role=ROLE.replace("arn:aws:", "arn:aws-cn:"))
    assert found.arn == "arn:aws-cn:lambda:cn-north-1:123456789012:function:skyferry-orders"
    assert found.dead_letters.url.startswith("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/")
    assert found.dead_letters.arn() == found.dead_letters_arn


def test_all_attempts_fit_into_a_call() -> None:
    pauses = sum(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number) for number in range(MAX_ATTEMPTS - 1))
    assert MAX_ATTEMPTS * REQUEST_SECONDS + pauses <= TIMEOUT_SECONDS


IDS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)


@given(IDS, IDS)
def test_functions_have_names_that_lambda_takes_and_tell_routes_apart(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", need(one).name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", need(one).dead_letters.name)
    assert (need(one).name == need(other).name) == (one == other)


def test_long_ids_that_begin_alike_are_told_apart() -> None:
    assert need("a" * 62 + "b").name != need("a" * 63).name


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"airflow_url": "https://u:p@airflow"}, "airflow_url"),
        ({"secret": "airflow"}, "secret"),
        ({"role": "admin"}, "role"),
        ({"subnets": ["subnet-0a1b2c3d"]}, "subnets and security_groups go together"),
        ({"subnets": ["*"], "security_groups": ["sg-0a1b2c3d"]}, "expected an id such as subnet-"),
    ],
)
def test_settings_that_cannot_be_are_told(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        need(**more)


def test_a_forwarder_is_for_sources_in_s3_that_no_queue_tells_of() -> None:
    assert route().provision.forwarder is not None
    queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
    with pytest.raises(ValidationError, match="S3 sends an event to one of them only"):
        route(detect={"kind": "sqs", "queue_url": queue_url})
    with pytest.raises(ValidationError, match="forwarder is for sources in S3"):
        route(source={"url": "gs://shop/orders/"})


def test_a_gateway_is_for_sources_in_s3_and_goes_with_a_queue() -> None:
    gateway = {"provision": {"gateway": {"airflow_url": "https://airflow.example.com"}}}
    queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
    assert route(detect={"kind": "sqs", "queue_url": queue_url}, **gateway).provision.gateway is not None
    with pytest.raises(ValidationError, match="gateway is for sources in S3"):
        route(source={"url": "gs://shop/orders/"}, **gateway)
