"""What a route does with objects beside the copy: it claims them before, tells of them and sets them aside after.

Only a route file may say so. These values move files into other folders and send messages; whoever may merely start a
transfer must not choose where.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator

from skyferry.errors import RequestError
from skyferry.notify.messages import Shape
from skyferry.objects import ObjectInfo
from skyferry.request import CONN_ID_PATTERN
from skyferry.route_detection import QUEUE_URL_PATTERN, QUEUE_URL_RULE, checked_queue_url
from skyferry.urls import Location, is_inside, parse_location

if TYPE_CHECKING:
    from skyferry.claim import Claiming

_MODEL = ConfigDict(frozen=True, extra="forbid", strict=True, regex_engine="rust-regex")


class Notify(BaseModel):
    """The queue that is told of what has arrived."""

    model_config = _MODEL

    queue_url: str = Field(
        title="Queue",
        description="URL of the queue that gets a message for each object, once its copy is proven equal and before the"
        " source is let go: at least once, never not at all.",
        examples=["https://sqs.eu-central-1.amazonaws.com/123456789012/uploads"],
        max_length=300,
        json_schema_extra={"expected": QUEUE_URL_RULE, "pattern": QUEUE_URL_PATTERN},
    )
    conn_id: str = Field(
        default="",
        title="Connection",
        description="Id of the queue's Airflow connection; empty for that of a destination in S3, else aws_default.",
        examples=["aws_shop"],
        pattern=CONN_ID_PATTERN,
        json_schema_extra={"expected": "the id of an Airflow connection, or nothing"},
    )
    shape: Shape = Field(
        default="s3_event",
        title="Shape",
        description="What a message looks like: as S3 itself would send it (s3_event, for destinations in S3), or one"
        " flat JSON object (raw, for all).",
        examples=["raw"],
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


class Handover(BaseModel):
    """What happens to the objects of one route beside the copy; by default nothing.

    Attributes:
        watched: URL of the folder that files are claimed from, into the request's source; empty for no claim.
        settle_seconds: See `skyferry.claim`.
        done_suffix: See `skyferry.claim`.
        done: URL of the folder that files are set aside in; empty when they are deleted, or kept.
        notify: Who is told of copies; None for nobody.
    """

    model_config = _MODEL

    watched: str = ""
    settle_seconds: int = 0
    done_suffix: str = ""
    done: str = ""
    notify: Notify | None = None

    def claiming(self, source: Location) -> Claiming | None:
        """Return how files come into the source of a transfer; None when nothing is claimed."""
        # Imported here, because route files are read every few seconds, and what moves files takes 0.1 s to import.
        from skyferry.claim import Claiming

        if not self.watched:
            return None
        return Claiming(
            watched=_path(self.watched),
            claimed=Path(source.bucket),
            done=_path(self.done) if self.done else None,
            settle_seconds=self.settle_seconds,
            done_suffix=self.done_suffix,
        )

    def release(self, source: Location) -> Callable[[ObjectInfo], Awaitable[bool]] | None:
        """Return what takes a copied file away; None when its store is to delete it."""
        from skyferry.claim import set_aside

        if not self.done:
            return None
        claimed, done = Path(source.bucket), _path(self.done)

        async def release(info: ObjectInfo) -> bool:
            return await asyncio.to_thread(set_aside, info, claimed=claimed, done=done)

        return release

    @property
    def folders(self) -> tuple[Location, ...]:
        """The folders that are neither source nor destination of the transfer."""
        return tuple(parse_location(url) for url in (self.watched, self.done) if url)

    def check_folders(self, source: Location, destination: Location) -> None:
        """Refuse folders that lie in each other: files would be claimed again that are through already.

        Args:
            source: Of the transfer, which is not the watched folder.

        Raises:
            RequestError: Two of them do; the message names both.
        """
        for inner, outer in permutations((*self.folders, source, destination), 2):
            if self.folders and outer.kind == "file" and is_inside(inner, outer, same_connection=True):
                raise RequestError(
                    f"{inner.url} lies inside {outer.url}, so that files would pass through them again and again",
                    hint="choose folders beside each other",
                )


NO_HANDOVER = Handover()


def _path(url: str) -> Path:
    return Path(parse_location(url).bucket)
