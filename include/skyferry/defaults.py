"""The defaults of an installation: what requests may use, and where runs keep their state."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from skyferry.config_folder import absolute_url, config_folder, project_folder, read_model
from skyferry.errors import RequestError, RouteConfigError
from skyferry.request import CONN_ID_PATTERN, DEFAULT_CONN_IDS
from skyferry.urls import parse_location
from skyferry.validation_text import reason_error
from skyferry.yaml_document import shown_path

LOCAL_ROOTS_VARIABLE = "SKYFERRY_LOCAL_ROOTS"
"""Environment variable with more local roots, separated like PATH."""


class Defaults(BaseModel):
    """What holds for every transfer of this installation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, title="Skyferry defaults")

    state_url: str = Field(
        default="",
        title="State",
        description="Where runs keep manifests and receipts. Empty: a folder beside AIRFLOW_HOME, which is enough while"
        " all workers run on one machine. Otherwise the URL of a bucket they all reach.",
        examples=["s3://platform-state/skyferry/"],
        json_schema_extra={"expected": "a URL such as s3://bucket/prefix, or nothing"},
    )
    state_conn_id: str = Field(
        default="",
        title="Connection for the state",
        description="Id of the Airflow connection for `state_url`; empty for the default one.",
        examples=["aws_platform"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": "the id of an Airflow connection, or nothing"},
    )
    local_roots: tuple[str, ...] = Field(
        default=(),
        title="Local roots",
        description="The only local folders transfers may read or write, with all that is below them: absolute, or"
        " relative to the project folder. The environment variable SKYFERRY_LOCAL_ROOTS adds to them.",
        examples=[["exchange", "/srv/exchange"]],
        strict=False,
        json_schema_extra={"expected": "a list of folders"},
    )
    connections: tuple[str, ...] = Field(
        default=tuple(conn_id for conn_id in DEFAULT_CONN_IDS.values() if conn_id),
        title="Connections",
        description="The Airflow connections an on-demand request may use. A route may use any connection for its own"
        " source and destination.",
        examples=[["aws_default", "wasb_default"]],
        strict=False,
        json_schema_extra={"expected": "a list of ids of Airflow connections"},
    )

    provision_connections: dict[str, str] = Field(
        default_factory=dict,
        title="Connections that provision",
        description="Id of a route's connection to the id of the one that `transfer provision` uses in its place: one"
        " with the rights to create things, which transfers need not have. For those not named their own is used.",
        examples=[{"aws_shop": "aws_shop_admin"}],
        json_schema_extra={"expected": "a group of ids of Airflow connections"},
    )

    @field_validator("state_url", mode="after")
    @classmethod
    def _in_one_spelling(cls, value: str) -> str:
        try:
            return parse_location(absolute_url(value), what="").url if value else ""
        except RequestError as error:
            raise reason_error(str(error).strip()) from error

    @field_validator("local_roots", mode="after")
    @classmethod
    def _absolute(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not all(values):
            raise reason_error('found "", an empty name of a folder; expected a list of folders')
        return tuple(os.path.normpath(project_folder() / value) for value in values)


def defaults_file() -> Path:
    """Return the path of the file with the defaults."""
    return config_folder() / "defaults.yaml"


def load_defaults() -> Defaults:
    """Return the configuration folder's defaults with SKYFERRY_LOCAL_ROOTS added; without a file the built-in ones.

    Raises:
        RouteConfigError: All that is wrong with the file, one `file:line: field: ...` after the other.
    """
    path = defaults_file()
    defaults, problems = read_model(path, Defaults) if path.exists() else (Defaults(), [])
    if defaults is None:
        raise RouteConfigError("; ".join(str(problem) for problem in problems))
    named = os.environ.get(LOCAL_ROOTS_VARIABLE, "").split(os.pathsep)
    added = [os.path.normpath(Path(root).absolute()) for root in named if root]
    return defaults.model_copy(update={"local_roots": tuple(dict.fromkeys((*defaults.local_roots, *added)))})


def check_local_root(folder: str, roots: Sequence[str]) -> None:
    """Return if a local folder lies in one of the roots, once all symbolic links are followed.

    A folder that does not exist yet is judged by the part of its path that does. The answer holds for now: the local
    store keeps watch while it works.

    Args:
        folder: Absolute path.
        roots: `Defaults.local_roots`.

    Raises:
        RequestError: It does not; the message names the roots and the file that lists them.
    """
    resolved = Path(os.path.realpath(folder))
    if any(resolved.is_relative_to(os.path.realpath(root)) for root in roots):
        return
    leads = f" (which leads to {resolved})" if str(resolved) != os.path.normpath(folder) else ""
    raise RequestError(
        f"local folder file://{folder}{leads} is outside the allowed roots; allowed: {', '.join(roots) or 'none'}",
        hint=f"use a folder below them, or add it to local_roots in {shown_path(defaults_file())}; nothing was changed",
    )
