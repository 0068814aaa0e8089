"""What a route file says about its surroundings: the group `provision`; see `transfer provision`."""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from skyferry.provisioning.identity import Identity
from skyferry.validation_text import reason_error

_MODEL = ConfigDict(frozen=True, extra="forbid", strict=True)
_KMS_RULE = "the ARN of a KMS key, such as arn:aws:kms:eu-central-1:123456789012:key/0d1e2f3a-..., or nothing"
_KMS_PATTERN = r"^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64})?$"
_AIRFLOW_RULE = "a URL such as https://airflow.example.com, without user or password in it"
_AIRFLOW_PATTERN = r"^https?://[^\s/?#@]+[^\s?#@]*$"
_VPC_IDS = {"subnets": re.compile(r"subnet-[0-9a-f]{8,17}"), "security_groups": re.compile(r"sg-[0-9a-f]{8,17}")}
_VPC_EXAMPLES = {"subnets": "subnet-0a1b2c3d4e5f60718", "security_groups": "sg-0a1b2c3d4e5f60718"}


class Forwarder(BaseModel):
    """The Lambda function that rings for the route; made by `transfer provision --with-lambda`."""

    model_config = _MODEL

    airflow_url: str = Field(
        title="Airflow",
        description="Address of Airflow's API server, as the function reaches it.",
        examples=["https://airflow.example.com"],
        pattern=_AIRFLOW_PATTERN,
        max_length=500,
        json_schema_extra={"expected": _AIRFLOW_RULE},
    )
    secret: str = Field(
        title="Secret",
        description="ARN of a secret in AWS Secrets Manager: a JSON object with user and password for Airflow.",
        examples=["arn:aws:secretsmanager:eu-central-1:123456789012:secret:airflow-ringer-a1b2c3"],
        pattern=r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}$",
        json_schema_extra={"expected": "the ARN of a secret in AWS Secrets Manager"},
    )
    role: str = Field(
        title="Role",
        description="ARN of the role the function runs as; `transfer policy` shows what it has to be allowed.",
        examples=["arn:aws:iam::123456789012:role/skyferry-forwarder"],
        pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,576}$",
        json_schema_extra={"expected": "the ARN of an IAM role"},
    )
    subnets: tuple[str, ...] = Field(
        default=(),
        title="Subnets",
        description="Ids of the VPC's subnets from which the function reaches Airflow; empty if it needs none.",
        examples=[["subnet-0a1b2c3d4e5f60718"]],
        strict=False,
        max_length=16,
        json_schema_extra={"expected": "a list of ids of subnets, or nothing"},
    )
    security_groups: tuple[str, ...] = Field(
        default=(),
        title="Security groups",
        description="Ids of the security groups of the function in those subnets.",
        examples=[["sg-0a1b2c3d4e5f60718"]],
        strict=False,
        max_length=5,
        json_schema_extra={"expected": "a list of ids of security groups, or nothing"},
    )

    @field_validator("subnets", "security_groups", mode="after")
    @classmethod
    def _are_ids(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for value in values:
            if not _VPC_IDS[str(info.field_name)].fullmatch(value):
                raise reason_error(f'found "{value}"; expected an id such as {_VPC_EXAMPLES[str(info.field_name)]}')
        return values

    @model_validator(mode="after")
    def _names_both_or_none(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            raise reason_error("subnets and security_groups go together; expected both or none")
        return self


class Gateway(BaseModel):
    """The API Gateway in front of `POST /transfer/v1/events`; made by `transfer provision --with-gateway`."""

    model_config = _MODEL

    airflow_url: str = Field(
        title="Airflow",
        description="Address of Airflow's API server, as AWS reaches it from outside.",
        examples=["https://airflow.example.com"],
        pattern=_AIRFLOW_PATTERN,
        max_length=500,
        json_schema_extra={"expected": _AIRFLOW_RULE},
    )
    requests_per_second: float = Field(
        default=5.0,
        title="Requests a second",
        description="More are answered with 429, once the burst is used up.",
        examples=[20.0],
        gt=0,
        le=10_000,
        json_schema_extra={"expected": "a number above 0, at most 10,000"},
    )
    burst: int = Field(
        default=20,
        title="Burst",
        description="Requests that may come at once.",
        examples=[100],
        ge=1,
        le=5_000,
    )


class Provision(BaseModel):
    """How what is missing around a route is made."""

    model_config = _MODEL

    region: str = Field(
        default="",
        title="Region",
        description="Of buckets that are created; empty for the connection's.",
        examples=["eu-central-1"],
        pattern=r"^[A-Za-z0-9-]{0,40}$",
        json_schema_extra={"expected": "the name of a region, or nothing"},
    )
    abandoned_upload_days: int = Field(
        default=7,
        title="Abandoned uploads",
        description="Days after which S3 ends uploads to the destination that nobody finished.",
        examples=[3],
        ge=1,
        le=365,
    )
    source_kms_key: str = Field(
        default="",
        title="Key of the source",
        description="The KMS key the source's objects are encrypted with; for the rights.",
        examples=["arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"],
        pattern=_KMS_PATTERN,
        json_schema_extra={"expected": _KMS_RULE},
    )
    destination_kms_key: str = Field(
        default="",
        title="Key of the destination",
        description="The KMS key of the destination's bucket; one that is created encrypts with it.",
        examples=["arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"],
        pattern=_KMS_PATTERN,
        json_schema_extra={"expected": _KMS_RULE},
    )
    max_receives: int = Field(
        default=5,
        title="Receptions",
        description="How often a message is received before SQS moves it to the dead-letter queue.",
        examples=[10],
        ge=1,
        le=1000,
    )
    topic: str = Field(
        default="",
        title="Topic",
        description="Name of an SNS topic between the bucket and the queue, so that others can hear the same events;"
        " empty for none.",
        examples=["orders-events"],
        pattern=r"^[A-Za-z0-9_-]{0,256}$",
        json_schema_extra={"expected": "the name of a standard topic, or nothing"},
    )
    identity: Identity | None = Field(
        default=None,
        title="Identity",
        description="A user or a role on AWS with exactly the rights of the route.",
    )
    forwarder: Forwarder | None = Field(
        default=None,
        title="Forwarder",
        description="A Lambda function that rings for the route: for sources in S3 that no queue tells of.",
    )
    gateway: Gateway | None = Field(
        default=None,
        title="Gateway",
        description="An API Gateway with a key and a throttle, through which others ring: for sources in S3.",
    )
