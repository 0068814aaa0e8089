"""What one message asks of the routes of its queue, and what is to become of the message once that is done.

| what is in the message | what becomes of it |
|---|---|
| nothing to do (`s3:TestEvent`, no records, other kinds of events) | deleted |
| objects that every route they concern has copied, deleted, or skipped with a reason | deleted |
| an object that could not be copied, received fewer than `max_receives` times | given back, hidden for a while |
| an object that could not be copied, received that often | dead-letter queue, with the error |
| nothing readable, a record among others that cannot be used, an object that is refused | dead-letter queue, why |
| objects no route names | `unmatched`: given back, or dead-letter queue |

The first row from below that applies counts, except that whatever may still succeed is tried again first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from skyferry.detect.object_records import KeySpelling, ObjectRecord
from skyferry.detect.queue_route import QueueRoute
from skyferry.detect.s3_events import parse_message
from skyferry.detect.sqs_queue import QueueMessage
from skyferry.errors import TransferError, printable

Unmatched = Literal["leave", "dead_letter"]

_MAX_REASONS = 5


class Fate(StrEnum):
    """What becomes of a message."""

    DELETE = "delete"
    DEAD_LETTER = "dead_letter"
    RETURN = "return"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    """A record that concerns a route.

    Attributes:
        refused_because: Why the route must not act on it; empty otherwise.
    """

    route: str
    record: ObjectRecord
    refused_because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageWork:
    """One message, taken apart.

    Attributes:
        records: What there may be something to do about; a record that concerns several routes is there for each.
        is_poison: Nothing of the message can be used.
        reasons: What is wrong with it, a sentence each; quotes nothing of the message.
        counts: Its records by what they are, each once: `matched`, `unmatched`, `ignored`, `unusable`.
    """

    message: QueueMessage
    records: tuple[RouteRecord, ...] = ()
    is_poison: bool = False
    reasons: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def read_message(
    message: QueueMessage, routes: Sequence[QueueRoute], *, keys: KeySpelling = "by_producer"
) -> MessageWork:
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
    records: list[RouteRecord] = []
    for record in parsed.records:
        naming = [route for route in routes if route.names(record)]
        acting = _acting(record, naming)
        counts["matched" if acting else "ignored" if naming else "unmatched"] += 1
        records += _route_records(record, acting)
    reasons = tuple(f"record {bad.index}: {bad.reason}" for bad in parsed.bad_records[:_MAX_REASONS])
    return MessageWork(message=message, records=tuple(records), reasons=reasons, counts=counts)


def _acting(record: ObjectRecord, naming: Sequence[QueueRoute]) -> list[QueueRoute]:
    """Return the routes that have something to do; what a route moves away is not removed for the others."""
    if record.kind == "removed" and any(route.moves for route in naming):
        return []
    return [route for route in naming if route.acts_on(record)]


def _route_records(record: ObjectRecord, routes: Sequence[QueueRoute]) -> list[RouteRecord]:
    """Return the record for each route; an object that two routes would move away is moved by neither."""
    movers = [route.id for route in routes if route.moves]
    refusal = f"the routes {', '.join(movers)} all move this object; expected one of them at most"
    return [
        RouteRecord(route=route.id, record=record, refused_because=refusal if route.moves and len(movers) > 1 else "")
        for route in routes
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTrouble:
    """Why something was not done for an object.

    Attributes:
        is_final: Trying again would not help.
        hidden_seconds: Its message stays hidden at least so long.
    """

    error: TransferError
    is_final: bool
    hidden_seconds: int = 0


def decide_fate(
    work: MessageWork, troubles: Mapping[tuple[str, str], ObjectTrouble], *, unmatched: Unmatched, max_receives: int
) -> tuple[Fate, str]:
    """Return what becomes of a message by the table above, and why where it was not simply done.

    Args:
        troubles: By route and key, what could not be done.
        unmatched: What to do with records of objects no route names.
        max_receives: From this reception on, nothing is tried again.
    """
    places = dict.fromkeys((one.route, one.record.key) for one in work.records)
    mine = [troubles[place] for place in places if place in troubles]
    reasons = [*work.reasons, *dict.fromkeys(printable(str(trouble.error)) for trouble in mine)]
    if any(not trouble.is_final for trouble in mine) and work.message.received_count < max_receives:
        return Fate.RETURN, _joined(reasons)
    strangers = work.counts.get("unmatched", 0)
    if strangers and unmatched == "dead_letter":
        reasons.append(f"{strangers:,} records are about objects no route names")
    if reasons:
        return Fate.DEAD_LETTER, _joined(reasons)
    return (Fate.LEAVE, "") if strangers else (Fate.DELETE, "")


def hidden_seconds(work: MessageWork, troubles: Mapping[tuple[str, str], ObjectTrouble]) -> int:
    """Return how long the message must stay hidden for the sake of its objects; 0 when that does not matter."""
    mine = (troubles.get((one.route, one.record.key)) for one in work.records)
    return max((trouble.hidden_seconds for trouble in mine if trouble is not None), default=0)


def _joined(reasons: list[str]) -> str:
    more = len(reasons) - _MAX_REASONS
    return "; ".join([*reasons[:_MAX_REASONS], *([f"and {more:,} more"] if more > 0 else [])])
