"""What one message asks of a route, and what is to become of the message once that is done.

| what is in the message | what becomes of it |
|---|---|
| nothing to do (`s3:TestEvent`, no records, other kinds of events) | deleted |
| objects that are all copied, or skipped with a reason | deleted |
| an object that could not be copied, received fewer than `max_receives` times | given back, hidden for a while |
| an object that could not be copied, received that often | dead-letter queue, with the error |
| nothing readable, a record among others that cannot be used, an object that is refused | dead-letter queue, why |
| objects the route does not name | `unmatched`: given back, or dead-letter queue |

The first row from below that applies counts, except that whatever may still succeed is tried again first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from skyferry.detect.object_records import KeySpelling, ObjectRecord
from skyferry.detect.s3_events import parse_message
from skyferry.detect.sqs_queue import QueueMessage
from skyferry.errors import TransferError, printable
from skyferry.selection import Selection
from skyferry.urls import Location

Unmatched = Literal["leave", "dead_letter"]

_MAX_REASONS = 5


class Fate(StrEnum):
    """What becomes of a message."""

    DELETE = "delete"
    DEAD_LETTER = "dead_letter"
    RETURN = "return"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteScope:
    """The objects a route names; whoever can send to the queue can name any bucket, and no other is ever looked at."""

    source: Location
    selection: Selection

    def names(self, record: ObjectRecord) -> bool:
        """Tell whether the record is about one of them."""
        prefix = self.source.prefix
        return (
            record.bucket == self.source.bucket
            and record.key.startswith(prefix)
            and self.selection.matches(record.key.removeprefix(prefix))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageWork:
    """One message, taken apart.

    Attributes:
        records: Those that may mean an object to copy: of objects the route names, created or restored.
        is_poison: Nothing of the message can be used.
        reasons: What is wrong with it, a sentence each; quotes nothing of the message.
        counts: Its records by what they are: `matched`, `unmatched`, `ignored`, `unusable`.
    """

    message: QueueMessage
    records: tuple[ObjectRecord, ...] = ()
    is_poison: bool = False
    reasons: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the objects it is about."""
        return frozenset(record.key for record in self.records)


def read_message(message: QueueMessage, scope: RouteScope, *, keys: KeySpelling = "by_producer") -> MessageWork:
    """Take a message apart; never raises, whatever the message is, and costs no I/O.

    Args:
        keys: See `skyferry.detect.s3_events.parse_message`.
    """
    parsed = parse_message(message.body, keys=keys)
    if parsed.verdict == "poison":
        return MessageWork(
            message=message,
            is_poison=True,
            reasons=(parsed.reason,),
            counts={"unusable": max(len(parsed.bad_records), 1)},
        )
    counts = Counter({"unusable": len(parsed.bad_records)} if parsed.bad_records else {})
    records = []
    for record in parsed.records:
        if not scope.names(record):
            counts["unmatched"] += 1
        elif record.kind in ("created", "restored"):
            counts["matched"] += 1
            records.append(record)
        else:
            counts["ignored"] += 1
    reasons = tuple(f"record {bad.index}: {bad.reason}" for bad in parsed.bad_records[:_MAX_REASONS])
    return MessageWork(message=message, records=tuple(records), reasons=reasons, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTrouble:
    """Why an object was not copied; `is_final` says that trying again would not help."""

    error: TransferError
    is_final: bool


def decide_fate(
    work: MessageWork, troubles: Mapping[str, ObjectTrouble], *, unmatched: Unmatched, max_receives: int
) -> tuple[Fate, str]:
    """Return what becomes of a message by the table above, and why where it was not simply done.

    Args:
        troubles: The keys that were not copied.
        unmatched: What to do with records of objects the route does not name.
        max_receives: From this reception on, nothing is tried again.
    """
    mine = [troubles[record.key] for record in work.records if record.key in troubles]
    reasons = [*work.reasons, *dict.fromkeys(printable(str(trouble.error)) for trouble in mine)]
    if any(not trouble.is_final for trouble in mine) and work.message.received_count < max_receives:
        return Fate.RETURN, _joined(reasons)
    strangers = work.counts.get("unmatched", 0)
    if strangers and unmatched == "dead_letter":
        reasons.append(f"{strangers:,} records are about objects the route does not name")
    if reasons:
        return Fate.DEAD_LETTER, _joined(reasons)
    return (Fate.LEAVE, "") if strangers else (Fate.DELETE, "")


def _joined(reasons: list[str]) -> str:
    more = len(reasons) - _MAX_REASONS
    return "; ".join([*reasons[:_MAX_REASONS], *([f"and {more:,} more"] if more > 0 else [])])
