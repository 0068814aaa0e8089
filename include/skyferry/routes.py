"""Routes: the named rules source -> destination, one YAML file each, and what is wrong with those that are none.

A file that is wrong never takes others down: loading a folder returns the good routes and the problems of the others,
each with file, line, field, what was found and what was expected.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Self, cast

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

from skyferry.bandwidth import Bandwidth
from skyferry.config_folder import absolute_url, config_folder, read_model
from skyferry.detect.settled_files import DEFAULT_SETTLE_SECONDS
from skyferry.errors import RequestError, RouteConfigError, UnknownRouteError
from skyferry.handover import Handover, Notify
from skyferry.object_filter import ObjectFilter, parse_patterns
from skyferry.provisioning.settings import Provision
from skyferry.queue_groups import group_by_queue
from skyferry.receipts_index.settings import ReceiptsIndex
from skyferry.request import (
    CONN_ID_PATTERN,
    DEFAULT_CONN_IDS,
    ID_PATTERN,
    OnConflict,
    Order,
    TransferRequest,
    Verify,
    params_schema,
)
from skyferry.route_detection import DETECT_RULE, Detect, DetectFiles, DetectQueue
from skyferry.route_schedule import (
    CONTINUOUS,
    DEFAULT_BACKSTOP,
    EVENT,
    SCHEDULE_RULE,
    TIMES_RULE,
    schedule_from,
    times_from,
)
from skyferry.selection import Selection
from skyferry.then_steps import THEN_RULE, BigQueryLoadStep, Then
from skyferry.urls import URL_PATTERN, parse_location
from skyferry.validation_text import problem_text, reason_error
from skyferry.yaml_document import ConfigProblem, read_yaml_file, shown_path

_URL_RULE = (
    "a URL such as s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder, or file:./folder"
    " (below the project folder)"
)
_NAME_RULE = "1 to 200 letters, digits, _, - and ., or nothing"
_NAME_PATTERN = r"^[A-Za-z0-9_.-]{0,200}$"
_FOLDER_RULE = "a local folder: file:./folder (below the project folder) or file:///folder"
_FOLDER_PATTERN = r"^(file:\./[^?#]*|file:///[^?#]*)?$"
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

    claim: str = Field(
        default="",
        title="Claim",
        description="A local source only: settled files are first moved into this folder, and copied from there. A file"
        " that is still in it after a run that died is taken up by the next one. Created if it is missing; on the file"
        " system of the source.",
        examples=["file:./exchange/QueuedForUpload/"],
        json_schema_extra={"expected": _FOLDER_RULE, "pattern": _FOLDER_PATTERN},
    )
    done: str = Field(
        default="",
        title="Done",
        description="A local source only: each file is moved into this folder once its copy is proven equal, and told"
        " of, instead of being kept or deleted. A name that is taken there gets a number. Created if it is missing; on"
        " the file system of the source.",
        examples=["file:./exchange/UploadedToS3/"],
        json_schema_extra={"expected": _FOLDER_RULE, "pattern": _FOLDER_PATTERN},
    )

    @field_validator("claim", "done", mode="after")
    @classmethod
    def _is_folder(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            return value
        try:
            location = parse_location(absolute_url(value), what="")
        except RequestError as error:
            raise reason_error(str(error).strip()) from error
        if location.kind != "file" or parse_location(info.data.get("url", location.url)).kind != "file":
            raise reason_error("is for local folders: only a file can be moved aside by a rename")
        return location.url


class RouteDestination(_Place):
    """Where a route puts them."""

    create: bool = Field(
        default=False,
        title="Create",
        description="Create the bucket, container or folder if it is missing. Off: a missing one is an error.",
        examples=[True],
        json_schema_extra={"expected": "true or false"},
    )
    notify: Notify | None = Field(
        default=None, title="Notify", description="A queue that gets a message for each object that has arrived."
    )

    @field_validator("notify", mode="after")
    @classmethod
    def _has_the_shape_for_the_store(cls, value: Notify | None, info: ValidationInfo) -> Notify | None:
        url = info.data.get("url", "")
        if value is not None and value.shape == "s3_event" and url and parse_location(url).kind != "s3":
            raise reason_error(f"shape is s3_event, and destination is {url}; expected raw for what is not in S3")
        return value


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
    """How much a route does at the same time, how fast, and in one run."""

    model_config = _MODEL

    max_objects_in_flight: int = _like_parameter("max_objects_in_flight")  # type: ignore[assignment]
    batch_objects: int = _like_parameter("batch_objects")  # type: ignore[assignment]
    batch_bytes: int = _like_parameter("batch_bytes")  # type: ignore[assignment]
    order: Order = _like_parameter("order")  # type: ignore[assignment]
    max_bytes_per_second: str = _like_parameter("max_bytes_per_second")  # type: ignore[assignment]
    max_requests_per_second: int | None = _like_parameter("max_requests_per_second")  # type: ignore[assignment]
    max_objects: int | None = _like_parameter("max_objects")  # type: ignore[assignment]
    max_bytes: int | None = _like_parameter("max_bytes")  # type: ignore[assignment]
    max_seconds: int | None = _like_parameter("max_seconds")  # type: ignore[assignment]

    @field_validator("max_bytes_per_second", mode="after")
    @classmethod
    def _is_bandwidth(cls, value: str) -> str:
        try:
            Bandwidth.parse(value)
        except RequestError as error:
            raise reason_error(str(error).removeprefix("max_bytes_per_second is ")) from error
        return value


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
    detect: Detect | None = Field(
        default=None,
        title="Detect",
        description="How the route notices that its source has something new; for the schedules event and @continuous.",
        json_schema_extra={"expected": DETECT_RULE},
    )
    schedule: str | None = Field(
        default=None,
        title="Schedule",
        description="When the route runs by itself: as soon as there is something new (event), or in UTC at the times"
        " of a cron expression of five fields or a preset. none: only when it is started.",
        examples=["event", "0 5 * * *", "@hourly", "none"],
        json_schema_extra={"expected": SCHEDULE_RULE},
    )
    backstop: str = Field(
        default=DEFAULT_BACKSTOP,
        title="Backstop",
        description="With the schedule event: when the route also runs although nothing was noticed, in UTC.",
        examples=["*/15 * * * *"],
        json_schema_extra={"expected": TIMES_RULE},
    )
    reconcile: str | None = Field(
        default=None,
        title="Reconcile",
        description="With a queue: when the source is listed too, in UTC, to copy what no event told of. none: never.",
        examples=["@daily"],
        json_schema_extra={"expected": f"{TIMES_RULE}, or none"},
    )
    mirror_deletes: bool = Field(
        default=False,
        title="Mirror deletes",
        description="With a queue: an object that is deleted at the source is deleted at the destination too.",
        examples=[True],
        json_schema_extra={"expected": "true or false"},
    )
    max_deletes: int = Field(
        default=100,
        title="Most deletes",
        description="The brake of mirror_deletes: one run deletes no more than this, and fails when there are more.",
        examples=[1000],
        ge=1,
        le=1_000_000,
    )
    copying: RouteCopy = Field(
        default_factory=RouteCopy, alias="copy", title="Copy", description="How objects are copied."
    )
    limits: RouteLimits = Field(
        default_factory=RouteLimits,
        title="Limits",
        description="How much is done at the same time, how fast, and in one run.",
    )
    worker_queue: str = Field(
        default="",
        alias="queue",
        title="Worker queue",
        description="Workers that take all tasks of the route: those that listen to this queue of the CeleryExecutor."
        " Empty for Airflow's default queue.",
        examples=["on_premises"],
        pattern=_NAME_PATTERN,
        json_schema_extra={"expected": _NAME_RULE},
    )
    pool: str = Field(
        default="",
        title="Pool",
        description="The Airflow pool whose slots the tasks that use the stores take, so that all routes with this pool"
        " together run no more of them than it has. Empty for Airflow's default pool.",
        examples=["shop_bucket"],
        pattern=_NAME_PATTERN,
        json_schema_extra={"expected": _NAME_RULE},
    )
    then: tuple[Then, ...] = Field(
        default=(),
        title="Then",
        description="What follows a verified transfer, one step after the other; a step that fails ends the row.",
        strict=False,
        max_length=10,
        json_schema_extra={"expected": THEN_RULE},
    )
    receipts_index: ReceiptsIndex | None = Field(
        default=None,
        title="Receipts index",
        description="A table that receipts are written to as well, so that `transfer receipts` finds the history of an"
        " object.",
    )

    provision: Provision = Field(
        default_factory=Provision,
        title="Provision",
        description="How `transfer provision` makes what is missing around the route.",
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

    @field_validator("detect", mode="after")
    @classmethod
    def _can_look_at_source(cls, value: Detect | None, info: ValidationInfo) -> Detect | None:
        source = info.data.get("source")
        if value is None or source is None:
            return value
        kind = parse_location(source.url).kind
        if isinstance(value, DetectFiles) and kind != "file":
            raise reason_error(f"kind files is for local folders, and source is {source.url}; expected kind objects")
        if isinstance(value, DetectQueue) and kind != "s3":
            raise reason_error(f"kind sqs is for sources in S3, and source is {source.url}")
        if isinstance(value, DetectQueue) and "select" in info.data and info.data["select"].min_age_seconds:
            raise reason_error(
                "kind sqs does not go with select.min_age_seconds: a queue tells of an object only once, as soon as it"
                " is whole"
            )
        return value

    @field_validator("schedule", mode="after")
    @classmethod
    def _is_schedule(cls, value: str | None, info: ValidationInfo) -> str | None:
        schedule = schedule_from(value)
        if schedule in (EVENT, CONTINUOUS) and info.data.get("detect", ...) is None:
            raise reason_error(f"{schedule} needs detect, which says how to notice that there is something new")
        return schedule

    @field_validator("backstop", mode="after")
    @classmethod
    def _is_backstop(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("schedule", EVENT) != EVENT:
            raise reason_error("is for the schedule event; leave it out, or set schedule: event")
        return times_from(value)

    @field_validator("reconcile", mode="after")
    @classmethod
    def _is_reconcile(cls, value: str | None) -> str | None:
        return None if value is None or value == "none" else times_from(value)

    @field_validator("reconcile", "mirror_deletes", "max_deletes", mode="after")
    @classmethod
    def _needs_queue(cls, value: Any, info: ValidationInfo) -> Any:
        if value and "detect" in info.data and not isinstance(info.data["detect"], DetectQueue):
            raise reason_error("needs a queue: detect with kind sqs")
        return value

    @field_validator("copying", mode="after")
    @classmethod
    def _does_not_mirror_its_own_deletes(cls, value: RouteCopy, info: ValidationInfo) -> RouteCopy:
        if not value.keep_source and info.data.get("mirror_deletes"):
            raise reason_error(
                "keep_source is false and mirror_deletes is true: every moved object would be deleted at the"
                " destination too; expected only one of them"
            )
        return value

    @field_validator("then", mode="after")
    @classmethod
    def _loads_what_is_in_gcs(cls, value: tuple[Then, ...], info: ValidationInfo) -> tuple[Then, ...]:
        destination = info.data.get("destination")
        if destination is None or parse_location(destination.url).kind == "gs":
            return value
        if any(isinstance(step, BigQueryLoadStep) for step in value):
            raise reason_error(f"bigquery_load needs a destination in GCS, and destination is {destination.url}")
        return value

    @field_validator("provision", mode="after")
    @classmethod
    def _forwards_what_no_queue_tells(cls, value: Provision, info: ValidationInfo) -> Provision:
        source = info.data.get("source")
        for name in ("forwarder", "gateway"):
            if getattr(value, name) and source is not None and parse_location(source.url).kind != "s3":
                raise reason_error(f"{name} is for sources in S3, and source is {source.url}")
        if value.forwarder is not None and isinstance(info.data.get("detect"), DetectQueue):
            raise reason_error("forwarder does not go with a queue: S3 sends an event to one of them only")
        return value

    @model_validator(mode="after")
    def _makes_a_request(self) -> Self:
        self._check_handover()
        try:
            self.request()
        except ValidationError as error:
            raise reason_error(problem_text(error.errors()[0], TransferRequest)) from error
        return self

    def _check_handover(self) -> None:
        """Refuse what would leave a file where it is for ever, or an arrival untold."""
        source, keeps = self.source, self.copying.keep_source
        if source.done and keeps and "keep_source" in self.copying.model_fields_set:
            raise reason_error("copy.keep_source is true, but source.done moves the files away; leave one of them out")
        if source.claim and keeps and not source.done:
            raise reason_error("source.claim needs source.done, or copy.keep_source: false; expected one of them")
        if self.destination.notify and keeps and not source.done:
            # What is still at the source is what nobody was told of: only so is no message ever lost.
            raise reason_error("destination.notify needs source.done, or copy.keep_source: false; expected one of them")
        if self.destination.notify and self.queue:
            raise reason_error("destination.notify is not for routes that read a queue (detect with kind sqs)")
        try:
            self.handover().check_folders(
                parse_location(source.claim or source.url), parse_location(self.destination.url)
            )
        except RequestError as error:
            raise reason_error(str(error)) from error

    @property
    def queue(self) -> DetectQueue | None:
        """The queue that tells of this route's objects; None when there is none."""
        return self.detect if isinstance(self.detect, DetectQueue) else None

    @property
    def queue_conn_id(self) -> str:
        """Id of the queue's connection; the source's unless the route says otherwise."""
        named = self.queue.conn_id if self.queue is not None else ""
        return named or self.source.conn_id or DEFAULT_CONN_IDS["s3"]

    @property
    def index_conn_id(self) -> str:
        """Id of the connection of the index; the destination's unless the route says otherwise."""
        request = self.request()
        own = request.destination_conn_id if request.destination_location.kind == "s3" else ""
        return (self.receipts_index.conn_id if self.receipts_index else "") or own or DEFAULT_CONN_IDS["s3"]

    @property
    def listing_times(self) -> str | None:
        """When a run of this route begins that lists the source, whether or not something was noticed."""
        if self.queue is not None:
            return self.reconcile
        return {EVENT: self.backstop, CONTINUOUS: None}.get(self.schedule or "", self.schedule)

    def request(self) -> TransferRequest:
        """Return the request a run of this route starts with."""
        return TransferRequest(
            id=self.id,
            source=self.source.claim or self.source.url,
            source_conn_id=self.source.conn_id,
            destination=self.destination.url,
            destination_conn_id=self.destination.conn_id,
            create_destination=self.destination.create,
            data=self.data,
            **self.select.model_dump(),
            copy=self.copying.keep_source and not self.source.done,
            on_conflict=self.copying.on_conflict,
            verify=self.copying.verify,
            **self.limits.model_dump(),
        )

    def handover(self) -> Handover:
        """Return what happens to the route's objects beside the copy."""
        handover = Handover(done=self.source.done, notify=self.destination.notify)
        if not self.source.claim:
            return handover
        files = self.detect if isinstance(self.detect, DetectFiles) else None
        return handover.model_copy(
            update={
                "watched": self.source.url,
                "settle_seconds": files.settle_seconds if files else int(DEFAULT_SETTLE_SECONDS),
                "done_suffix": files.done_suffix if files else "",
            }
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
    routes, disagreements = _agreeing_about_queues(routes, folder)
    problems.extend(disagreements)
    problems.extend(
        ConfigProblem(shown_path(path), 0, f'route files end in ".yaml"; rename it to {path.stem}.yaml')
        for path in sorted(folder.glob("*.yml"))
    )
    return routes, problems


def _agreeing_about_queues(routes: list[Route], folder: Path) -> tuple[list[Route], list[ConfigProblem]]:
    """Leave out routes that share a queue with another and say something else about it."""
    _, disagreements = group_by_queue(routes)
    problems = []
    for one in disagreements:
        path = folder / f"{one.route.id}.yaml"
        line = read_yaml_file(path).line_of(tuple(one.field.split(".")))
        problems.append(ConfigProblem(shown_path(path), line, one.text))
    left_out = {one.route.id for one in disagreements}
    return [route for route in routes if route.id not in left_out], problems


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
