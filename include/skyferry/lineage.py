"""What a stage of a transfer tells a lineage backend beside the names of data sets: numbers, proofs, source versions.

This is the content of an OpenLineage run facet of our own, `skyferry_transfer`. It is bounded however large the
transfer is: at most `MAX_COPIES_KEPT` copies are listed, and `records` says where all of them are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from skyferry.batch_tally import MAX_COPIES_KEPT, BatchTally
from skyferry.records import Outcome, Receipt
from skyferry.report import Report

FACET_NAME = "skyferry_transfer"
SCHEMA_URL = "urn:skyferry:lineage:1-0-0:TransferRunFacet.json"
"""Changes whenever the schema does; the schema itself is docs/reference/lineage-facet.schema.json."""

_Count = Annotated[int, Field(ge=0)]


class CopiedObject(BaseModel):
    """One copy with its proof."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_object: str = Field(description="Full key at the source")
    source_etag: str = Field(description="The version that was copied, as the source names it")
    source_version_id: str | None = Field(None, description="Its version id, in a bucket that keeps versions")
    destination_object: str = Field(description="Full key at the destination")
    destination_etag: str = Field("", description="What the destination showed after the commit")
    destination_version_id: str | None = Field(None, description="The same as a version id")
    size_bytes: _Count
    checksums: Mapping[str, str] = Field({}, description="Digests of the content, by algorithm")
    verified_by: str = Field(description="What proved that the destination holds what was sent")
    source_verified_by: str = Field("", description="What proved that what was sent is the source's")


class TransferFacet(BaseModel):
    """What one stage knows; numbers a stage cannot know are left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["plan", "copy", "report", "consume"] = Field(
        description="`report`: the numbers are the whole run's. `copy`, `consume`: those of one attempt of one task. "
        "`plan`: what is intended"
    )
    route: str = Field(description="Id of the route, or of the ad-hoc request")
    records: str = Field(description="URL of the folder with the run's manifests and receipts")
    objects_planned: _Count | None = None
    objects_to_copy: _Count | None = None
    bytes_to_copy: _Count | None = None
    objects_copied: _Count | None = None
    objects_skipped: _Count | None = None
    objects_refused: _Count | None = None
    objects_failed: _Count | None = None
    objects_deleted_at_source: _Count | None = None
    bytes_copied: _Count | None = None
    retries: _Count | None = None
    verified_by: Mapping[str, int] | None = Field(None, description="Copies by what proved them")
    copies: tuple[CopiedObject, ...] | None = Field(
        None, max_length=MAX_COPIES_KEPT, description=f"The first copies of the task, at most {MAX_COPIES_KEPT}"
    )
    copies_left_out: _Count | None = Field(None, description="How many copies are not listed; `records` has all")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without what is unknown."""
        return self.model_dump(mode="json", exclude_none=True)


def facet_of_plan(totals: Mapping[str, Any], *, route: str, records: str) -> TransferFacet:
    """Return what a plan tells.

    Args:
        totals: The numbers of `plan.json`.
        records: URL of the run's folder.
    """
    names = ("objects_planned", "objects_to_copy", "bytes_to_copy", "objects_skipped", "objects_refused")
    return TransferFacet(stage="plan", route=route, records=records, **{name: totals[name] for name in names})


def facet_of_attempt(
    tally: BatchTally, *, stage: Literal["copy", "consume"], route: str, records: str
) -> TransferFacet:
    """Return what one attempt has done, whether it succeeded, failed or was stopped."""
    copied = tally.counts[Outcome.COPIED]
    return TransferFacet(
        stage=stage,
        route=route,
        records=records,
        objects_copied=copied,
        objects_skipped=tally.counts[Outcome.SKIPPED],
        objects_refused=tally.counts[Outcome.REFUSED],
        objects_failed=tally.counts[Outcome.FAILED],
        bytes_copied=tally.bytes_copied,
        verified_by=tally.proofs(),
        copies=tuple(_copied_object(receipt) for receipt in tally.copies),
        copies_left_out=copied - len(tally.copies),
    )


def facet_of_report(report: Report) -> TransferFacet:
    """Return what a report tells; the copies themselves are told by the stages that made them."""
    names = (
        "route", "records", "objects_planned", "objects_to_copy", "bytes_to_copy", "objects_copied", "objects_skipped",
        "objects_refused", "objects_failed", "objects_deleted_at_source", "bytes_copied", "retries", "verified_by",
    )  # fmt: skip
    return TransferFacet(stage="report", **{name: getattr(report, name) for name in names})


def facet_schema_text() -> str:
    """Return the JSON schema of the facet."""
    schema = TransferFacet.model_json_schema(mode="serialization")
    # OpenLineage adds its own two fields to every facet.
    address = {"type": "string", "format": "uri"}
    schema["properties"] = {"_producer": address, "_schemaURL": address} | schema["properties"]
    schema["required"] = ["_producer", "_schemaURL", *schema["required"]]
    heading = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_URL}
    return json.dumps(heading | schema, indent=2, ensure_ascii=False) + "\n"


def _copied_object(receipt: Receipt) -> CopiedObject:
    return CopiedObject(
        source_object=receipt.key,
        source_etag=receipt.source_etag,
        source_version_id=receipt.source_version_id,
        destination_object=receipt.destination_key,
        destination_etag=receipt.destination_etag,
        destination_version_id=receipt.destination_version_id,
        size_bytes=receipt.size_bytes,
        checksums=dict(receipt.checksums),
        verified_by=receipt.verified_by,
        source_verified_by=receipt.source_verified_by,
    )
