"""Routes that share a queue: one group, one name for each queue, and disagreements named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry.queue_groups import group_by_queue
from skyferry.routes import Route, load_routes

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
SAME_NAME = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"


def route(route_id: str, *, queue_url: str = QUEUE, conn_id: str = "aws_shop", detect: str = "", rest: str = "") -> str:
    return (
        f"id: {route_id}\n"
        f'source: {{url: "s3://shop/{route_id}/", conn_id: {conn_id}}}\n'
        'destination: {url: "gs://archive/"}\n'
        f"detect: {{kind: sqs, queue_url: {queue_url}{detect}}}\n{rest}"
    )


def loaded(folder: Path, **texts: str) -> tuple[list[Route], list[str]]:
    for route_id, text in texts.items():
        (folder / f"{route_id}.yaml").write_text(text)
    routes, problems = load_routes(folder)
    return routes, [str(problem).removeprefix(f"{folder}/") for problem in problems]


def test_routes_of_one_queue_are_one_group_in_the_order_of_their_ids(tmp_path: Path) -> None:
    routes, problems = loaded(tmp_path, b=route("b"), a=route("a"), c=route("c", queue_url=QUEUE + "2"))
    assert problems == []
    groups, disagreements = group_by_queue(reversed(routes))
    assert disagreements == []
    assert [(group.name, group.route_ids) for group in groups] == [("orders", ("a", "b")), ("orders2", ("c",))]
    assert groups[0].conn_id == "aws_shop", "the source's connection, unless the route says otherwise"


def test_routes_without_a_queue_are_in_no_group(tmp_path: Path) -> None:
    text = 'id: plain\nsource: {url: "s3://shop/"}\ndestination: {url: "gs://archive/"}\n'
    routes, _ = loaded(tmp_path, plain=text)
    assert group_by_queue(routes) == ([], [])


def test_two_queues_of_one_name_are_told_apart_by_their_urls(tmp_path: Path) -> None:
    routes, _ = loaded(tmp_path, a=route("a"), b=route("b", queue_url=SAME_NAME))
    names = [group.name for group in group_by_queue(routes)[0]]
    assert names == ["orders_07e0f5ac", "orders_be1c747a"]
    assert [group.name for group in group_by_queue(routes[:1])[0]] == ["orders"]


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ("", ", consumers: 4", 'b.yaml:4: detect.consumers is "4" here and "1" in a.yaml, which reads the same queue'),
        (", unmatched: dead_letter", "", 'b.yaml:4: detect.unmatched is "leave" here and "dead_letter" in a.yaml'),
        (", conn_id: aws_queue", "", 'b.yaml:4: detect.conn_id is "aws_shop" here and "aws_queue" in a.yaml'),
    ],
)
def test_a_route_that_says_something_else_about_the_queue_is_left_out(
    tmp_path: Path, there: str, here: str, expected: str
) -> None:
    routes, problems = loaded(
        tmp_path, a=route("a", detect=there), b=route("b", detect=here), c=route("c", detect=there)
    )
    assert [one.id for one in routes] == ["a", "c"]
    assert len(problems) == 1
    assert problems[0].startswith(expected)


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ("schedule: event\n", "schedule: '@hourly'\n", 'b.yaml:5: schedule is "@hourly" here and "event" in a.yaml'),
        ("schedule: event\n", "", 'b.yaml:1: schedule is "none" here and "event" in a.yaml'),
        (
            "schedule: event\n",
            "schedule: event\nbackstop: '@daily'\n",
            'b.yaml:6: backstop is "@daily" here and "@hourly" in a.yaml',
        ),
        ("queue: one\n", "queue: two\n", 'b.yaml:5: queue is "two" here and "one" in a.yaml'),
        ("pool: one\n", "", 'b.yaml:1: pool is "" here and "one" in a.yaml'),
    ],
)
def test_so_is_one_that_is_to_run_at_other_times_or_elsewhere(
    tmp_path: Path, there: str, here: str, expected: str
) -> None:
    routes, problems = loaded(tmp_path, a=route("a", rest=there), b=route("b", rest=here))
    assert [one.id for one in routes] == ["a"]
    assert problems[0].startswith(expected)


def test_what_a_route_alone_decides_may_differ(tmp_path: Path) -> None:
    first = route("a", rest="reconcile: '@daily'\nmirror_deletes: true\n")
    routes, problems = loaded(tmp_path, a=first, b=route("b", detect=", conn_id: aws_shop"))
    assert (len(routes), problems) == (2, [])
