"""Route files are written and removed: checked first, whole or not at all, and never over another one by accident."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from skyferry.config_folder import read_model
from skyferry.errors import RouteConfigError, RouteExistsError
from skyferry.queue_groups import group_by_queue
from skyferry.request import ID_PATTERN
from skyferry.routes import Route, find_route, load_routes, route_ids, routes_folder
from skyferry.yaml_document import ConfigProblem, read_yaml_file, shown_path

_FILE_MODE = 0o644


def check_route(route_id: str, text: str) -> tuple[Route | None, list[ConfigProblem]]:
    """Return the route that a file `<route_id>.yaml` with this text would be, or all that is wrong with it.

    Nothing is kept. Texts above 64 KiB are refused. A route that shares a queue with a registered one has to say the
    same about it.

    Raises:
        RouteConfigError: The id cannot be one.
    """
    _check_id(route_id)
    with tempfile.TemporaryDirectory() as folder:
        return _read(_write(Path(folder), route_id, text), named=Path(f"{route_id}.yaml"), beside=routes_folder())


def register_route(route_id: str, text: str, *, replace_existing: bool = False, folder: Path | None = None) -> Route:
    """Write a route's file and return the route; Airflow finds it within its refresh interval.

    Whoever reads the file meanwhile sees the old text or the new one. Two that register one id at the same time: one
    of them gets the error.

    Args:
        text: What the file is to hold; comments stay.
        replace_existing: There may be a route of this id already.

    Raises:
        RouteConfigError: The id or the text is none of a route, it says something else of its queue than another route
            does, or the folder cannot be written; nothing was changed.
        RouteExistsError: There is a route of this id, and nobody said that it may be replaced.
    """
    _check_id(route_id)
    file = _file(route_id, folder)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Beside the routes, where nothing reads it: a link needs the same file system.
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".new-") as beside:
            written = _write(Path(beside), route_id, text)
            route, problems = _read(written, named=file, beside=file.parent)
            if route is None:
                raise RouteConfigError("; ".join(str(problem) for problem in problems))
            if replace_existing:
                written.replace(file)
            else:
                os.link(written, file)
    except FileExistsError as error:
        raise RouteExistsError(
            f'there is a route "{route_id}" already, in {shown_path(file)}; it was not changed',
            hint="choose another id, or say that it is to be replaced",
        ) from error
    except OSError as error:
        raise _unwritable(file, error) from error
    return route


def remove_route(route_id: str, *, folder: Path | None = None) -> None:
    """Delete a route's file, good or wrong; its runs stay in Airflow.

    Raises:
        UnknownRouteError: There is no such file; the message names the nearest id.
        RouteConfigError: It cannot be deleted.
    """
    file = _file(route_id, folder)
    if route_id not in route_ids(folder):
        find_route(route_id, folder)  # raises, and says which routes there are
    try:
        file.unlink()
    except OSError as error:
        raise _unwritable(file, error) from error


def _check_id(route_id: str) -> None:
    if not re.fullmatch(ID_PATTERN, route_id):
        raise RouteConfigError(
            f'"{route_id[:80]}" cannot be the id of a route; expected 1 to 63 lower-case letters, digits, _ and -,'
            " beginning with a letter or digit"
        )


def _file(route_id: str, folder: Path | None) -> Path:
    return (folder or routes_folder()) / f"{route_id}.yaml"


def _write(folder: Path, route_id: str, text: str) -> Path:
    file = folder / f"{route_id}.yaml"
    # Half a surrogate pair has no UTF-8; as a question mark it is an error of the route like any other.
    with file.open("w", encoding="utf-8", errors="replace", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    file.chmod(_FILE_MODE)
    return file


def _read(file: Path, *, named: Path, beside: Path) -> tuple[Route | None, list[ConfigProblem]]:
    route, problems = read_model(file, Route)
    if route is not None:
        problems = _disagreements(route, file, beside)
        route = None if problems else route
    return route, [replace(problem, file=shown_path(named)) for problem in problems]


def _disagreements(route: Route, file: Path, folder: Path) -> list[ConfigProblem]:
    """Return where a route says something else of its queue than the registered routes that read it too."""
    if route.queue is None:
        return []
    others = [each for each in load_routes(folder)[0] if each.id != route.id]
    _, found = group_by_queue([*others, route])
    document = read_yaml_file(file)
    return [
        ConfigProblem(
            file.name,
            document.line_of(tuple(one.field.split("."))),
            one.text
            if one.route.id == route.id
            else f"{one.field} is not what {one.route.id}.yaml says, which reads the same queue",
        )
        for one in found
    ][:1]


def _unwritable(file: Path, error: OSError) -> RouteConfigError:
    return RouteConfigError(
        f"{shown_path(file)} cannot be written: {error.strerror}; nothing was changed",
        hint="this process needs the right to write the folder of the routes",
    )
