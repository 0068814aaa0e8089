"""What the demo does, as a table: one row for each transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

BUCKET: Final = "skyferry-demo"
RETURNED: Final = "skyferry-demo-returned"
MOVED: Final = "skyferry-demo-moved"
UPLOADED: Final = "skyferry-demo-uploaded"

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
