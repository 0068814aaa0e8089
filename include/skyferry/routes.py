"""Routes: the named rules source -> destination, one YAML file each, and what is wrong with those that are none.

A file that is wrong never takes others down: loading a folder returns the good routes and the problems of the others,
each with file, line, field, what was found and what was expected.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast

from croniter import croniter  # type: ignore[import-untyped]
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from skyferry.config_folder import absolute_url, config_folder, read_model
from skyferry.errors import RequestError, RouteConfigError, UnknownRouteError
from skyferry.object_filter import ObjectFilter, parse_patterns
from skyferry.request import (
    CONN_ID_PATTERN,
    ID_PATTERN,
    OnConflict,
    TransferRequest,
    Verify,
    params_schema,
)
from skyferry.selection import Selection
from skyferry.urls import URL_PATTERN, parse_location
from skyferry.validation_text import problem_text, reason_error
from skyferry.yaml_document import ConfigProblem, shown_path

SCHEDULE_PRESETS = (
    "@once",
    "@continuous",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@quarterly",
    "@yearly",
)
_SCHEDULE_RULE = (
    'a cron expression of five fields such as "0 5 * * *", one of ' + ", ".join(SCHEDULE_PRESETS) + ", or none"
)
_URL_RULE = (
    "a URL such as s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder, or file:./folder"
    " (below the project folder)"
)
_MODEL = ConfigDict(frozen=True, extra="forbid", strict=True)
_SCHEMAS = params_schema()


def _like_parameter(name: str) -> FieldInfo:
    """Return the field of a route that holds a parameter of the request: the same texts, bounds and default."""
    schema = _SCHEMAS[name]
    parameter = next(field for key, field in TransferRequest.model_fields.items() if (field.alias or key) == name)
    extra = parameter.json_schema_extra if isinstance(parameter.json_schema_extra, dict) else {}
    expected = {key: value for key, value in extra.items() if key == "expected"}
    return cast(
        "FieldInfo",
        Field(
            default=parameter.default,
            title=cast("str", schema["title"]),
            description=cast("str", schema["description"]),
            examples=cast("list[JsonValue]", schema["examples"]),
            ge=cast("int | None", schema.get("minimum")),
            le=cast("int | None", schema.get("maximum")),
            max_length=cast("int | None", schema.get("maxLength", schema.get("maxItems"))),
            strict=False if isinstance(parameter.default, tuple) else None,
            json_schema_extra=expected or None,
        ),
    )


class _Place(BaseModel):
    """One side of a route: a URL and the connection that opens it."""

    model_config = _MODEL

    url: str = Field(
        title="URL",
        description="A bucket, a container, or a folder in it. `file:./folder` is a folder below the project folder.",
        examples=["s3://shop-exports/orders/", "file:./exchange/outgoing/"],
        json_schema_extra={"expected": _URL_RULE, "pattern": rf"{URL_PATTERN}|^file:\./"},
    )
    conn_id: str = Field(
        default="",
        title="Connection",
        description="Id of the Airflow connection; empty for the default one (aws_default, wasb_default,"
        " google_cloud_default). A local folder needs none.",
        examples=["aws_shop"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": "the id of an Airflow connection, or nothing"},
    )

    @field_validator("url", mode="after")
    @classmethod
    def _in_one_spelling(cls, value: str) -> str:
        try:
            return parse_location(absolute_url(value), what="").url
        except RequestError as error:
            raise reason_error(str(error).strip()) from error

    @model_validator(mode="after")
    def _connection_fits(self) -> Self:
        if self.conn_id and parse_location(self.url).kind == "file":
            raise reason_error("conn_id is set, but a local folder needs no connection")
        return self


class RouteSource(_Place):
    """Where a route takes objects from."""


class RouteDestination(_Place):
    """Where a route puts them."""

    create: bool = Field(
        default=False,
        title="Create",
        description="Create the bucket, container or folder if it is missing. Off: a missing one is an error.",
        examples=[True],
        json_schema_extra={"expected": "true or false"},
    )


class RouteSelect(BaseModel):
    """Which objects below the source a route takes, beside what `data` says."""

    model_config = _MODEL

    include: tuple[str, ...] = _like_parameter("include")  # type: ignore[assignment]
    exclude: tuple[str, ...] = _like_parameter("exclude")  # type: ignore[assignment]
    min_age_seconds: int = _like_parameter("min_age_seconds")  # type: ignore[assignment]
    min_size_bytes: int = _like_parameter("min_size_bytes")  # type: ignore[assignment]
    max_size_bytes: int | None = _like_parameter("max_size_bytes")  # type: ignore[assignment]

    @field_validator("include", "exclude", mode="after")
    @classmethod
    def _are_patterns(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        try:
            parse_patterns(values, what=str(info.field_name))
        except RequestError as error:
            raise reason_error(str(error)) from error
        return values

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        try:
            ObjectFilter(**self.model_dump())
        except RequestError as error:
            raise reason_error(str(error)) from error
        return self


class RouteCopy(BaseModel):
    """How a route copies."""

    model_config = _MODEL

    keep_source: bool = Field(
        default=True,
        title="Keep the source",
        description="true copies; false moves: each object is deleted at the source once its copy is proven equal, and"
        " only if it is still the version that was copied.",
        examples=[False],
        json_schema_extra={"expected": "true or false"},
    )
    on_conflict: OnConflict = _like_parameter("on_conflict")  # type: ignore[assignment]
    verify: Verify = _like_parameter("verify")  # type: ignore[assignment]


class RouteLimits(BaseModel):
    """How much a route does at the same time."""

    model_config = _MODEL

    max_objects_in_flight: int = _like_parameter("max_objects_in_flight")  # type: ignore[assignment]
    batch_objects: int = _like_parameter("batch_objects")  # type: ignore[assignment]
    batch_bytes: int = _like_parameter("batch_bytes")  # type: ignore[assignment]


class Route(BaseModel):
    """A named rule: from where to where, which objects, when and how."""

    model_config = ConfigDict(**_MODEL, regex_engine="rust-regex", title="A Skyferry route")

    id: str = Field(
        title="Id",
        description="The name of the route; its file is `<id>.yaml`, its DAG `transfer__<id>`.",
        examples=["orders_to_lake"],
        pattern=ID_PATTERN,
        json_schema_extra={"expected": "1 to 63 lower-case letters, digits, _ and -, beginning with a letter or digit"},
    )
    description: str = Field(
        default="",
        title="Description",
        description="What the route is for, and whom to ask; shown beside the DAG.",
        examples=["Yesterday's orders for the reporting team"],
        max_length=500,
        json_schema_extra={"expected": "a text of at most 500 characters"},
    )
    source: RouteSource = Field(title="Source", description="Where the objects are.")
    destination: RouteDestination = Field(title="Destination", description="Where the copies go.")
    data: str = _like_parameter("data")  # type: ignore[assignment]
    select: RouteSelect = Field(
        default_factory=RouteSelect, title="Select", description="Which of them by name, age and size."
    )
    schedule: str | None = Field(
        default=None,
        title="Schedule",
        description="When the route runs by itself, in UTC: a cron expression of five fields or a preset. none: only"
        " when it is started.",
        examples=["0 5 * * *", "@hourly", "none"],
        json_schema_extra={"expected": _SCHEDULE_RULE},
    )
    copying: RouteCopy = Field(
        default_factory=RouteCopy, alias="copy", title="Copy", description="How objects are copied."
    )
    limits: RouteLimits = Field(
        default_factory=RouteLimits, title="Limits", description="How much is done at the same time."
    )

    @field_validator("id", mode="after")
    @classmethod
    def _is_name_of_file(cls, value: str, info: ValidationInfo) -> str:
        stem = (info.context or {}).get("stem", value)
        if value != stem:
            raise reason_error(f'found "{value}"; expected the name of the file, "{stem}"')
        return value

    @field_validator("data", mode="after")
    @classmethod
    def _is_selection(cls, value: str) -> str:
        try:
            return Selection.parse(value).data
        except RequestError as error:
            raise reason_error(str(error).removeprefix("data ")) from error

    @field_validator("schedule", mode="after")
    @classmethod
    def _is_schedule(cls, value: str | None) -> str | None:
        if value is None or value == "none":
            return None
        if not _is_schedule(value):
            close = difflib.get_close_matches(value[:40], SCHEDULE_PRESETS, n=1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise reason_error(f'found "{value[:80]}"; expected {_SCHEDULE_RULE}{hint}')
        return value

    @model_validator(mode="after")
    def _makes_a_request(self) -> Self:
        try:
            self.request()
        except ValidationError as error:
            raise reason_error(problem_text(error.errors()[0], TransferRequest)) from error
        return self

    def request(self) -> TransferRequest:
        """Return the request a run of this route starts with."""
        return TransferRequest(
            id=self.id,
            source=self.source.url,
            source_conn_id=self.source.conn_id,
            destination=self.destination.url,
            destination_conn_id=self.destination.conn_id,
            create_destination=self.destination.create,
            data=self.data,
            **self.select.model_dump(),
            copy=self.copying.keep_source,
            on_conflict=self.copying.on_conflict,
            verify=self.copying.verify,
            max_objects_in_flight=self.limits.max_objects_in_flight,
            batch_objects=self.limits.batch_objects,
            batch_bytes=self.limits.batch_bytes,
        )


def routes_folder() -> Path:
    """Return the folder of the route files."""
    return config_folder() / "routes"


def load_route(path: Path) -> Route:
    """Return the route of one file.

    Raises:
        RouteConfigError: All that is wrong with it, one `file:line: field: ...` after the other.
    """
    route, problems = read_model(path, Route)
    if route is None:
        raise RouteConfigError("; ".join(str(problem) for problem in problems))
    return route


def load_routes(folder: Path | None = None) -> tuple[list[Route], list[ConfigProblem]]:
    """Return the routes of a folder in the order of their ids, and what is wrong with the files that are none.

    Costs about a millisecond a file. A folder that does not exist has no routes.
    """
    routes: list[Route] = []
    problems: list[ConfigProblem] = []
    folder = folder or routes_folder()
    for path in sorted(folder.glob("*.yaml")):
        route, file_problems = read_model(path, Route)
        problems.extend(file_problems)
        if route is not None:
            routes.append(route)
    problems.extend(
        ConfigProblem(shown_path(path), 0, f'route files end in ".yaml"; rename it to {path.stem}.yaml')
        for path in sorted(folder.glob("*.yml"))
    )
    return routes, problems


def find_route(route_id: str, folder: Path | None = None) -> Route:
    """Return the route of this id; reads no other file.

    Raises:
        UnknownRouteError: There is no such file; the message names the nearest id and all there are.
        RouteConfigError: Its file is wrong.
    """
    folder = folder or routes_folder()
    known = route_ids(folder)
    if route_id not in known:
        close = difflib.get_close_matches(route_id[:80], known, n=1)
        meant = f'; did you mean "{close[0]}"?' if close else "."
        listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "") if known else "none"
        raise UnknownRouteError(f'no route "{route_id[:80]}"{meant} Known routes: {listed}. See: transfer config list')
    return load_route(folder / f"{route_id}.yaml")


def route_ids(folder: Path | None = None) -> list[str]:
    """Return the ids of all route files, good or wrong, without opening them."""
    return sorted(path.stem for path in (folder or routes_folder()).glob("*.yaml"))


def _is_schedule(text: str) -> bool:
    if text in SCHEDULE_PRESETS:
        return True
    # croniter also takes seconds, years and random fields (R), which would give another schedule at each parse.
    is_plain = len(text) <= 100 and len(text.split()) == 5 and not _has_random_field(text)
    if not is_plain or not croniter.is_valid(text):
        return False
    return _fires(lambda: croniter(text).get_next(float))


def _has_random_field(text: str) -> bool:
    return any(field[:1] in {"R", "r", "H", "h"} for field in text.split())


def _fires(next_time: Callable[[], object]) -> bool:
    try:
        next_time()
    except ValueError:  # 31 February
        return False
    return True
