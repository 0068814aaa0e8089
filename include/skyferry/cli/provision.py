"""`transfer provision`, `deprovision` and `policy`: what a route has around it, and the rights it takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyferry.cli.airflow_login import connect
from skyferry.cli.output import say, write_json, write_table
from skyferry.cli.request_options import complete_route
from skyferry.cli.run import FAILED, AsJson
from skyferry.cli.watching import await_result

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi

STATE_URL_VARIABLE = "SKYFERRY_STATE_URL"
_NOWHERE = "file:///"
_ACCESS_KEY = "--access-key"
_REPLACE_KEY = "--replace-key"

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
    access_key: Annotated[
        str,
        typer.Option(
            _ACCESS_KEY,
            metavar="CONN_ID",
            help="Also make an access key of the user of provision.identity, for this new Airflow connection.",
        ),
    ] = "",
    replace_key: Annotated[
        bool, typer.Option(_REPLACE_KEY, help=f"With {_ACCESS_KEY}: give the connection, made so before, a new key.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make what a route needs and is missing: buckets, containers, queues, notifications.

    What others have is left as it is; running it again changes nothing. It runs in Airflow, as the DAG "provision",
    with the connections of the route. Exits with 1 if something could not be made.

    An access key is made by this command itself; its secret goes to Airflow and is not shown.
    """
    _check_key(route, access_key, replaces=replace_key, dry_run=dry_run)
    api = connect()
    asked = {"with_lambda": with_lambda, "with_gateway": with_gateway}
    found = _settled(api, route, removes=False, dry_run=dry_run, **asked)
    if access_key and found["state"] == "success":
        _hand_over(api, found, access_key, replaces=replace_key, as_json=as_json)
    else:
        _show(found, as_json=as_json)


def deprovision(route: RouteOption, *, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Remove what "transfer provision" made for a route, and nothing else.

    No object and no message is ever removed: buckets and queues that hold some stay. Exits with 1 if something could
    not be removed.
    """
    _show(_settled(connect(), route, removes=True, dry_run=dry_run), as_json=as_json)


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


def _check_key(route: str, access_key: str, *, replaces: bool, dry_run: bool) -> None:
    """Refuse, before anything is done, what could never have a key."""
    if replaces and not access_key:
        raise typer.BadParameter(f"goes with {_ACCESS_KEY}", param_hint=f"'{_REPLACE_KEY}'")
    if not access_key:
        return
    if dry_run:
        raise typer.BadParameter("goes without --dry-run: a key is made or not", param_hint=f"'{_ACCESS_KEY}'")
    from skyferry.provisioning.access_keys import check_conn_id, check_user
    from skyferry.routes import find_route

    check_conn_id(access_key)
    check_user(find_route(route))


def _hand_over(api: AirflowApi, found: Mapping[str, Any], conn_id: str, *, replaces: bool, as_json: bool) -> None:
    """Show what was done, and give a connection a key when all of it is."""
    from skyferry.provisioning.access_keys import hand_over, open_keys
    from skyferry.routes import find_route

    if not as_json:
        _write(found)
    route = find_route(found["route"])
    key = hand_over(open_keys(route), api, route=route.id, conn_id=conn_id, replaces=replaces)
    if as_json:
        write_json({**found, "access_key": {"key_id": key.key_id, "conn_id": key.conn_id}})
        return
    deleted = "".join(f"; {key_id} is deleted" for key_id in key.deleted)
    say(f'connection "{key.conn_id}" has the access key {key.key_id}{deleted}')


def _settled(api: AirflowApi, route: str, *, removes: bool, dry_run: bool, **asked: bool) -> Mapping[str, Any]:
    from skyferry.history.run_control import PROVISION_TASK_ID, start_provisioning

    started = start_provisioning(api, route=route, removes=removes, dry_run=dry_run, **asked)
    return await_result(api, started, task_id=PROVISION_TASK_ID)


def _show(found: Mapping[str, Any], *, as_json: bool) -> None:
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
