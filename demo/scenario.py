"""What the demo does, as two tables: the transfers it starts, and those that start by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

BUCKET: Final = "skyferry-demo"
RETURNED: Final = "skyferry-demo-returned"
MOVED: Final = "skyferry-demo-moved"
UPLOADED: Final = "skyferry-demo-uploaded"

DROPPED: Final = "skyferry-demo-dropped"
EVENTS: Final = "skyferry-demo-events"
EVENTS_QUEUE: Final = "skyferry-demo-events"

_NEVER: Final = "0 0 29 2 *"
"""A backstop that has no part in what is shown."""

FOLDER: Final = "folder"
"""Place of the demo's files on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One transfer of the demo; `source` and `destination` name its places.

    Attributes:
        moves: The source must be empty afterwards.
        repeats: Everything is there already: nothing may be copied, nothing touched.
    """

    title: str
    source: str
    destination: str
    moves: bool = False
    repeats: bool = False

    @property
    def id(self) -> str:
        """The transfer's name in reports and lineage, and the beginning of the run's id."""
        return "demo_" + self.title.lower().replace(",", "").replace(" ", "_")

    @property
    def untouched(self) -> tuple[str, ...]:
        """The places the run must leave as they are."""
        return (*(() if self.moves else (self.source,)), *((self.destination,) if self.repeats else ()))

    def conf(self, urls: Mapping[str, str]) -> dict[str, Any]:
        """Return the run's parameters.

        Args:
            urls: URL of each place.
        """
        return {
            "id": self.id,
            "source": urls[self.source],
            "destination": urls[self.destination],
            "copy": not self.moves,
            "create_destination": True,
        }


STEPS: Final = (
    Step(title="S3 to Azure", source="s3", destination="azure"),
    Step(title="S3 to GCS", source="s3", destination="gcs"),
    Step(title="local to GCS", source=FOLDER, destination="gcs-uploaded"),
    Step(title="Azure to S3", source="azure", destination="s3-returned"),
    Step(title="S3 to Azure, moved", source="s3-returned", destination="azure-moved", moves=True),
    Step(title="S3 to Azure, again", source="s3", destination="azure", repeats=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Objects that start their own transfer: a route with `schedule: event`; `source` and `destination` name places.

    Attributes:
        id: Of the route.
        verb: What the demo does with an object, in words.
    """

    title: str
    id: str
    verb: str
    source: str
    destination: str

    @property
    def dag_id(self) -> str:
        """The DAG that copies: of the route, or of the queue it reads."""
        return f"consume__{EVENTS_QUEUE}" if self.source == "events" else f"transfer__{self.id}"

    def route(self, urls: Mapping[str, str], *, queue_url: str) -> dict[str, Any]:
        """Return the route file's values."""
        queue = {"kind": "sqs", "queue_url": queue_url, "poll_seconds": 1}
        files = {"kind": "files", "poll_seconds": 1, "settle_seconds": 1}
        return {
            "id": self.id,
            "description": f"Of the demo: {self.title}",
            "source": {"url": urls[self.source]},
            "destination": {"url": urls[self.destination]},
            "detect": queue if self.source == "events" else files,
            "schedule": "event",
            "backstop": _NEVER,
        }


ARRIVALS: Final = (
    Arrival(title="dropped file to S3", id="demo_dropped", verb="dropping", source="dropped", destination="s3-dropped"),
    Arrival(title="S3 event to Azure", id="demo_events", verb="putting", source="events", destination="azure-events"),
)
