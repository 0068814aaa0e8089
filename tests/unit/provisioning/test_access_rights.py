"""The rights of a route: nothing beside its own prefixes, and deleting at the source only for a move."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from skyferry.provisioning.access_rights import ConnectionRights, literal, rights_of
from skyferry.provisioning.route_needs import QueueNeed, mark_of, route_needs
from skyferry.routes import Route, find_route, route_ids
from skyferry.urls import parse_location

S3_STATE = parse_location("s3://platform-state/skyferry/")
KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
QUEUE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


def route(**more: Any) -> Route:
    values = {
        "id": "orders",
        "source": {"url": "s3://shop/orders/", "conn_id": "aws_shop"},
        "destination": {"url": "s3://lake/raw/", "conn_id": "aws_lake"},
    }
    return Route.model_validate(values | more)


def rights(one: Route, conn_id: str, state: Any = S3_STATE) -> ConnectionRights:
    found = rights_of(route_needs(one, state=state, state_conn_id="aws_platform"))
    return next(each for each in found if each.conn_id == conn_id)


def allowed(found: ConnectionRights) -> set[tuple[str, str]]:
    statements = found.document["Statement"]
    return {(action, one["Resource"]) for one in statements for action in one["Action"]}


def test_each_connection_gets_the_rights_of_its_own_places_only() -> None:
    one = route()
    assert rights(one, "aws_shop").used_for == ("source",)
    assert {resource for _, resource in allowed(rights(one, "aws_shop"))} == {
        "arn:aws:s3:::shop",
        "arn:aws:s3:::shop/orders/*",
    }
    assert {resource for _, resource in allowed(rights(one, "aws_lake"))} == {
        "arn:aws:s3:::lake",
        "arn:aws:s3:::lake/raw/*",
    }
    assert ("s3:PutObject", "arn:aws:s3:::platform-state/skyferry/*") in allowed(rights(one, "aws_platform"))


def test_the_index_is_one_table_and_may_not_be_scanned_or_emptied() -> None:
    one = route(receipts_index={"dynamodb": "transfer-receipts", "conn_id": "aws_index", "region": "eu-central-1"})
    found = rights(one, "aws_index")
    assert found.used_for == ("index",)
    table = "arn:aws:dynamodb:eu-central-1:*:table/transfer-receipts"
    calls = ("BatchWriteItem", "Query", "DescribeTable")
    assert allowed(found) == {(f"dynamodb:{call}", table) for call in calls}
    assert rights(route(receipts_index={"dynamodb": "transfer-receipts"}), "aws_lake").used_for == (
        "destination",
        "index",
    )


@pytest.mark.parametrize("keeps", [True, False])
def test_only_a_move_may_delete_at_the_source(keeps: bool) -> None:
    found = allowed(rights(route(copy={"keep_source": keeps}), "aws_shop"))
    assert (("s3:DeleteObject", "arn:aws:s3:::shop/orders/*") in found) == (not keeps)
    assert not any(action in ("s3:PutObject", "s3:CreateBucket") for action, _ in found)


def test_a_queue_is_named_by_its_own_arn_and_buckets_are_created_only_if_asked_for() -> None:
    detect = {"kind": "sqs", "queue_url": QUEUE_URL}
    found = allowed(rights(route(detect=detect), "aws_shop"))
    queue = "arn:aws:sqs:eu-central-1:123456789012:orders"
    assert {action for action, resource in found if resource == queue} == {
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
    }
    assert ("sqs:SendMessage", f"{queue}-dead-letter") in found
    created = allowed(rights(route(detect={**detect, "create_queue": True}), "aws_shop"))
    assert created - found == {("sqs:CreateQueue", queue)}
    destination = {"url": "s3://lake/raw/", "conn_id": "aws_lake"}
    more = allowed(rights(route(destination={**destination, "create": True}), "aws_lake"))
    assert more - allowed(rights(route(), "aws_lake")) == {("s3:CreateBucket", "arn:aws:s3:::lake")}


def test_keys_are_used_to_read_or_to_write() -> None:
    one = route(provision={"source_kms_key": KEY, "destination_kms_key": KEY})
    assert {action for action, resource in allowed(rights(one, "aws_shop")) if resource == KEY} == {"kms:Decrypt"}
    lake = {action for action, resource in allowed(rights(one, "aws_lake")) if resource == KEY}
    assert lake == {"kms:Decrypt", "kms:GenerateDataKey"}


def test_one_connection_for_everything_gets_one_policy_whose_statements_have_names_of_their_own() -> None:
    one = route(
        destination={"url": "s3://lake/raw/", "conn_id": "aws_shop"}, detect={"kind": "sqs", "queue_url": QUEUE_URL}
    )
    (found,) = rights_of(route_needs(one, state=S3_STATE, state_conn_id="aws_shop"))
    sids = [statement["Sid"] for statement in found.document["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)
    assert found.used_for == ("source", "destination", "state", "events")


def test_other_partitions_have_other_names() -> None:
    url = QUEUE_URL.replace("eu-central-1.amazonaws.com", "cn-north-1.amazonaws.com.cn")
    needs = route_needs(route(detect={"kind": "sqs", "queue_url": url}), state=S3_STATE, state_conn_id="aws_shop")
    for found in rights_of(needs):
        assert all(statement["Resource"].startswith("arn:aws-cn:") for statement in found.document["Statement"])
    (first, *_) = rights_of(route_needs(route(), state=S3_STATE, state_conn_id="aws_shop"), region="us-gov-west-1")
    assert first.document["Statement"][0]["Resource"] == "arn:aws-us-gov:s3:::shop"


def test_azure_and_google_in_their_own_words() -> None:
    one = route(
        source={"url": "az://landing/in/", "conn_id": "azure"},
        destination={"url": "gs://archive/raw/", "conn_id": "google", "create": True},
        copy={"keep_source": False},
    )
    azure = rights(one, "azure").document
    assert azure["role_assignments"][0]["role"] == "Storage Blob Data Contributor"
    assert azure["role_assignments"][0]["scope"].endswith("/containers/landing")
    assert azure["or_sas"] == [{"container": "landing", "permissions": "rld", "signed_resource": "c"}]
    archive, project = rights(one, "google").document["bindings"]
    assert archive["or_permissions"][-1] == "storage.objects.delete"
    assert project["or_permissions"] == ["storage.buckets.create"]


def matches(pattern: str, text: str) -> bool:
    """Whether IAM would take a resource for one that a pattern names."""
    pieces = re.split(r"(\$\{[*?$]\}|\*|\?)", pattern)
    wild = {"*": ".*", "?": "."}
    return bool(
        re.fullmatch(
            "".join(
                wild.get(piece) or re.escape(piece[2] if piece[:2] == "${" else piece) for piece in pieces if piece
            ),
            text,
            re.DOTALL,
        )
    )


@given(st.text("ab/*?${}", max_size=8), st.text("ab/*?${}", max_size=8))
def test_a_prefix_in_a_policy_stands_for_itself(prefix: str, key: str) -> None:
    assert matches(f"{literal(prefix)}*", key) == key.startswith(prefix)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
)
def test_marks_are_plain_and_tell_routes_apart(one: str, other: str) -> None:
    assert re.fullmatch(r"Skyferry[A-Za-z0-9]+", mark_of(one))
    assert (mark_of(one) == mark_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("url", "arn"),
    [
        (QUEUE_URL, "arn:aws:sqs:eu-central-1:123456789012:orders"),
        ("http://127.0.0.1:5000/123456789012/orders", "arn:aws:sqs:*:123456789012:orders"),
        ("https://queues.example.org/team/orders", "arn:aws:sqs:*:*:orders"),
    ],
)
def test_a_queue_s_arn_is_read_from_its_url(url: str, arn: str) -> None:
    need = QueueNeed(what="events", url=url, conn_id="aws_shop")
    assert need.arn() == arn
    assert len(QueueNeed(what="events", url=f"http://h/1/{'q' * 80}", conn_id="c").dead_letter_name) == 80


@pytest.mark.parametrize("route_id", route_ids())
def test_the_routes_of_the_project_have_rights(route_id: str) -> None:
    one = find_route(route_id)
    found = rights_of(route_needs(one, state=S3_STATE, state_conn_id="aws_default"))
    assert all(each.document for each in found)


def test_the_guide_names_the_same_rights() -> None:
    """docs/guide/connections.md is read by people who write policies themselves."""
    guide = (Path(__file__).parents[3] / "docs/guide/connections.md").read_text()
    policies = [yaml.safe_load(text) for text in re.findall(r"```json policy\n(.*?)```", guide, re.DOTALL)]
    source, destination = (
        {action for statement in policy["Statement"] for action in _listed(statement["Action"])} for policy in policies
    )
    assert {action for action, _ in allowed(rights(route(), "aws_shop"))} == source
    assert {action for action, _ in allowed(rights(route(), "aws_lake"))} == destination


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
