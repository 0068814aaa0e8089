"""Plan first, apply after: what would be done to each thing around a route, why, and what was done.

Things are provided in the order given and removed in the opposite one. Planning reads only, and plans everything before
anything is changed, so that what cannot be done at all shows while nothing has happened yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from skyferry.errors import PermanentError, TransferError


class Doing(StrEnum):
    """What is to be done to a thing."""

    KEEP = "keep"
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    LEAVE = "leave"

    @property
    def is_change(self) -> bool:
        """Whether anything is written."""
        return self in (Doing.CREATE, Doing.CHANGE, Doing.REMOVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be done to one thing.

    Attributes:
        thing: What and where, as `bucket s3://lake/`.
        doing: `keep`: it is as wanted. `leave`: it is not, and it is not ours to change.
        why: One clause.
        is_done: It was done, and not only planned.
    """

    thing: str
    doing: Doing
    why: str
    is_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the step as plain JSON values."""
        return {"thing": self.thing, "doing": str(self.doing), "why": self.why, "is_done": self.is_done}


class Thing(Protocol):
    """One thing around a route that can be provided and removed; each method raises `TransferError`s only."""

    def plan(self) -> Step:
        """Look, and say what has to be done so that the thing is there."""

    def provide(self) -> str:
        """Do what the plan says; return what the store does not offer and was left out, or nothing.

        What others may write too is read again first, and left alone if it has changed since the plan.
        """

    def plan_removal(self) -> Step:
        """Look, and say what has to be done so that of the thing nothing is left that provisioning made."""

    def remove(self) -> str:
        """Do that; return why the thing had to be left all the same, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What was planned and done around a route.

    Attributes:
        action: `provision` or `deprovision`.
        state: `success`, or `failed` if the work broke off.
        problem: Why it broke off, what exists now, and what to do; empty if it did not.
    """

    route: str
    action: str
    dry_run: bool
    state: str
    steps: tuple[Step, ...]
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        values = {name: getattr(self, name) for name in ("route", "action", "dry_run", "state", "problem")}
        return values | {"steps": [step.to_json() for step in self.steps]}

    def raise_if_failed(self) -> None:
        """Raise unless all was done.

        Raises:
            PermanentError: What broke off and how it stands; the same command goes on from there.
        """
        if self.state != "success":
            raise PermanentError(self.problem)


def settle(things: Sequence[Thing], *, route: str, removes: bool, dry_run: bool) -> Surroundings:
    """Plan all things, and then do what is planned, one after the other, until one fails.

    Raises:
        TransferError: The plan could not be made; nothing was changed.
    """
    ordered = list(reversed(things)) if removes else list(things)
    steps = [thing.plan_removal() if removes else thing.plan() for thing in ordered]
    action = "deprovision" if removes else "provision"
    problem = "" if dry_run else _carry_out(ordered, steps, removes=removes, command=f"transfer {action} --id {route}")
    state = "failed" if problem else "success"
    return Surroundings(route=route, action=action, dry_run=dry_run, state=state, steps=tuple(steps), problem=problem)


def _carry_out(things: Sequence[Thing], steps: list[Step], *, removes: bool, command: str) -> str:
    """Do the steps, marking in the list which were done; return what broke them off."""
    for number, thing in enumerate(things):
        if not steps[number].doing.is_change:
            continue
        try:
            left_out = thing.remove() if removes else thing.provide()
        except TransferError as error:
            left = _left_to_do(thing, removes=removes)
            return _broken_off(error, steps, steps[number], left=left, command=command)
        if removes and left_out:
            steps[number] = replace(steps[number], doing=Doing.LEAVE, why=left_out)
            continue
        why = f"{steps[number].why}; {left_out}" if left_out else steps[number].why
        steps[number] = replace(steps[number], is_done=True, why=why)
    return ""


def _left_to_do(thing: Thing, *, removes: bool) -> str:
    """Return what is left to do with a thing whose work broke off: some of it may be done."""
    try:
        step = thing.plan_removal() if removes else thing.plan()
    except TransferError:
        return "not known"
    return f"{step.doing} ({step.why})"


def _broken_off(error: TransferError, steps: Sequence[Step], failed: Step, *, left: str, command: str) -> str:
    done = [f"{step.thing} ({step.doing})" for step in steps if step.is_done]
    ahead = [step.thing for step in steps if step.doing.is_change and not step.is_done and step is not failed]
    text = f"{failed.thing}: {error}. Left to do with it: {left}. Done before it: {', '.join(done) or 'nothing'}"
    return f"{text}. Not begun: {', '.join(ahead) or 'nothing'}. Run `{command}` again: it goes on from here"
