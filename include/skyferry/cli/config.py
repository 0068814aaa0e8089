"""The commands `transfer config ...`: look at the configuration folder and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, JsonValue

from skyferry.cli.output import say, write_json, write_table, write_text
from skyferry.config_folder import read_model
from skyferry.defaults import Defaults, defaults_file
from skyferry.reference import route_schema_text
from skyferry.routes import Route, find_route, load_routes, routes_folder
from skyferry.yaml_document import ConfigProblem, shown_path

_INVALID = 2

app = typer.Typer(
    help="Look at routes and defaults, and check them.",
    epilog="Example: transfer config validate",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


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
def show(
    route_id: Annotated[str, typer.Argument(metavar="ID", help="The route's id.")], *, as_json: AsJson = False
) -> None:
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
