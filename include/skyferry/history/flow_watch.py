"""Finds the run that carries one object, and follows the object through it, from what Airflow and the records say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from skyferry.doctor.flow_report import FlowStep, ProbeSent
from skyferry.history.object_listing import PAGE_OBJECTS, list_objects
from skyferry.history.run_history import RunHistory
from skyferry.history.transfer_run import PLAN_TASK_ID, ROUTE_DAG_PREFIX, TransferRun
from skyferry.run_objects import PENDING, RunObject

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi

MAX_OBJECTS_SEARCHED = 10_000
"""In each run that may carry the object; a run that copies more of them at once may be overlooked."""

_MAX_RUNS_SEARCHED = 20
_CLOCKS_APART = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How far the object has come.

    Attributes:
        run: The run that carries it; the one that was started for it even before it is known to.
        carried: What became of the object in it; None while the run does not name it.
        planned_at: When the plan of the run was done; None for a run that has none, as those that consume a queue.
        others: Runs that may still come to it.
    """

    run: TransferRun | None = None
    carried: RunObject | None = None
    planned_at: datetime | None = None
    others: tuple[TransferRun, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to the object."""
        return self.run is not None and self.run.is_finished

    @property
    def came_through(self) -> bool:
        """Whether it was copied, and its run is over and well."""
        is_copied = self.carried is not None and self.carried.outcome == "copied"
        return is_copied and self.run is not None and self.run.state == "success"

    def steps(self, sent: ProbeSent) -> tuple[FlowStep, ...]:
        """Return the seconds of each step it has come through, by the clocks of those who did them."""
        moments = [("written", datetime.fromisoformat(sent.written_at)), *self._moments()]
        later = (
            FlowStep(step=step, seconds=max(round((at - before).total_seconds(), 3), 0.0))
            for (_, before), (step, at) in pairwise(moments)
        )
        return (FlowStep(step="written", seconds=sent.seconds), *later)

    def _moments(self) -> Iterator[tuple[str, datetime]]:
        if self.run is None or self.run.started_at is None:
            return
        yield "begun", self.run.started_at
        if self.carried is None:
            return
        if self.planned_at is not None:
            yield "planned", self.planned_at
        if self.carried.outcome != "copied":
            return
        yield "copied", datetime.fromisoformat(self.carried.finished_at)
        if self.run.is_finished and self.run.ended_at is not None:
            yield "reported", self.run.ended_at


class FlowWatch:
    """Looks for one object in the runs of its route.

    Args:
        started: The run that was started to carry it; None where the route runs by itself.
    """

    def __init__(self, api: AirflowApi, sent: ProbeSent, *, started: TransferRun | None = None) -> None:
        self._api = api
        self._sent = sent
        self._run = started
        self._is_known = started is not None
        self._dag_ids: list[str] = []
        self._since = datetime.fromisoformat(sent.written_at) - _CLOCKS_APART
        self._without_it: set[tuple[str, str]] = set()

    def look(self) -> Flow:
        """Return how far the object has come by now; costs a few requests, and one for each hundred objects searched.

        Raises:
            AirflowRefusedError: The records of a run cannot be read.
            AirflowUnreachableError: Airflow does not answer.
        """
        if self._run is not None and self._is_known:
            return self._of(self._api.run(self._run.dag_id, self._run.run_id))
        waiting = []
        for run in self._candidates():
            if self._object_in(run) is not None:
                self._run, self._is_known = run, True
                return self._of(run)
            if run.is_finished:
                self._without_it.add((run.dag_id, run.run_id))
            else:
                waiting.append(run)
        return Flow(others=tuple(waiting))

    def _of(self, run: TransferRun) -> Flow:
        # A run that was looked at before its end may have come to the object in between, never the other way round.
        carried = self._object_in(run) if run.started_at is not None else None
        return Flow(run=run, carried=carried, planned_at=self._planned_at(run) if carried else None)

    def _candidates(self) -> list[TransferRun]:
        """Return the runs that were not over when the object was written, and are not known to be without it."""
        self._dag_ids = self._dag_ids or RunHistory(self._api).dag_ids(self._sent.route)
        if ROUTE_DAG_PREFIX + self._sent.route not in self._dag_ids:
            return []
        page = self._api.list_runs(self._dag_ids, newest_first=True, limit=_MAX_RUNS_SEARCHED)
        return [
            run
            for run in page.runs
            if run.started_at is not None
            and (run.ended_at is None or run.ended_at >= self._since)
            and (run.dag_id, run.run_id) not in self._without_it
        ]

    def _object_in(self, run: TransferRun) -> RunObject | None:
        pages = islice(list_objects(self._api, run), MAX_OBJECTS_SEARCHED // PAGE_OBJECTS)
        found = [one for page in pages for one in page if one.key == self._sent.key]
        done = [one for one in found if one.outcome != PENDING]
        return next(reversed(done or found), None)

    def _planned_at(self, run: TransferRun) -> datetime | None:
        tasks = self._api.tasks(run.dag_id, run.run_id)
        return next((task.ended_at for task in tasks if task.task_id == PLAN_TASK_ID), None)


def what_is_wrong(flow: Flow, sent: ProbeSent, *, waited_seconds: float) -> str:
    """Return up to where the object came, and what to look at next; empty if it came through."""
    if flow.came_through:
        return ""
    waited = f"after {waited_seconds:.0f} seconds"
    if flow.run is None:
        return _nobody_came(flow, sent, waited)
    see = f"see `transfer status --run {flow.run.dag_id}/{flow.run.run_id}`"
    if flow.carried is not None and flow.carried.outcome not in {"copied", PENDING}:
        return f"the run {flow.carried.outcome} the probe: {flow.carried.reason or 'it says no reason'}; {see}"
    if flow.run.is_finished:
        found = "and its report is not well" if flow.carried else "and does not name the probe"
        return f"the run is over ({flow.run.state}) {found}; {see}"
    if flow.run.started_at is None:
        return f"{waited} the run that was started has not begun: see that the scheduler runs and has slots; {see}"
    if flow.carried is None:
        return f"{waited} the run had not planned the probe: see the log of its task plan; {see}"
    if flow.carried.outcome == PENDING:
        return (
            f"{waited} the probe was planned and not copied: see that workers have slots and reach both places; {see}"
        )
    return f"{waited} the probe was copied, and the run was not over; {see}"


def _nobody_came(flow: Flow, sent: ProbeSent, waited: str) -> str:
    if flow.others:
        one = flow.others[0]
        return (
            f"{waited} no run had come to the probe, and {one.dag_id}/{one.run_id} is under way: it may wait, or be "
            f"busy with earlier objects; {_what_to_look_at(sent)}"
        )
    return f"{waited} no run had begun because of the probe: {_what_to_look_at(sent)}"


def _what_to_look_at(sent: ProbeSent) -> str:
    if sent.detect == "sqs":
        return (
            "see that the bucket notifies the queue (`transfer provision --dry-run` says what is missing), and that "
            f"the DAG which consumes it is not paused and the triggerer runs (`transfer status --id {sent.route}`)"
        )
    if sent.detect:
        return (
            "see that the triggerer and the scheduler run; what must first be old or quiet enough (min_age_seconds, "
            "settle_seconds) takes a longer --timeout"
        )
    return f"the route runs at {sent.schedule}; a longer --timeout waits for that"
