"""The rows of a run's records: what was planned for each object, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from skyferry.objects import ObjectInfo, info_from_json, info_to_json


class Action(StrEnum):
    """What the plan decided for one object."""

    COPY = "copy"
    DELETE_SOURCE = "delete_source"
    """The content is at the destination already; a move only has to take the source away."""
    SKIP = "skip"
    REFUSE = "refuse"


class Outcome(StrEnum):
    """What became of one object."""

    COPIED = "copied"
    SKIPPED = "skipped"
    REFUSED = "refused"
    FAILED = "failed"
    DELETED = "deleted"
    """It is gone at the source, and its copy was deleted (routes with `mirror_deletes` only)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedObject:
    """One row of a plan.

    Attributes:
        source: The version to copy; its etag pins every read.
        destination_key: Full key at the destination.
        reason: Why: `new`, `changed`, `replace`, `identical`, `exists`, or a sentence for what was refused.
        replaces: The version the destination key showed when the plan was made; None when it showed nothing.
        evidence: What proved the content identical, where that is the reason.
        refusal: For what it is refused, a code of `skyferry.refusals`; empty if it is not.
    """

    action: Action
    source: ObjectInfo
    destination_key: str
    reason: str
    replaces: ObjectInfo | None = None
    evidence: str = ""
    refusal: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return {
            "action": self.action.value,
            "source": info_to_json(self.source),
            "destination_key": self.destination_key,
            "reason": self.reason,
            "replaces": info_to_json(self.replaces) if self.replaces else None,
            "evidence": self.evidence,
            **({"refusal": self.refusal} if self.refusal else {}),
        }

    def to_note(self) -> dict[str, Any]:
        """Return what is worth keeping of an object that is not copied."""
        values = {"key": self.source.key, "size_bytes": self.source.size_bytes, "action": self.action.value}
        return {**values, "reason": self.reason, "evidence": self.evidence, "refusal": self.refusal}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> PlannedObject:
        """Undo `to_json`."""
        return PlannedObject(
            action=Action(row["action"]),
            source=info_from_json(row["source"]),
            destination_key=row["destination_key"],
            reason=row["reason"],
            replaces=info_from_json(row["replaces"]) if row["replaces"] else None,
            evidence=row["evidence"],
            refusal=row.get("refusal", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof of what became of one object.

    Attributes:
        verified_by: What proved that the destination holds the bytes that were sent: `md5`, `crc32c`, `crc64nvme`,
            `etag` (composite of the parts), `readback` (the destination was read).
        source_verified_by: What proved that the bytes that were sent are the source's: a checksum's name, `etag`,
            `readback` (read twice), `local` (no network in between).
        checksums: Digests of the content that was copied.
        refusal: For what it was refused, a code of `skyferry.refusals`.
        lost: What the destination could not hold, a sentence each.
        told: A message about the copy was sent.
        deleted_at_source: The source version was removed, or set aside, after the copy was verified (a move).
        kept_because: Why a move left the source where it was, although its content is at the destination.
        not_deleted_because: Why the last attempt of a move could not delete the source; the next one tries again.
        wrong_etag: The version of wrong content that a failed attempt left at the destination and could not remove.
        resumed_bytes: What earlier attempts had sent, and the last one did not send again.
        was_there: The content had arrived before this attempt began (a retry after a kill).
        retries: Error class to number of attempts that followed it.
    """

    key: str
    destination_key: str
    outcome: Outcome
    reason: str
    size_bytes: int
    source_etag: str
    refusal: str = ""
    source_version_id: str | None = None
    destination_etag: str = ""
    destination_version_id: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    verified_by: str = ""
    source_verified_by: str = ""
    lost: tuple[str, ...] = ()
    told: bool = False
    deleted_at_source: bool = False
    kept_because: str = ""
    not_deleted_because: str = ""
    wrong_etag: str = ""
    was_there: bool = False
    resumed_bytes: int = 0
    retries: Mapping[str, int] = field(default_factory=dict)
    attempt: int = 1
    finished_at: str = ""
    seconds: float = 0.0

    @property
    def awaits_deletion(self) -> bool:
        """Tell whether a move, for which the content is at the destination, has still to decide about the source."""
        if self.deleted_at_source or self.kept_because:
            return False
        return self.outcome is Outcome.COPIED or (self.outcome is Outcome.SKIPPED and self.reason == "identical")

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values, leaving out what is empty."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        values |= {"outcome": self.outcome.value, "lost": list(self.lost)}
        values |= {"checksums": dict(self.checksums), "retries": dict(self.retries)}
        always = ("key", "destination_key", "outcome", "reason", "size_bytes", "source_etag")
        return {name: value for name, value in values.items() if value or name in always}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Receipt:
        """Undo `to_json`."""
        values = dict(row)
        return Receipt(**values | {"outcome": Outcome(values["outcome"]), "lost": tuple(values.get("lost", ()))})
