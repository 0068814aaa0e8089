"""What a route file says about its surroundings: the group `provision`; see `transfer provision`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

_MODEL = ConfigDict(frozen=True, extra="forbid", strict=True)
_KMS_RULE = "the ARN of a KMS key, such as arn:aws:kms:eu-central-1:123456789012:key/0d1e2f3a-..., or nothing"
_KMS_PATTERN = r"^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64})?$"


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
