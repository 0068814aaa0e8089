"""`transfer doctor --send-probe`: one object through a whole route, and the seconds of each step."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from typing import TYPE_CHECKING

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json, write_table
from skyferry.cli.run import FAILED, INTERRUPTED
from skyferry.cli.watching import POLL_SECONDS, await_result, patiently
from skyferry.errors import AirflowRefusedError, TransferError, printable

if TYPE_CHECKING:
    from skyferry.doctor.flow_report import FlowReport, ProbeSent
    from skyferry.history.airflow_api import AirflowApi
    from skyferry.history.flow_watch import Flow
    from skyferry.history.transfer_run import TransferRun

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
_SAYS = {
    "written": "written at the source",
    "begun": "noticed: the run that carries it began",
    "planned": "planned",
    "copied": "copied: it is at the destination",
    "reported": "the run is over, with its report",
}


def send_probe(route: str, *, timeout: str, as_json: bool) -> None:
    """Send an object through a route, show the seconds of each step, remove it, and exit with 1 unless all is well."""
    from skyferry.cli.documents import as_json as plain

    timeout_seconds = _seconds(timeout)
    api = connect()
    _refuse_what_would_not_run(api, route)
    found = _send(api, route, timeout_seconds)
    if as_json:
        write_json(plain(found))
    else:
        _write(found)
    if found.state != "success":
        raise typer.Exit(FAILED)


def _refuse_what_would_not_run(api: AirflowApi, route: str) -> None:
    from skyferry.history.transfer_run import ROUTE_DAG_PREFIX

    dag = api.dag(f"{ROUTE_DAG_PREFIX}{route}")
    if dag is not None and dag.is_paused and dag.schedule:
        raise AirflowRefusedError(
            f"the DAG {dag.dag_id} is paused, so no probe would be carried",
            hint="switch it on in Airflow; it then also runs by itself. Nothing was written",
        )


def _send(api: AirflowApi, route: str, timeout_seconds: float) -> FlowReport:
    from dataclasses import replace

    token = secrets.token_hex(16)
    try:
        report = _put_and_follow(api, route, token, timeout_seconds)
    except (KeyboardInterrupt, TransferError) as error:
        say("the probe is being removed")
        _say_removal(_remove(api, route, token))
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(INTERRUPTED) from None
        raise
    if not report.steps:
        return report
    gone = _remove(api, route, token)
    left = (*gone.left, gone.problem) if gone.problem else gone.left
    state = "failed" if left else report.state
    return replace(report, state=state, removed=gone.removed, left=left)


def _put_and_follow(api: AirflowApi, route: str, token: str, timeout_seconds: float) -> FlowReport:
    """Return how far the probe came; a report without steps if it was not put, and so is gone or named already."""
    from skyferry.doctor.flow_report import FlowReport
    from skyferry.history.flow_watch import what_is_wrong

    sent = _await(api, route, token, removes=False)
    if not sent.written_at:
        return FlowReport(
            route=route,
            state="failed",
            findings=sent.findings,
            problem=sent.problem,
            removed=sent.removed,
            left=sent.left,
        )
    say(printable(f"put {sent.source}"))
    began = time.monotonic()
    flow = _follow(api, sent, until=began + timeout_seconds)
    problem = what_is_wrong(flow, sent, waited_seconds=time.monotonic() - began)
    return FlowReport(
        route=route,
        state="failed" if problem else "success",
        source=sent.source,
        destination=sent.copy,
        run=f"{flow.run.dag_id}/{flow.run.run_id}" if flow.run else "",
        steps=flow.steps(sent),
        problem=problem,
    )


def _follow(api: AirflowApi, sent: ProbeSent, *, until: float) -> Flow:
    from skyferry.history.flow_watch import FlowWatch
    from skyferry.history.run_control import start_run

    # For the probe alone: what else there is to copy is not the doctor's to begin with.
    started = None if sent.schedule else start_run(api, {"id": sent.route, "data": sent.data})
    watch = FlowWatch(api, sent, started=started)
    try:
        flow = patiently(watch.look)
        while not flow.is_over and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            flow = patiently(watch.look)
        return flow
    finally:
        if started is not None:
            _end(api, started)


def _end(api: AirflowApi, started: TransferRun) -> None:
    """Cancel the run that was started for the probe alone, unless it is over."""
    from skyferry.history.run_control import cancel_run

    with contextlib.suppress(TransferError):
        cancel_run(api, api.run(started.dag_id, started.run_id))


def _await(api: AirflowApi, route: str, token: str, *, removes: bool) -> ProbeSent:
    from skyferry.doctor.flow_report import ProbeSent
    from skyferry.history.run_control import DOCTOR_TASK_ID, start_flow_probe

    started = start_flow_probe(api, route=route, token=token, removes=removes)
    return ProbeSent.from_json(dict(await_result(api, started, task_id=DOCTOR_TASK_ID)))


def _remove(api: AirflowApi, route: str, token: str) -> ProbeSent:
    from skyferry.doctor.flow_report import ProbeSent

    try:
        return _await(api, route, token, removes=True)
    except TransferError as error:
        problem = f"what may have been written could not be removed; its name has {token} in it: {error}"
        return ProbeSent(route=route, action="remove", problem=problem)


def _say_removal(gone: ProbeSent) -> None:
    for url in gone.removed:
        say(printable(f"removed {url}"))
    for text in (*gone.left, *((gone.problem,) if gone.problem else ())):
        say(printable(f"left: {text}"))


def _write(found: FlowReport) -> None:
    if found.steps:
        total = 0.0
        rows = []
        for one in found.steps:
            total += one.seconds
            rows.append((_SAYS[one.step], f"{one.seconds:.1f}", f"{total:.1f}"))
        write_table(("step", "seconds", "after"), rows, numbers=("seconds", "after"))
    for finding in found.findings:
        say(finding.text)
    if found.problem:
        say(printable(found.problem))
    for url in found.removed:
        say(printable(f"removed {url}"))
    for text in found.left:
        say(printable(f"left: {text}"))


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,4})([smh])", text)
    if match is None:
        raise typer.BadParameter(
            f'"{text[:40]}" is no time to wait; expected for example 90s, 5m or 2h', param_hint="'--timeout'"
        )
    return int(match[1]) * _UNIT_SECONDS[match[2]]
