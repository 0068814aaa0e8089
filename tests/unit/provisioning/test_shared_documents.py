"""What is ours is put into shared documents and taken out again; whatever else is there stays as it was."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skyferry.errors import RequestError
from skyferry.provisioning.shared_documents import (
    filter_text,
    notification_rule,
    sending_statement,
    upload_rule,
    with_notification,
    with_rule,
    with_statement,
    without_notification,
    without_rule,
    without_statement,
)

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:orders"
OTHER_QUEUE = "arn:aws:sqs:eu-central-1:123456789012:others"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:others"
EVENTS = ("s3:ObjectCreated:*",)
OWN = notification_rule("SkyferryOrders", target_arn=QUEUE, events=EVENTS, prefix="orders/")

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
foreign_filters = st.builds(
    lambda prefix, suffix: {
        "Key": {"FilterRules": [{"Name": "Prefix", "Value": prefix}, {"Name": "Suffix", "Value": suffix}]}
    },
    st.sampled_from(["logs/", "images/", "z"]),
    st.sampled_from(["", ".csv"]),
)
foreign_events = st.lists(
    st.sampled_from(["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete", "s3:ObjectTagging:*"]), min_size=1, unique=True
)


def foreign_rules(target: str, arn: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    rule = st.fixed_dictionaries(
        {"Id": names, target: st.just(arn), "Events": foreign_events, "Filter": foreign_filters}
    )
    return st.lists(rule, max_size=3)


configurations = st.fixed_dictionaries(
    {},
    optional={
        "QueueConfigurations": foreign_rules("QueueArn", OTHER_QUEUE),
        "TopicConfigurations": foreign_rules("TopicArn", TOPIC),
        "LambdaFunctionConfigurations": foreign_rules("LambdaFunctionArn", FUNCTION),
        "EventBridgeConfiguration": st.just({}),
    },
)


def all_rules(found: dict[str, Any]) -> list[Any]:
    return [rule for kind in found.values() if isinstance(kind, list) for rule in kind]


@given(configurations)
def test_a_notification_is_put_beside_the_others_once_and_taken_out_again(found: dict[str, Any]) -> None:
    before = copy.deepcopy(found)
    merged = with_notification(found, OWN, bucket="shop")
    assert merged is not None
    assert found == before, "what was handed in is not changed"
    assert [rule for rule in all_rules(merged) if rule != OWN] == all_rules(before)
    assert OWN in merged["QueueConfigurations"]
    assert with_notification(merged, OWN, bucket="shop") is None
    assert ("EventBridgeConfiguration" in merged) == ("EventBridgeConfiguration" in before)
    rest = without_notification(merged, "SkyferryOrders")
    assert rest is not None
    assert rest == {kind: rules for kind, rules in before.items() if rules or kind == "EventBridgeConfiguration"}
    assert without_notification(rest, "SkyferryOrders") is None


def test_our_rule_is_replaced_when_the_route_has_changed() -> None:
    old = notification_rule("SkyferryOrders", target_arn=QUEUE, events=EVENTS, prefix="old/")
    merged = with_notification({"QueueConfigurations": [old]}, OWN, bucket="shop")
    assert merged == {"QueueConfigurations": [OWN]}


@pytest.mark.parametrize(
    ("prefix", "suffix", "events"),
    [
        ("", "", ["s3:ObjectCreated:*"]),
        ("orders/", "", ["s3:ObjectCreated:Put"]),
        ("orders/2026/", ".csv", ["s3:ObjectRemoved:*", "s3:ObjectCreated:*"]),
    ],
)
def test_a_rule_that_gets_the_same_events_elsewhere_is_an_error(prefix: str, suffix: str, events: list[str]) -> None:
    edges = [{"Name": "Prefix", "Value": prefix}, {"Name": "Suffix", "Value": suffix}]
    rule = {"Id": "theirs", "QueueArn": OTHER_QUEUE, "Events": events, "Filter": {"Key": {"FilterRules": edges}}}
    with pytest.raises(RequestError, match="theirs.*Nothing was changed.*provision.topic"):
        with_notification({"QueueConfigurations": [rule]}, OWN, bucket="shop")


def test_a_rule_of_others_that_sends_all_of_it_to_our_queue_is_enough() -> None:
    wide = {"Id": "theirs", "QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    assert with_notification({"QueueConfigurations": [wide]}, OWN, bucket="shop") is None


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("orders/", "orders/"),
        ("a b/", "a+b/"),
        ("a+b/", "a%2Bb/"),
        ("100%/", "100%25/"),
        ("ü/", "%C3%BC/"),
        ("*/", "%2A/"),
        ("&<>\"'/", "%26%3C%3E%22'/"),
    ],
)
def test_prefixes_are_written_as_s3_wants_them_in_filters(prefix: str, expected: str) -> None:
    assert filter_text(prefix) == expected


foreign_lifecycle = st.lists(
    st.fixed_dictionaries(
        {"ID": names, "Status": st.sampled_from(["Enabled", "Disabled"])},
        optional={
            "Filter": st.sampled_from([{"Prefix": "logs/"}, {}, {"Tag": {"Key": "a", "Value": "b"}}]),
            "Prefix": st.just("legacy/"),
            "Expiration": st.just({"Days": 30}),
        },
    ),
    max_size=4,
)


@given(foreign_lifecycle, st.integers(1, 365))
def test_a_lifecycle_rule_is_put_beside_the_others_once_and_taken_out_again(found: list[Any], days: int) -> None:
    before, own = copy.deepcopy(found), upload_rule("SkyferryOrders", prefix="raw/", days=days)
    merged = with_rule(found, own)
    assert merged == [*before, own]
    assert with_rule(merged, own) is None
    assert without_rule(merged, "SkyferryOrders") == before
    assert without_rule(before, "SkyferryOrders") is None


@pytest.mark.parametrize(
    ("rule", "is_enough"),
    [
        ({"Status": "Enabled", "Filter": {}}, True),
        ({"Status": "Enabled", "Prefix": ""}, True),
        ({"Status": "Enabled", "Filter": {"Prefix": "raw/"}}, True),
        ({"Status": "Enabled", "Filter": {"Prefix": "raw/2026/"}}, False),
        ({"Status": "Disabled", "Filter": {}}, False),
        ({"Status": "Enabled", "Filter": {"ObjectSizeGreaterThan": 5}}, False),
        ({"Status": "Enabled", "Filter": {"And": {"Prefix": "", "Tags": []}}}, False),
    ],
)
def test_a_rule_of_others_is_enough_if_it_covers_ours(rule: dict[str, Any], is_enough: bool) -> None:
    theirs = {"ID": "theirs", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}, **rule}
    own = upload_rule("SkyferryOrders", prefix="raw/", days=7)
    assert (with_rule([theirs], own) is None) == is_enough
    assert with_rule([theirs], upload_rule("SkyferryOrders", prefix="raw/", days=3)) is not None


STATEMENT = sending_statement(
    "SkyferryOrders",
    service="s3.amazonaws.com",
    queue_arn=QUEUE,
    source_arn="arn:aws:s3:::shop",
    account="123456789012",
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
)
foreign_statements = st.lists(st.dictionaries(names, json_values, max_size=4), max_size=3)


@given(foreign_statements, st.booleans())
def test_a_statement_is_put_beside_the_others_once_and_taken_out_again(statements: list[Any], is_alone: bool) -> None:
    assume(all(statement.get("Sid") != "SkyferryOrders" for statement in statements))
    stated: Any = statements[0] if is_alone and len(statements) == 1 else statements
    found = json.dumps({"Version": "2008-10-17", "Id": "theirs", "Statement": stated})
    merged = with_statement(found, STATEMENT)
    assert merged is not None
    assert json.loads(merged) == {"Version": "2008-10-17", "Id": "theirs", "Statement": [*statements, STATEMENT]}
    assert with_statement(merged, STATEMENT) is None
    rest = without_statement(merged, "SkyferryOrders")
    assert rest is not None
    assert (json.loads(rest)["Statement"] if rest else []) == statements
    assert without_statement(found, "SkyferryOrders") is None


def test_a_queue_without_a_policy_gets_one_and_loses_it_again() -> None:
    merged = with_statement("", STATEMENT)
    assert merged is not None
    assert without_statement(merged, "SkyferryOrders") == ""
    assert without_statement("", "SkyferryOrders") is None


def test_only_the_bucket_of_the_account_may_send() -> None:
    assert STATEMENT["Condition"] == {
        "ArnEquals": {"aws:SourceArn": "arn:aws:s3:::shop"},
        "StringEquals": {"aws:SourceAccount": "123456789012"},
    }
    assert (STATEMENT["Action"], STATEMENT["Resource"]) == ("sqs:SendMessage", QUEUE)
