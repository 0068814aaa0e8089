"""The configuration folder: where it is, and how a file in it becomes a model or a list of problems.

    include/config/
    ├── defaults.yaml          what requests may use: local folders, connections; where runs keep their state
    ├── route.schema.json      generated; editors complete and check route files with it
    └── routes/<id>.yaml       the route <id>, whose DAG is transfer__<id>

No secret is ever in these files, only connection ids.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from skyferry.validation_text import field_location, problem_text
from skyferry.yaml_document import ConfigProblem, YamlDocument, YamlError, read_yaml_file, shown_path

CONFIG_VARIABLE = "SKYFERRY_CONFIG"
"""Environment variable that names another configuration folder than the checkout's."""

PROJECT_FILE_PREFIX = "file:./"
"""What a URL in the configuration begins with to mean a folder below the project folder."""

_Model = TypeVar("_Model", bound=BaseModel)


def project_folder() -> Path:
    """Return the folder of the checkout, which relative folders in the configuration start from."""
    return Path(__file__).resolve().parents[2]


def config_folder() -> Path:
    """Return the configuration folder: SKYFERRY_CONFIG, or `include/config` of the checkout."""
    return Path(os.environ.get(CONFIG_VARIABLE) or project_folder() / "include" / "config")


def absolute_url(url: str) -> str:
    """Return a URL of the configuration with `file:./folder` made absolute."""
    if not url.startswith(PROJECT_FILE_PREFIX):
        return url
    return f"file://{project_folder()}/{url.removeprefix(PROJECT_FILE_PREFIX)}"


def read_model(path: Path, model: type[_Model]) -> tuple[_Model | None, list[ConfigProblem]]:
    """Return the model of a file, or None and everything that is wrong with it, in the order of the lines.

    The model's validators find the file's name without its suffix as `stem` in their context.
    """
    try:
        document = read_yaml_file(path)
    except YamlError as error:
        return None, [error.problem]
    problems = list(document.problems)
    value: _Model | None = None
    try:
        value = model.model_validate(document.values, context={"stem": path.stem})
    except ValidationError as error:
        problems += _problems_of(error, model, document, file=shown_path(path))
    problems.sort(key=lambda problem: problem.line)
    return (None if problems else value), problems


def _problems_of(
    error: ValidationError, model: type[BaseModel], document: YamlDocument, *, file: str
) -> list[ConfigProblem]:
    problems = []
    for detail in error.errors(include_url=False):
        location = field_location(detail, model)
        is_unknown = detail["type"] == "extra_forbidden"
        name = ".".join(str(part) for part in (location[:-1] if is_unknown else location))
        text = problem_text(detail, model, names_field=False)
        problems.append(ConfigProblem(file, document.line_of(location), f"{name}: {text}" if name else text))
    return problems
