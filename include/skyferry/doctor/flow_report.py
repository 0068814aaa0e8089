"""What became of an object that was sent through a route: the seconds of each step, and what is left of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from skyferry.doctor.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSent:
    """What the DAG did about the object.

    Attributes:
        action: `put` or `remove`.
        state: `success`, or `failed` if it was not put, or something is left.
        key: Of the object in its bucket; empty if no name was found.
        data: Its key below the source, as the parameter `data` names it.
        source: URL of the object.
        copy: URL of the copy that is to be.
        written_at: When it was there, by the worker's clock, as ISO 8601; empty unless it was put.
        seconds: What writing it took.
        schedule: The route's; empty if it runs only when it is started.
        detect: How the route notices what is new; empty if it does not.
        findings: What may not be done at the source or at the destination; nothing was written then.
        removed: URLs of what is gone now.
        left: What is still there, and why.
        problem: Why nothing was put, or nothing could be done; empty if it could.
    """

    route: str
    action: str
    state: str = "failed"
    key: str = ""
    data: str = ""
    source: str = ""
    copy: str = ""
    written_at: str = ""
    seconds: float = 0.0
    schedule: str = ""
    detect: str = ""
    findings: tuple[Finding, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        lists = {"findings": [one.to_json() for one in self.findings]}
        return asdict(self) | lists | {"removed": list(self.removed), "left": list(self.left)}

    @staticmethod
    def from_json(values: dict[str, Any]) -> ProbeSent:
        """Undo `to_json`."""
        findings = tuple(Finding(**one) for one in values["findings"])
        lists = {"removed": tuple(values["removed"]), "left": tuple(values["left"])}
        return ProbeSent(**{**values, "findings": findings, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStep:
    """One step on the way.

    Attributes:
        step: `written`, `begun`, `planned`, `copied` or `reported`.
        seconds: Since the step before; for `written` since the write began.
    """

    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """The way of the object.

    Attributes:
        state: `success` if it came through and nothing is left.
        source: URL of the object.
        destination: URL of its copy.
        run: `<dag_id>/<run id>` of the run that carried it; empty if none did.
        findings: What is missing to send it; nothing was written then.
        problem: Up to where it came, and what to look at next; empty if it came through.
        left: What is still there, and why.
    """

    route: str
    state: str
    source: str = ""
    destination: str = ""
    run: str = ""
    steps: tuple[FlowStep, ...] = ()
    findings: tuple[Finding, ...] = ()
    problem: str = ""
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
