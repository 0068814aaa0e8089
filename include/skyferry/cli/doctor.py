"""`transfer doctor`: what a route may do in its places and with its queues, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json, write_table
from skyferry.cli.provision import RouteOption
from skyferry.cli.run import FAILED, AsJson
from skyferry.cli.watching import await_result

_SEND_PROBE = "--send-probe"
_TIMEOUT = "--timeout"


def doctor(
    route: RouteOption,
    *,
    sends_probe: Annotated[
        bool, typer.Option(_SEND_PROBE, help="Put a small object at the source, follow it, and remove it again.")
    ] = False,
    timeout: Annotated[
        str, typer.Option(_TIMEOUT, metavar="5m", help="How long the object is followed: 90s, 2h; else 5m.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Try each right that a route needs, and say in one line each what to change.

    No object and no message of anybody's is touched, and nothing is left behind. It runs in Airflow, as the DAG
    "doctor", with the connections of the route. Exits with 1 if anything is missing.

    With --send-probe it tries the way instead: one object of its own goes through event, run and destination, and the
    seconds of each step are shown. Exits with 1 unless it came through and was removed again.
    """
    if sends_probe:
        from skyferry.cli.doctor_flow import send_probe

        send_probe(route, timeout=timeout or "5m", as_json=as_json)
        return
    if timeout:
        raise typer.BadParameter(f"goes with {_SEND_PROBE}", param_hint=f"'{_TIMEOUT}'")
    from skyferry.history.run_control import DOCTOR_TASK_ID, start_doctor

    api = connect()
    found = await_result(api, start_doctor(api, route=route), task_id=DOCTOR_TASK_ID)
    if as_json:
        write_json(dict(found))
    else:
        _write(found)
    if found["state"] != "success":
        raise typer.Exit(FAILED)


def _write(found: Mapping[str, Any]) -> None:
    from skyferry.doctor.findings import Finding

    findings = [Finding(**values) for values in found["findings"]]
    if findings:
        write_table(
            ("", "where", "right", "for", "why"),
            ((one.state, f"{one.where} {one.url}", one.right, one.ability, one.why) for one in findings),
        )
    for one in findings:
        if one.is_wrong:
            say(one.text)
    if found["problem"]:
        say(found["problem"])
    elif findings:
        counts = Counter(one.state for one in findings)
        say(", ".join(f"{count} {state}" for state, count in counts.items()))
