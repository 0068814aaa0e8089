"""The commands `transfer config ...`: look at the configuration folder, check it, register and remove routes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, JsonValue

from skyferry.cli.output import say, write_json, write_table, write_text
from skyferry.cli.request_options import complete_route
from skyferry.config_folder import read_model
from skyferry.defaults import Defaults, defaults_file
from skyferry.errors import RequestError, RouteConfigError, RouteExistsError
from skyferry.reference import route_schema_text
from skyferry.route_registration import check_route, register_route, remove_route
from skyferry.routes import Route, find_route, load_routes, routes_folder
from skyferry.yaml_document import ConfigProblem, YamlError, read_yaml_file, shown_path

_INVALID = 2

app = typer.Typer(
    help="Look at routes and defaults, check them, register and remove routes.",
    epilog="Example: transfer config --file orders_to_lake.yaml",
    invoke_without_command=True,
    no_args_is_help=True,
)

RouteId = Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_route, help="The route's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.callback()
def _register(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Register the route that this file describes.")
    ] = None,
    is_replaced: Annotated[
        bool, typer.Option("--replace", help="The route may be there already; it is then replaced.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at routes and defaults, check them, register and remove routes.

    With --file the route in it is checked and put into the folder of routes; Airflow finds it within half a minute.
    """
    if context.invoked_subcommand is not None:
        return
    if file is None:
        raise typer.BadParameter("expected --file, or a command", param_hint="'--file'")
    route = _registered(file, is_replaced=is_replaced)
    stored = routes_folder() / f"{route.id}.yaml"
    if as_json:
        write_json({"id": route.id, "file": shown_path(stored), "dag_id": f"transfer__{route.id}"})
    else:
        say(f"registered {route.id} in {shown_path(stored)}; its DAG is transfer__{route.id}")


@app.command(epilog="Example: transfer config remove orders_to_lake")
def remove(route_id: RouteId, *, as_json: AsJson = False) -> None:
    """Remove a route's file; its runs stay in Airflow."""
    remove_route(route_id)
    if as_json:
        write_json({"id": route_id, "removed": True})
    else:
        say(f"removed {route_id}; its DAG is gone within half a minute, its runs stay in Airflow")


@app.command(epilog="Example: transfer config validate include/config/routes/orders_to_lake.yaml")
def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Files to check; all there are if none is given.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check route files and defaults.yaml; exit with 2 if one of them is wrong."""
    problems_by_file = {path: _problems_of(path) for path in files or _all_files()}
    if not files:
        _add_disagreements(problems_by_file)
    if as_json:
        write_json({"valid": not any(problems_by_file.values()), "files": _as_json(problems_by_file)})
    else:
        write_table(("file", ""), ((shown_path(path), _verdict(found)) for path, found in problems_by_file.items()))
        for problem in (problem for found in problems_by_file.values() for problem in found):
            say(str(problem))
    if any(problems_by_file.values()):
        raise typer.Exit(_INVALID)


@app.command("list", epilog="Example: transfer config list --json")
def list_routes(*, as_json: AsJson = False) -> None:
    """List the routes; files that are wrong are named on standard error."""
    routes, problems = load_routes()
    if as_json:
        write_json([route.model_dump(mode="json", by_alias=True) for route in routes])
    else:
        write_table(
            ("id", "source", "destination", "data", "schedule"),
            (
                (route.id, route.source.url, route.destination.url, route.data, route.schedule or "none")
                for route in routes
            ),
        )
    for problem in problems:
        say(str(problem))


@app.command(epilog="Example: transfer config show orders_to_lake")
def show(route_id: RouteId, *, as_json: AsJson = False) -> None:
    """Show one route with all its values, the defaults filled in."""
    route = find_route(route_id)
    request = route.request().to_conf()
    if as_json:
        write_json({"route": route.model_dump(mode="json", by_alias=True), "request": request})
        return
    head = [
        ("file", shown_path(routes_folder() / f"{route.id}.yaml")),
        ("DAG", f"transfer__{route.id}"),
        ("description", route.description),
        ("schedule", route.schedule or "none"),
    ]
    write_table((), [*head, *((name, _shown(value)) for name, value in request.items())])


@app.command(epilog="Example: transfer config schema > route.schema.json")
def schema() -> None:
    """Write the JSON schema of route files, with which editors complete and check them."""
    write_text(route_schema_text())


def _registered(file: Path, *, is_replaced: bool) -> Route:
    try:
        values = read_yaml_file(file).values
        text = file.read_text(encoding="utf-8")
    except YamlError as error:
        raise RouteConfigError(str(error.problem)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{shown_path(file)} cannot be read: {error}") from error
    stated = values.get("id") if isinstance(values, dict) else None
    route_id = stated if isinstance(stated, str) else file.stem
    # What is wrong is named in the file that was given, not in the one it would become.
    problems = [replace(problem, file=shown_path(file)) for problem in check_route(route_id, text)[1]]
    if problems:
        raise RouteConfigError("; ".join(str(problem) for problem in problems))
    try:
        return register_route(route_id, text, replace_existing=is_replaced)
    except RouteExistsError as error:
        raise RouteExistsError(error.message, hint="choose another id, or add --replace") from error


def _all_files() -> list[Path]:
    defaults = [defaults_file()] if defaults_file().exists() else []
    return defaults + sorted(path for path in routes_folder().glob("*") if path.suffix in {".yaml", ".yml"})


def _problems_of(path: Path) -> list[ConfigProblem]:
    model: type[BaseModel] = Defaults if path.name == defaults_file().name else Route
    if path.suffix != ".yaml":
        return [ConfigProblem(shown_path(path), 0, 'configuration files end in ".yaml"; rename it')]
    return read_model(path, model)[1]


def _add_disagreements(problems_by_file: dict[Path, list[ConfigProblem]]) -> None:
    """Add what is wrong with files only because of what stands in others."""
    _, problems = load_routes()
    for path, found in problems_by_file.items():
        found += [problem for problem in problems if problem.file == shown_path(path) and problem not in found]


def _verdict(problems: list[ConfigProblem]) -> str:
    return f"{len(problems)} wrong" if problems else "valid"


def _as_json(problems_by_file: dict[Path, list[ConfigProblem]]) -> list[JsonValue]:
    return [
        {
            "file": shown_path(path),
            "valid": not problems,
            "problems": [{"line": problem.line, "message": problem.message} for problem in problems],
        }
        for path, problems in problems_by_file.items()
    ]


def _shown(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
