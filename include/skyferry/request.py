"""The request: the parameters of one transfer, checked as a whole before anything is touched.

One model makes everything that shows or takes parameters: the trigger form, REST, the `transfer` command, the values a
route file may hold, and the reference page. Values are never converted: `"12"` is not a number and `"yes"` is not a
boolean, because a wrong guess would move other objects than were meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, cast

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
from pydantic_core import PydanticCustomError

from skyferry.bandwidth import BANDWIDTH_RULE, Bandwidth
from skyferry.errors import RequestError
from skyferry.object_filter import MAX_PATTERNS, ObjectFilter, parse_patterns
from skyferry.selection import MAX_DATA_CHARACTERS, Selection
from skyferry.urls import URL_PATTERN, Kind, Location, ensure_disjoint, parse_location
from skyferry.validation_text import found_text, problem_text, reason_error, unknown_name_text

OnConflict = Literal["replace_if_different", "skip", "replace", "fail"]
Verify = Literal["checksum", "readback"]
Order = Literal["key", "largest_first", "smallest_first"]

MIB = 1024**2
MAX_AGE_SECONDS = 10 * 366 * 24 * 3600
MAX_SIZE_BYTES = 1024**5
MAX_BANDWIDTH_CHARACTERS = 500
ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Route ids: they become part of DAG ids, file names and lineage names."""

CONN_ID_PATTERN = r"^[A-Za-z0-9_#!()./:\\-]{0,200}$"
"""The characters and the length Airflow allows in a connection id; empty means the default connection."""

DEFAULT_CONN_IDS: Mapping[Kind, str] = {
    "s3": "aws_default",
    "az": "wasb_default",
    "gs": "google_cloud_default",
    "file": "",
}
"""The connection used for a kind of URL when none is named; a local folder needs none."""

_MAX_PROBLEMS_SHOWN = 8
_ID_RULE = "1 to 63 lower-case letters, digits, _ and -, beginning with a letter or digit"
_CONN_ID_RULE = "the id of an Airflow connection (at most 200 letters, digits and _-.#!()/:\\), or nothing"
_PATTERNS_RULE = f"a list of at most {MAX_PATTERNS} keys, folders or globs"
_URL_RULE = "a URL such as s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder"


class TransferRequest(BaseModel):
    """What one transfer does: from where, to where, which objects, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, regex_engine="rust-regex")

    id: str = Field(
        default="on-demand",
        title="Name",
        description="Names this transfer in reports, statistics and lineage; a route puts its own id here.",
        examples=["orders_to_lake"],
        pattern=ID_PATTERN,
        json_schema_extra={"section": "What", "expected": _ID_RULE},
    )
    source: str = Field(
        title="Source",
        description="Where the objects are: the URL of a bucket, a container, or a folder in it. Everything below it is"
        " taken, unless `data` says otherwise.",
        examples=["s3://shop-exports/orders/", "file:///srv/exchange/out/"],
        # For the form and REST only: the model's own message is better, and does not repeat a secret.
        json_schema_extra={"section": "What", "expected": _URL_RULE, "pattern": URL_PATTERN},
    )
    destination: str = Field(
        title="Destination",
        description="Where the copies go: a URL like that of the source. An object keeps its name below the source.",
        examples=["az://lake/raw/orders/", "gs://archive/orders/"],
        # For the form and REST only: the model's own message is better, and does not repeat a secret.
        json_schema_extra={"section": "What", "expected": _URL_RULE, "pattern": URL_PATTERN},
    )
    data: str = Field(
        default="",
        title="Data",
        description="Which objects below the source: empty for all of them, a folder (`2026/`), a glob (`**/*.csv`) or"
        " one key (`2026/may.csv`).",
        examples=["2026/", "**/*.csv", "2026/may.csv"],
        max_length=MAX_DATA_CHARACTERS,
        json_schema_extra={"section": "What", "expected": "a key, a folder, a glob, or nothing for everything"},
    )
    include: tuple[str, ...] = Field(
        default=(),
        title="Include",
        description="Only objects that one of these takes: keys, folders or globs as in `data`; empty for all.",
        examples=[["**/*.csv", "2026/"]],
        strict=False,
        max_length=MAX_PATTERNS,
        json_schema_extra={"section": "Which objects", "expected": _PATTERNS_RULE},
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        title="Exclude",
        description="No objects that one of these takes, included or not.",
        examples=[["tmp/", "**/*.part"]],
        strict=False,
        max_length=MAX_PATTERNS,
        json_schema_extra={"section": "Which objects", "expected": _PATTERNS_RULE},
    )
    min_age_seconds: int = Field(
        default=0,
        title="Minimum age in seconds",
        description="Younger objects are skipped, and taken by a later run.",
        examples=[30],
        ge=0,
        le=MAX_AGE_SECONDS,
        json_schema_extra={"section": "Which objects"},
    )
    min_size_bytes: int = Field(
        default=0,
        title="Minimum size in bytes",
        description="Smaller objects are skipped; 1 skips the empty ones.",
        examples=[1],
        ge=0,
        le=MAX_SIZE_BYTES,
        json_schema_extra={"section": "Which objects"},
    )
    max_size_bytes: int | None = Field(
        default=None,
        title="Maximum size in bytes",
        description="Larger objects are skipped; empty for no limit.",
        examples=[5 * 1024 * MIB],
        ge=0,
        le=MAX_SIZE_BYTES,
        json_schema_extra={
            "section": "Which objects",
            "expected": f"a whole number from 0 to {MAX_SIZE_BYTES:,}, or nothing for no limit",
        },
    )
    keep_source: bool = Field(
        default=True,
        alias="copy",
        title="Copy",
        description="On: the source stays as it is. Off: the objects are moved; each is deleted at the source once its"
        " copy is proven equal, and only if it is still the version that was copied.",
        examples=[True],
        json_schema_extra={"section": "How", "expected": "true or false"},
    )
    on_conflict: OnConflict = Field(
        default="replace_if_different",
        title="On conflict",
        description="When the destination already has an object of that name: replace it unless the content is equal"
        " (replace_if_different), leave it (skip), write it again (replace), or count it as an error unless the content"
        " is equal (fail).",
        examples=["skip"],
        json_schema_extra={"section": "How"},
    )
    verify: Verify = Field(
        default="checksum",
        title="Verify",
        description="What proves a copy: the checksum the destination computed, and reading the copy back where it"
        " computes none (checksum); or reading every copy back (readback), which doubles the traffic.",
        examples=["readback"],
        json_schema_extra={"section": "How"},
    )
    dry_run: bool = Field(
        default=False,
        title="Dry run",
        description="Only plan: report what would be copied, skipped and refused, and why. Nothing is written.",
        examples=[True],
        json_schema_extra={"section": "How", "expected": "true or false"},
    )
    create_destination: bool = Field(
        default=False,
        title="Create destination",
        description="Create the destination's bucket, container or folder if it is missing. Off: a missing one is an"
        " error.",
        examples=[True],
        json_schema_extra={"section": "How", "expected": "true or false"},
    )
    source_conn_id: str = Field(
        default="",
        validate_default=True,
        title="Source connection",
        description="Id of the Airflow connection for the source; empty for the default one (aws_default, wasb_default,"
        " google_cloud_default). A local folder needs none.",
        examples=["aws_shop"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"section": "Connections", "expected": _CONN_ID_RULE},
    )
    destination_conn_id: str = Field(
        default="",
        validate_default=True,
        title="Destination connection",
        description="Id of the Airflow connection for the destination; empty for the default one.",
        examples=["azure_lake"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"section": "Connections", "expected": _CONN_ID_RULE},
    )
    max_objects_in_flight: int = Field(
        default=128,
        title="Objects in flight",
        description="How many objects one batch copies at the same time, at most; fewer while a store asks for less.",
        examples=[16],
        ge=1,
        le=256,
        json_schema_extra={"section": "Limits"},
    )
    batch_objects: int = Field(
        default=1000,
        title="Objects in a batch",
        description="How many objects one batch (one task instance) has, at most.",
        examples=[5000],
        ge=1,
        le=100_000,
        json_schema_extra={"section": "Limits"},
    )
    batch_bytes: int = Field(
        default=4096 * MIB,
        title="Bytes in a batch",
        description="How many bytes one batch copies, at most; a larger object is a batch of its own.",
        examples=[1024 * MIB],
        ge=MIB,
        le=1024**5,
        json_schema_extra={"section": "Limits"},
    )

    order: Order = Field(
        default="key",
        title="Order",
        description="Which objects come first: those whose keys come first (key), the largest (largest_first) or the"
        " smallest (smallest_first). Many are under way at the same time, so this is no promise about single objects.",
        examples=["largest_first"],
        json_schema_extra={"section": "Limits"},
    )
    max_bytes_per_second: str = Field(
        default="",
        title="Bandwidth",
        description="How many bytes a second all batches together read, and write, at most: `10M` (K, M, G: powers of"
        " 1,024), or by the time of day in UTC `08:00,10M 18:00,off`, as for rclone's --bwlimit. Empty for no cap.",
        examples=["10M", "08:00,10M 18:00,off"],
        max_length=MAX_BANDWIDTH_CHARACTERS,
        json_schema_extra={"section": "Limits", "expected": BANDWIDTH_RULE},
    )
    max_requests_per_second: int | None = Field(
        default=None,
        title="Requests per second",
        description="How many requests a second all batches together make to each store, at most; empty for as many as"
        " the store takes.",
        examples=[200],
        ge=1,
        le=100_000,
        json_schema_extra={
            "section": "Limits",
            "expected": "a whole number from 1 to 100,000, or nothing for as many as the store takes",
        },
    )
    max_objects: int | None = Field(
        default=None,
        title="Objects in a run",
        description="The run copies no more than this, and leaves the others for the next run; empty for all.",
        examples=[100_000],
        ge=1,
        le=10**9,
        json_schema_extra={
            "section": "Budget of a run",
            "expected": "a whole number from 1 to 1,000,000,000, or nothing for all objects",
        },
    )
    max_bytes: int | None = Field(
        default=None,
        title="Bytes in a run",
        description="The run copies no more than this, but at least one object, and leaves the others for the next run;"
        " empty for all.",
        examples=[1024**4],
        ge=1,
        le=10**18,
        json_schema_extra={
            "section": "Budget of a run",
            "expected": "a whole number from 1 to 1,000,000,000,000,000,000, or nothing for all objects",
        },
    )
    max_seconds: int | None = Field(
        default=None,
        title="Seconds of a run",
        description="After so many seconds the run begins no more objects, and leaves them for the next run; empty for"
        " no end.",
        examples=[3600],
        ge=1,
        le=MAX_AGE_SECONDS,
        json_schema_extra={
            "section": "Budget of a run",
            "expected": f"a whole number from 1 to {MAX_AGE_SECONDS:,}, or nothing for no end",
        },
    )

    @field_validator("source", "destination", mode="after")
    @classmethod
    def _in_one_spelling(cls, value: str, info: ValidationInfo) -> str:
        try:
            return parse_location(value, what=str(info.field_name)).url
        except RequestError as error:
            raise _as_problem(error) from error

    @field_validator("data", mode="after")
    @classmethod
    def _is_selection(cls, value: str) -> str:
        try:
            return Selection.parse(value).data
        except RequestError as error:
            raise _as_problem(error) from error

    @field_validator("max_bytes_per_second", mode="after")
    @classmethod
    def _is_bandwidth(cls, value: str) -> str:
        try:
            Bandwidth.parse(value)
        except RequestError as error:
            raise _as_problem(error) from error
        return value

    @field_validator("include", "exclude", mode="after")
    @classmethod
    def _are_patterns(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Airflow's form sends "" for an empty line, and whoever left one there did not mean everything.
        patterns = tuple(value for value in values if value)
        try:
            parse_patterns(patterns, what=str(info.field_name))
        except RequestError as error:
            raise _as_problem(error) from error
        return patterns

    @field_validator("source_conn_id", "destination_conn_id", mode="after")
    @classmethod
    def _default_connection(cls, value: str, info: ValidationInfo) -> str:
        side = str(info.field_name).removesuffix("_conn_id")
        if side not in info.data:
            return value
        kind = parse_location(info.data[side], what=side).kind
        if kind == "file" and value:
            raise _as_problem(
                RequestError(f"{info.field_name} is set, but the {side} is a local folder, which needs no connection")
            )
        return value or DEFAULT_CONN_IDS[kind]

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        try:
            self.object_filter  # noqa: B018 - making it checks the sizes against each other
        except RequestError as error:
            raise _as_problem(error) from error
        return self

    @model_validator(mode="after")
    def _does_not_feed_itself(self) -> Self:
        try:
            ensure_disjoint(
                self.source_location,
                self.destination_location,
                same_connection=self.source_conn_id == self.destination_conn_id,
            )
        except RequestError as error:
            raise _as_problem(error) from error
        return self

    @property
    def source_location(self) -> Location:
        """The source, parsed."""
        return parse_location(self.source, what="source")

    @property
    def destination_location(self) -> Location:
        """The destination, parsed."""
        return parse_location(self.destination, what="destination")

    @property
    def selection(self) -> Selection:
        """The objects `data` means."""
        return Selection.parse(self.data)

    @property
    def bandwidth(self) -> Bandwidth:
        """What `max_bytes_per_second` means."""
        return Bandwidth.parse(self.max_bytes_per_second)

    @property
    def object_filter(self) -> ObjectFilter:
        """What `data`, `include`, `exclude`, the minimum age and the sizes mean together."""
        return ObjectFilter(
            data=self.data,
            include=self.include,
            exclude=self.exclude,
            min_age_seconds=self.min_age_seconds,
            min_size_bytes=self.min_size_bytes,
            max_size_bytes=self.max_size_bytes,
        )

    def to_conf(self) -> dict[str, JsonValue]:
        """Return the request as `dag_run.conf` holds it; `request_from_conf` gives it back."""
        return self.model_dump(mode="json", by_alias=True)


def request_from_conf(conf: Mapping[str, object] | None) -> TransferRequest:
    """Return the request a `dag_run.conf` holds, or one error that names all that is wrong with it.

    A parameter that may hold nothing (a text, a list, a bound) may be null, which is what Airflow's form sends for a
    field that was emptied; it then has its default. Takes time in proportion to the conf, and no more memory than it
    has already.

    Raises:
        RequestError: Each wrong field with what was expected and found; values are shortened, connection ids not shown.
    """
    if conf is None:
        conf = {}
    if not isinstance(conf, Mapping):
        raise RequestError(f"the parameters are {found_text(conf)}; expected an object of names and values")
    names = parameter_names()
    unknown = [name for name in conf if name not in names]
    problems = [unknown_name_text(name, names) for name in unknown[:_MAX_PROBLEMS_SHOWN]]
    emptied = {name for name in _nullable_names() if conf.get(name) is None}
    known = {name: conf[name] for name in names if name in conf and name not in emptied}
    try:
        request = TransferRequest.model_validate(known)
    except ValidationError as error:
        problems += [problem_text(detail, TransferRequest) for detail in error.errors(include_url=False)]
    else:
        if not unknown:
            return request
    raise RequestError(_join_problems(problems, count=len(problems) + max(0, len(unknown) - _MAX_PROBLEMS_SHOWN)))


def parameter_names() -> tuple[str, ...]:
    """Return the names of all parameters, in the order forms and references show them."""
    return tuple(field.alias or name for name, field in TransferRequest.model_fields.items())


def params_schema() -> dict[str, dict[str, JsonValue]]:
    """Return for each parameter its JSON schema, as Airflow's Params take it: `Param(default, **schema)`.

    Holds type, title, description, section, and enum, examples, items, minimum, maximum, pattern, maxLength, maxItems
    where they apply. What may hold nothing may be null: Airflow's form sends null for an empty field, and calls a field
    required that cannot be.
    """
    properties = cast("dict[str, dict[str, JsonValue]]", TransferRequest.model_json_schema()["properties"])
    schemas: dict[str, dict[str, JsonValue]] = {}
    for name in parameter_names():
        schema = {key: value for key, value in _flat(properties[name]).items() if key not in {"default", "expected"}}
        if name in _nullable_names():
            schema["type"] = [schema["type"], "null"]
        schemas[name] = schema
    return schemas


def params_defaults() -> dict[str, JsonValue]:
    """Return the default of each parameter that has one; `source` and `destination` have none."""
    return {
        field.alias or name: list(field.default) if isinstance(field.default, tuple) else field.default
        for name, field in TransferRequest.model_fields.items()
        if not field.is_required()
    }


def _nullable_names() -> tuple[str, ...]:
    """Return the parameters that may hold nothing: optional texts, and what is empty or 0 unless it is given."""
    return tuple(
        field.alias or name
        for name, field in TransferRequest.model_fields.items()
        if not field.is_required()
        and (field.annotation is str or (field.annotation is not bool and field.default in ((), 0, None)))
    )


def _flat(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the schema of a value that may be null as if it might not; Airflow's form reads no `anyOf`."""
    branches = cast("list[dict[str, JsonValue]]", schema.get("anyOf", [{}]))
    return {key: value for key, value in schema.items() if key != "anyOf"} | branches[0]


def _as_problem(error: RequestError) -> PydanticCustomError:
    return reason_error(str(error).removesuffix("; nothing was changed"))


def _join_problems(problems: list[str], *, count: int) -> str:
    shown = problems[:_MAX_PROBLEMS_SHOWN]
    more = f"; and {count - len(shown):,} more" if count > len(shown) else ""
    lead = (
        "the transfer was not started"
        if count == 1
        else f"the transfer was not started, {count:,} parameters are wrong"
    )
    return f"{lead}: {'; '.join(shown)}{more}"
