"""What a route file says about the table its receipts are written to as well: the group `receipts_index`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from skyferry.request import CONN_ID_PATTERN


class ReceiptsIndex(BaseModel):
    """The table that receipts are also written to."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dynamodb: str = Field(
        title="DynamoDB table",
        description="Name of the table; `transfer provision` creates it. Several routes may share one.",
        examples=["transfer-receipts"],
        pattern=r"^[A-Za-z0-9_.-]{3,255}$",
        json_schema_extra={"expected": "the name of a DynamoDB table: 3 to 255 letters, digits, _, . and -"},
    )
    conn_id: str = Field(
        default="",
        title="Connection",
        description="Id of the table's Airflow connection; empty for the destination's if that is in S3, else"
        " aws_default.",
        examples=["aws_platform"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": "the id of an Airflow connection, or nothing"},
    )
    region: str = Field(
        default="",
        title="Region",
        description="Of the table; empty for the connection's.",
        examples=["eu-central-1"],
        pattern=r"^[A-Za-z0-9-]{0,40}$",
        json_schema_extra={"expected": "the name of a region, or nothing"},
    )
