"""Plan first, apply after: what happens when something fails on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from skyferry.errors import AccessDeniedError, PermanentError
from skyferry.provisioning.surroundings_plan import Doing, Step, settle


@dataclass
class Recorded:
    """A thing that writes down what it was asked for."""

    name: str
    log: list[str]
    is_there: bool = False
    fails_planning: bool = False
    left_out: str = ""
    stays: str = ""
    failures: list[str] = field(default_factory=list)

    def plan(self) -> Step:
        self.log.append(f"plan {self.name}")
        if self.fails_planning:
            raise PermanentError("no")
        doing = Doing.KEEP if self.is_there else Doing.CREATE
        return Step(thing=self.name, doing=doing, why="so")

    def provide(self) -> str:
        self._do("provide")
        self.is_there = True
        return self.left_out

    def plan_removal(self) -> Step:
        return Step(thing=self.name, doing=Doing.REMOVE if self.is_there else Doing.KEEP, why="so")

    def remove(self) -> str:
        self._do("remove")
        self.is_there = bool(self.stays)
        return self.stays

    def _do(self, what: str) -> None:
        if self.failures:
            raise AccessDeniedError(self.failures.pop(), hint="it needs s3:Right")
        self.log.append(f"{what} {self.name}")


@pytest.fixture
def things() -> list[Recorded]:
    log: list[str] = []
    return [Recorded(name, log) for name in ("a", "b", "c")]


def run(things: list[Recorded], *, removes: bool = False, dry_run: bool = False):
    return settle(things, route="orders", removes=removes, dry_run=dry_run)


def test_everything_is_planned_before_anything_is_done(things: list[Recorded]) -> None:
    assert run(things).state == "success"
    assert things[0].log == ["plan a", "plan b", "plan c", "provide a", "provide b", "provide c"]


def test_a_plan_that_cannot_be_made_changes_nothing(things: list[Recorded]) -> None:
    things[2].fails_planning = True
    with pytest.raises(PermanentError):
        run(things)
    assert not any(line.startswith("provide") for line in things[0].log)


def test_a_dry_run_does_nothing(things: list[Recorded]) -> None:
    found = run(things, dry_run=True)
    assert [(step.doing, step.is_done) for step in found.steps] == [(Doing.CREATE, False)] * 3
    assert not any(thing.is_there for thing in things)


def test_it_is_removed_in_the_opposite_order(things: list[Recorded]) -> None:
    run(things)
    found = run(things, removes=True)
    assert [step.thing for step in found.steps] == ["c", "b", "a"]
    assert things[0].log[-3:] == ["remove c", "remove b", "remove a"]


def test_a_failure_says_what_exists_now_and_a_second_run_finishes(things: list[Recorded]) -> None:
    things[1].failures = ["creating b was refused"]
    found = run(things)
    assert found.state == "failed"
    assert [step.is_done for step in found.steps] == [True, False, False]
    assert found.problem == (
        "b: creating b was refused; it needs s3:Right. Left to do with it: create (so). Done before it: a (create)."
        " Not begun: c. Run `transfer provision --id orders` again: it goes on from here"
    )
    with pytest.raises(PermanentError, match="creating b was refused"):
        found.raise_if_failed()
    again = run(things)
    assert [(step.doing, step.is_done) for step in again.steps] == [
        (Doing.KEEP, False),
        (Doing.CREATE, True),
        (Doing.CREATE, True),
    ]


def test_what_could_not_be_removed_after_all_is_not_told_as_removed(things: list[Recorded]) -> None:
    run(things)
    things[1].stays = "messages have come in this moment"
    found = run(things, removes=True).steps[1]
    assert (found.doing, found.why, found.is_done) == (Doing.LEAVE, "messages have come in this moment", False)


def test_what_a_store_does_not_offer_is_told(things: list[Recorded]) -> None:
    things[0].left_out = "tagging: this store does not offer it"
    assert run(things).steps[0].why == "so; tagging: this store does not offer it"
