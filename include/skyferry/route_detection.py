"""How a route notices that its source has something new: the three kinds of `detect` in a route file.

They say where to look and how often, not what becomes of what is found: see `skyferry.detect`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from skyferry.request import CONN_ID_PATTERN
from skyferry.validation_text import reason_error

_MODEL = ConfigDict(frozen=True, extra="forbid", strict=True)
_SECONDS = "a whole number of seconds"
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_SUFFIX = ".fifo"

QUEUE_URL_RULE = "the URL of a standard SQS queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
QUEUE_URL_PATTERN = r"^https?://[^/\s@?#]+(/[^/\s@?#]+)*/[A-Za-z0-9_-]{1,80}$"


def checked_queue_url(value: str) -> str:
    """Return the URL if it is one of a standard queue; for the validators of models.

    Raises:
        PydanticCustomError: It is not; the message shows nothing that may be a secret.
    """
    parts = urlsplit(value)
    name = value.rpartition("/")[2]
    if name.endswith(_FIFO_SUFFIX):
        raise reason_error(f'"{name[:90]}" is a FIFO queue; S3 sends its events to standard queues only')
    is_plain = parts.scheme in ("http", "https") and parts.netloc and not (parts.query or parts.fragment)
    if "@" in parts.netloc or not is_plain or any(character.isspace() for character in value):
        # What was found is not shown: a URL of this kind may hold a password or a signature.
        raise reason_error(f"found another text; expected {QUEUE_URL_RULE}")
    if len(parts.path.split("/")) < 3 or not _QUEUE_NAME.fullmatch(name):
        raise reason_error(f'"{name[:90]}" is no name of a queue; expected {QUEUE_URL_RULE}')
    return value


class DetectObjects(BaseModel):
    """The source is listed again and again; see `skyferry.detect.new_objects`."""

    model_config = _MODEL

    kind: Literal["objects"] = Field(
        title="Kind", description="List the source: any store, also a folder.", examples=["objects"]
    )
    poll_seconds: int = Field(
        default=10,
        title="Poll",
        description="Time between two listings; each costs one request for every 1,000 objects.",
        examples=[30],
        ge=1,
        le=86_400,
    )
    overlap_seconds: int = Field(
        default=86_400,
        title="Overlap",
        description="How late an object may appear, compared with its own time; longer than the longest upload in"
        " parts, which S3 dates at its start.",
        examples=[3600],
        ge=0,
        le=2_592_000,
    )


class DetectFiles(BaseModel):
    """A local folder is scanned for files that nobody writes any more; see `skyferry.detect.settled_files`."""

    model_config = _MODEL

    kind: Literal["files"] = Field(
        title="Kind", description="Scan a local folder for files that are settled.", examples=["files"]
    )
    poll_seconds: int = Field(
        default=2,
        title="Poll",
        description="Time between two scans of the folder.",
        examples=[5],
        ge=1,
        le=86_400,
    )
    settle_seconds: int = Field(
        default=10,
        title="Settle",
        description="A file counts once it has not changed for this long.",
        examples=[60],
        ge=0,
        le=86_400,
    )
    done_suffix: str = Field(
        default="",
        title="Done suffix",
        description="Instead of waiting: a file counts once its marker, the same name with this end, lies beside it.",
        examples=[".done"],
        pattern=r"^[^/\x00]{0,32}$",
        json_schema_extra={"expected": "the end of a file name, such as .done, or nothing"},
    )


class DetectQueue(BaseModel):
    """A queue tells of objects that were written; see `skyferry.queue_stages`.

    Its defaults and bounds are those of `skyferry.detect.consumption.ConsumeOptions`.
    """

    model_config = _MODEL

    kind: Literal["sqs"] = Field(title="Kind", description="Consume a queue of S3 events.", examples=["sqs"])
    queue_url: str = Field(
        title="Queue",
        description="URL of the queue. Routes that name the same queue share its consumers.",
        examples=["https://sqs.eu-central-1.amazonaws.com/123456789012/orders"],
        max_length=300,
        json_schema_extra={
            "expected": QUEUE_URL_RULE,
            "pattern": QUEUE_URL_PATTERN,
        },
    )
    conn_id: str = Field(
        default="",
        title="Connection",
        description="Id of the queue's Airflow connection; empty for that of the source.",
        examples=["aws_shop"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": "the id of an Airflow connection, or nothing"},
    )
    poll_seconds: int = Field(
        default=2,
        title="Poll",
        description="Time between two looks at the queue; each costs one request, and takes nothing.",
        examples=[5],
        ge=1,
        le=86_400,
    )
    consumers: int = Field(
        default=1,
        title="Consumers",
        description="How many tasks consume the queue at the same time, each with many messages in flight.",
        examples=[4],
        ge=1,
        le=64,
    )
    unmatched: Literal["leave", "dead_letter"] = Field(
        default="leave",
        title="Unmatched",
        description="What becomes of messages about objects that no route of the queue names: they stay in the queue"
        " (leave), or go to its dead-letter queue (dead_letter).",
        examples=["dead_letter"],
    )
    max_messages: int = Field(
        default=100_000,
        title="Messages",
        description="One consumer receives at most this many messages in a run.",
        examples=[10_000],
        ge=1,
        le=1_000_000_000,
    )
    max_bytes: int = Field(
        default=10**12,
        title="Bytes",
        description="One consumer receives no more once it has copied this much in a run.",
        examples=[10**11],
        ge=1,
        le=10**18,
    )
    max_seconds: int = Field(
        default=900,
        title="Seconds",
        description="One consumer receives no more after this time of a run.",
        examples=[300],
        ge=1,
        le=86_400,
    )
    visibility_seconds: int = Field(
        default=60,
        title="Visibility",
        description="How long the messages of a consumer that was killed stay hidden; renewed while it works.",
        examples=[120],
        ge=1,
        le=43_200,
    )
    wait_seconds: int = Field(
        default=5,
        title="Wait",
        description="How long a consumer waits for messages before the queue counts as empty.",
        examples=[20],
        ge=1,
        le=20,
    )
    create_queue: bool = Field(
        default=False,
        title="Create the queue",
        description="Create the queue if it is missing. Off: a missing one is an error.",
        examples=[True],
        json_schema_extra={"expected": "true or false"},
    )

    @field_validator("queue_url", mode="after")
    @classmethod
    def _is_queue(cls, value: str) -> str:
        return checked_queue_url(value)

    @property
    def queue_name(self) -> str:
        """The last part of the queue's URL."""
        return self.queue_url.rpartition("/")[2]

    def consume_options(self) -> dict[str, int | str | bool]:
        """Return the fields of `skyferry.detect.consumption.ConsumeOptions` that a route sets."""
        return {name: getattr(self, name) for name in _CONSUME_OPTIONS}


_CONSUME_OPTIONS = (
    "unmatched", "max_messages", "max_bytes", "max_seconds", "visibility_seconds", "wait_seconds", "create_queue"
)  # fmt: skip

Detect = Annotated[DetectObjects | DetectFiles | DetectQueue, Field(discriminator="kind")]
"""The three kinds; `kind` says which."""

DETECT_RULE = "a group whose kind is objects, files or sqs"
