"""`transfer provision`, `deprovision` and `policy`: what a route has around it, and the rights it takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json, write_table
from skyferry.cli.request_options import complete_route
from skyferry.cli.run import FAILED, AsJson
from skyferry.cli.watching import await_result

STATE_URL_VARIABLE = "SKYFERRY_STATE_URL"
_NOWHERE = "file:///"

RouteOption = Annotated[
    str, typer.Option("--id", metavar="ROUTE", autocompletion=complete_route, help="The route's id.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]


def provision(
    route: RouteOption,
    *,
    with_lambda: Annotated[
        bool, typer.Option("--with-lambda", help="Make the Lambda function of provision.forwarder, too.")
    ] = False,
    with_gateway: Annotated[
        bool, typer.Option("--with-gateway", help="Make the API Gateway of provision.gateway, too.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make what a route needs and is missing: buckets, containers, queues, notifications.

    What others have is left as it is; running it again changes nothing. It runs in Airflow, as the DAG "provision",
    with the connections of the route. Exits with 1 if something could not be made.
    """
    _settle(
        route,
        removes=False,
        dry_run=dry_run,
        as_json=as_json,
        with_lambda=with_lambda,
        with_gateway=with_gateway,
    )


def deprovision(route: RouteOption, *, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Remove what "transfer provision" made for a route, and nothing else.

    No object and no message is ever removed: buckets and queues that hold some stay. Exits with 1 if something could
    not be removed.
    """
    _settle(route, removes=True, dry_run=dry_run, as_json=as_json)


def policy(
    route: RouteOption,
    *,
    region: Annotated[
        str, typer.Option("--region", help="Of the buckets; matters in China and GovCloud, whose names differ.")
    ] = "",
) -> None:
    """Show the least rights that the connections of a route need, as JSON; asks nobody.

    For AWS an IAM policy, for Azure role assignments and the letters of a SAS, for Google Cloud roles and permissions;
    with provision.forwarder also what the role of the Lambda function needs.
    """
    from skyferry.defaults import load_defaults
    from skyferry.provisioning.access_rights import rights_of
    from skyferry.provisioning.forwarder_need import ForwarderNeed, role_rights
    from skyferry.provisioning.route_needs import route_needs
    from skyferry.request import DEFAULT_CONN_IDS
    from skyferry.routes import find_route
    from skyferry.urls import parse_location

    defaults = load_defaults()
    state = parse_location(os.environ.get(STATE_URL_VARIABLE) or defaults.state_url or _NOWHERE, what="state_url")
    conn_id = defaults.state_conn_id or DEFAULT_CONN_IDS[state.kind]
    found = find_route(route)
    needs = route_needs(found, state=state, state_conn_id=conn_id)
    shown: dict[str, Any] = {"connections": [rights.to_json() for rights in rights_of(needs, region=region)]}
    if found.provision.forwarder is not None:
        need = ForwarderNeed(route_id=route, settings=found.provision.forwarder, region=region or "*")
        shown["forwarder"] = role_rights(need)
    write_json({"route": route, **shown})


def _settle(route: str, *, removes: bool, dry_run: bool, as_json: bool, **asked: bool) -> None:
    from skyferry.history.run_control import PROVISION_TASK_ID, start_provisioning

    api = connect()
    started = start_provisioning(api, route=route, removes=removes, dry_run=dry_run, **asked)
    found = await_result(api, started, task_id=PROVISION_TASK_ID)
    if as_json:
        write_json(dict(found))
    else:
        _write(found)
    if found["state"] != "success":
        raise typer.Exit(FAILED)


def _write(found: Mapping[str, Any]) -> None:
    steps = found["steps"]
    if steps:
        write_table(("", "thing", "why"), ((_doing_text(step), step["thing"], step["why"]) for step in steps))
    changes = sum(step["doing"] in ("create", "change", "remove") for step in steps)
    if found["problem"]:
        say(found["problem"])
    elif not changes:
        say("nothing to do")
    elif found["dry_run"]:
        say(f"dry run: {changes} changes would be made")
    else:
        say(f"{changes} changes were made")


def _doing_text(step: Mapping[str, Any]) -> str:
    done = {"create": "created", "change": "changed", "remove": "removed"}
    return done.get(step["doing"], step["doing"]) if step["is_done"] else str(step["doing"])
