"""How far a probe came, in seconds and in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skyferry.doctor.flow_report import ProbeSent
from skyferry.history.flow_watch import Flow, what_is_wrong
from skyferry.history.transfer_run import TransferRun
from skyferry.run_objects import RunObject

BEGIN = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def sent(**values: Any) -> ProbeSent:
    known = {"route": "orders", "action": "put", "written_at": BEGIN.isoformat(), "seconds": 0.25, "schedule": "event"}
    return ProbeSent(**{**known, **values})


def run(state: str = "running", **values: Any) -> TransferRun:
    known = {"dag_id": "transfer__orders", "run_id": "r1", "route": "orders", "run_type": "manual", "run_after": BEGIN}
    return TransferRun(**{**known, "state": state, "started_at": at(2), **values})


def carried(outcome: str, **values: Any) -> RunObject:
    return RunObject(**{"key": "k", "outcome": outcome, "reason": "", "size_bytes": 9, **values})


COPIED = carried("copied", finished_at=at(7.5).isoformat())
THROUGH = Flow(run=run("success", ended_at=at(10)), carried=COPIED, planned_at=at(5))


def seconds(flow: Flow) -> dict[str, float]:
    return {one.step: one.seconds for one in flow.steps(sent())}


def test_each_step_takes_the_seconds_since_the_one_before() -> None:
    assert what_is_wrong(THROUGH, sent(), waited_seconds=11) == ""
    assert seconds(THROUGH) == {"written": 0.25, "begun": 2, "planned": 3, "copied": 2.5, "reported": 2.5}


def test_clocks_that_are_apart_make_no_step_negative() -> None:
    early = Flow(run=run("success", started_at=at(-3), ended_at=at(10)), carried=COPIED)
    assert seconds(early) == {"written": 0.25, "begun": 0, "copied": 10.5, "reported": 2.5}


@pytest.mark.parametrize(
    ("flow", "steps", "words"),
    [
        (Flow(), [], "after 300 seconds no run had begun because of the probe: see that the bucket notifies the queue"),
        (Flow(others=(run(),)), [], "transfer__orders/r1 is under way: it may wait"),
        (Flow(run=run("queued", started_at=None)), [], "has not begun: see that the scheduler runs"),
        (Flow(run=run()), ["begun"], "had not planned the probe"),
        (
            Flow(run=run(), carried=carried("pending"), planned_at=at(3)),
            ["begun", "planned"],
            "not copied: see that wor",
        ),
        (Flow(run=run(), carried=COPIED, planned_at=at(3)), ["begun", "planned", "copied"], "run was not over"),
        (
            Flow(run=run(), carried=carried("failed", reason="access denied")),
            ["begun"],
            "failed the probe: access denied",
        ),
        (Flow(run=run("failed")), ["begun"], "is over (failed) and does not name the probe"),
    ],
)
def test_it_is_said_how_far_it_came_and_what_to_look_at(flow: Flow, steps: list[str], words: str) -> None:
    problem = what_is_wrong(flow, sent(detect="sqs"), waited_seconds=300)
    assert words in problem
    assert list(seconds(flow)) == ["written", *steps]
    assert (flow.run is None) or "transfer status --run transfer__orders/r1" in problem


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({"detect": "sqs"}, "the queue"),
        ({"detect": "files"}, "settle_seconds"),
        ({"schedule": "0 5 * * *"}, "the route runs at 0 5 * * *; a longer --timeout"),
    ],
)
def test_what_to_look_at_depends_on_how_the_route_is_started(route: dict[str, str], words: str) -> None:
    assert words in what_is_wrong(Flow(), sent(**route), waited_seconds=300)


def test_what_is_sent_is_the_same_after_it_was_written_as_json() -> None:
    one = sent(removed=("a",), left=("b",))
    assert ProbeSent.from_json(one.to_json()) == one
