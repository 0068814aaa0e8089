"""What follows a verified transfer: the kinds of step under `then` in a route file.

Only a route file may say so, for the reason `skyferry.handover` has: who may merely start a transfer must not choose
who is told of it, or which table is written.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from skyferry.request import CONN_ID_PATTERN
from skyferry.route_detection import QUEUE_URL_PATTERN, QUEUE_URL_RULE, checked_queue_url
from skyferry.validation_text import reason_error

_MODEL = ConfigDict(frozen=True, extra="forbid", strict=True, regex_engine="rust-regex")
_CONN_ID = "the id of an Airflow connection"

LoadFormat = Literal["csv", "json", "avro", "parquet", "orc"]
WriteMode = Literal["append", "replace", "empty"]


class _Step(BaseModel):
    """What all steps have."""

    model_config = _MODEL

    only_if_copied: bool = Field(
        default=True,
        title="Only if copied",
        description="Skip the step when the run copied nothing.",
        examples=[False],
        json_schema_extra={"expected": "true or false"},
    )


class WebhookStep(_Step):
    """The report goes to an HTTP endpoint as JSON; see `operators.then_webhook`."""

    kind: Literal["webhook"] = Field(title="Kind", description="POST the report to an endpoint.", examples=["webhook"])
    conn_id: str = Field(
        title="Connection",
        description="Id of the Airflow connection of type http: host, login or headers of the endpoint.",
        examples=["http_catalogue"],
        min_length=1,
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": _CONN_ID},
    )
    path: str = Field(
        default="",
        title="Path",
        description="Path of the endpoint below the connection's host.",
        examples=["hooks/arrived"],
        pattern=r"^[^\s?#]{0,300}$",
        json_schema_extra={"expected": "a path without spaces, ? and #"},
    )


class TriggerDagStep(_Step):
    """A run of another DAG begins; see `operators.then_trigger_dag`."""

    kind: Literal["trigger_dag"] = Field(
        title="Kind", description="Start a run of another DAG.", examples=["trigger_dag"]
    )
    dag_id: str = Field(
        title="DAG",
        description="Id of the DAG; it must be switched on.",
        examples=["build_orders_mart", "transfer__orders_to_archive"],
        pattern=r"^[A-Za-z0-9_.-]{1,250}$",
        json_schema_extra={"expected": "the id of a DAG"},
    )
    conf: dict[str, JsonValue] = Field(
        default_factory=dict,
        title="Conf",
        description="Parameters of the run.",
        examples=[{"full": True}],
        json_schema_extra={"expected": "a group of parameters"},
    )
    send_report: bool = Field(
        default=True,
        title="Send the report",
        description="Add the report to the conf, under the name report. Off for DAGs that refuse unknown parameters.",
        examples=[False],
        json_schema_extra={"expected": "true or false"},
    )


class SqsStep(_Step):
    """The report goes to a queue as one message; see `operators.then_sqs`."""

    kind: Literal["sqs"] = Field(title="Kind", description="Send the report to an SQS queue.", examples=["sqs"])
    queue_url: str = Field(
        title="Queue",
        description="URL of the queue.",
        examples=["https://sqs.eu-central-1.amazonaws.com/123456789012/reports"],
        max_length=300,
        json_schema_extra={"expected": QUEUE_URL_RULE, "pattern": QUEUE_URL_PATTERN},
    )
    conn_id: str = Field(
        default="aws_default",
        title="Connection",
        description="Id of the queue's Airflow connection.",
        examples=["aws_shop"],
        min_length=1,
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": _CONN_ID},
    )

    @field_validator("queue_url", mode="after")
    @classmethod
    def _is_queue(cls, value: str) -> str:
        return checked_queue_url(value)


class TableColumn(BaseModel):
    """One column of a table, in BigQuery's words."""

    model_config = _MODEL

    name: str = Field(
        title="Name",
        description="Name of the column.",
        examples=["order_id"],
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,299}$",
        json_schema_extra={"expected": "letters, digits and _, not beginning with a digit"},
    )
    type: Literal[
        "STRING", "BYTES", "INTEGER", "FLOAT", "NUMERIC", "BIGNUMERIC", "BOOLEAN", "TIMESTAMP", "DATE", "TIME",
        "DATETIME", "GEOGRAPHY", "JSON"
    ] = Field(title="Type", description="Its type.", examples=["INTEGER"])  # fmt: skip
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = Field(
        default="NULLABLE", title="Mode", description="Whether it may be empty, or holds several values."
    )


class BigQueryLoadStep(_Step):
    """The objects of the run are loaded into a table; see `operators.then_bigquery_load`."""

    kind: Literal["bigquery_load"] = Field(
        title="Kind",
        description="Load the objects this run copied, and no others, from GCS into a BigQuery table.",
        examples=["bigquery_load"],
    )
    table: str = Field(
        title="Table",
        description="The table, with the project in front of it unless it is that of the connection.",
        examples=["sales.orders", "shop-analytics.sales.orders"],
        pattern=r"^([a-z][a-z0-9:.-]{4,61}[a-z0-9]\.)?[A-Za-z0-9_]{1,1024}\.[A-Za-z0-9_-]{1,1024}(\$[A-Za-z0-9_]+)?$",
        json_schema_extra={"expected": "dataset.table or project.dataset.table"},
    )
    format: LoadFormat = Field(title="Format", description="Of the objects; json has one object a line.")
    columns: tuple[TableColumn, ...] = Field(
        default=(),
        title="Columns",
        description="The table's schema. Empty: that of the table as it is.",
        strict=False,
        max_length=10_000,
        json_schema_extra={"expected": "a list of groups of name, type and mode"},
    )
    autodetect: bool = Field(
        default=False,
        title="Autodetect",
        description="Let BigQuery find the schema of csv and json in the objects.",
        examples=[True],
        json_schema_extra={"expected": "true or false"},
    )
    write: WriteMode = Field(
        default="append",
        title="Write",
        description="Add rows to the table, replace all there are, or fail unless it is empty.",
        examples=["replace"],
    )
    skip_leading_rows: int = Field(
        default=0,
        title="Skip rows",
        description="Rows at the beginning of each csv object that are no data.",
        examples=[1],
        ge=0,
        le=1_000_000,
    )
    location: str = Field(
        default="",
        title="Location",
        description="Where the dataset is; empty for BigQuery's own guess.",
        examples=["EU", "europe-west3"],
        pattern=r"^[A-Za-z0-9-]{0,40}$",
        json_schema_extra={"expected": "the name of a location, or nothing"},
    )
    conn_id: str = Field(
        default="",
        title="Connection",
        description="Id of the Google connection that loads; empty for that of the destination.",
        examples=["google_analytics"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": f"{_CONN_ID}, or nothing"},
    )

    @model_validator(mode="after")
    def _schema_fits_format(self) -> Self:
        if self.autodetect and self.columns:
            raise reason_error("autodetect is true and columns are given; expected one of them")
        if self.autodetect and self.format not in ("csv", "json"):
            raise reason_error(f"autodetect is for csv and json; {self.format} brings its schema along")
        if self.skip_leading_rows and self.format != "csv":
            raise reason_error(f"skip_leading_rows is for csv, and format is {self.format}")
        return self


Then = Annotated[WebhookStep | TriggerDagStep | SqsStep | BigQueryLoadStep, Field(discriminator="kind")]
"""All kinds; `kind` says which. A new one is added here, and its operator in `route_dags.then_tasks`."""

THEN_RULE = "a list of groups whose kind is webhook, trigger_dag, sqs or bigquery_load"
