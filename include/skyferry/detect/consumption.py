"""What a consumer of a queue may do, and what it did: the values that go into one and come out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from skyferry.detect.message_work import Unmatched
from skyferry.detect.object_records import KeySpelling
from skyferry.detect.queue_route import QueueRoute
from skyferry.detect.route_worker import Acted
from skyferry.errors import (
    DeletionBrakeError,
    PermanentError,
    ReplanError,
    RequestError,
    RetryableError,
    TransferError,
    printable,
)
from skyferry.records import Outcome

EndedBecause = Literal["empty", "messages", "bytes", "seconds"]

MAX_FAILURES_KEPT = 20
"""How many failures a result names; the receipts have all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumeOptions:
    """How a queue is consumed.

    Attributes:
        unmatched: What to do with messages about objects no route names: `leave` them to other consumers
            (hidden for as long as a failed one), or `dead_letter`.
        keys: How producers spell keys; see `skyferry.detect.s3_events.parse_message`.
        max_messages: Receive no more than this many, at least 1.
        max_bytes: Receive no more once this many were copied, at least 1.
        max_seconds: Receive no more after this time, in seconds.
        max_receives: A message that was handed out this often goes to the dead-letter queue instead of back, at least
            1; the queue's own `maxReceiveCount` counts too where it is smaller.
        visibility_seconds: How long a message stays hidden unless that is renewed, 1 to 43,200: so long the messages
            of a consumer that was killed are not seen by others. Renewed after each quarter of it.
        wait_seconds: How long to wait for messages before the queue counts as empty, 1 to 20.
        back_off_seconds: How long a message is hidden after its first failure; doubles with every further one, up to a
            quarter of an hour.
        create_queue: Create the queue if it is missing, with the settings AWS gives a new one.
    """

    unmatched: Unmatched = "leave"
    keys: KeySpelling = "by_producer"
    max_messages: int = 100_000
    max_bytes: int = 10**12
    max_seconds: float = 900.0
    max_receives: int = 10
    visibility_seconds: int = 60
    wait_seconds: int = 5
    back_off_seconds: int = 30
    create_queue: bool = False

    def __post_init__(self) -> None:
        limits = {
            "max_messages": (1, 10**9),
            "max_bytes": (1, 10**18),
            "max_seconds": (1, 86_400),
            "max_receives": (1, 1000),
            "visibility_seconds": (1, 43_200),
            "wait_seconds": (1, 20),
            "back_off_seconds": (0, 900),
        }
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise RequestError(f"{name} is {getattr(self, name):,}; expected {least:,} to {most:,}")
        if self.unmatched not in ("leave", "dead_letter"):
            raise RequestError(f'unmatched is "{self.unmatched}"; expected leave or dead_letter')


def options_from(values: Mapping[str, Any]) -> ConsumeOptions:
    """Return the options with these values, and the defaults for the others.

    Raises:
        RequestError: A name is unknown, or a value is out of its range.
    """
    known = [one.name for one in fields(ConsumeOptions)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise RequestError(f'"{unknown[0]}" is no option of a consumer; expected one of: {", ".join(known)}')
    return ConsumeOptions(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """What one consumer did.

    Attributes:
        counts: Objects by outcome, as in a batch; once for each route.
        messages: Messages by what became of them: `received`, `deleted`, `returned` (they will be tried again),
            `left` (no route's), `dead_lettered`, `quarantined`, `delete_failed` (done, but they will be handed out
            again, which changes nothing).
        records: Event records by what they were: `matched`, `unmatched`, `ignored`, `unusable`; of the matched ones,
            once for each route, `superseded` (the source has overtaken them) and `repeated` (known already).
        ended_because: `empty`, or the budget that was spent.
        failures: The first objects and messages that failed, with their errors; messages that were only unreadable
            are `problems`.
        problems: Why messages went to the dead-letter queue or to quarantine, the first ones.
        kept: Route to the number of objects whose deletion was held back.
        brakes: A sentence for each route of those.
    """

    counts: Mapping[str, int]
    bytes_copied: int
    messages: Mapping[str, int]
    records: Mapping[str, int]
    ended_because: EndedBecause
    failures: tuple[TransferError, ...] = ()
    failure_count: int = 0
    problems: tuple[str, ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    brakes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values; no key is in them, so they may travel through Airflow."""
        return {
            **self.counts,
            "bytes_copied": self.bytes_copied,
            "messages": dict(self.messages),
            "records": dict(self.records),
            "ended_because": self.ended_because,
        }

    def to_record(self) -> dict[str, Any]:
        """Return what the report of the run has to know; names of objects are in it."""
        return {**self.to_json(), "problems": [printable(one) for one in self.problems], "kept": dict(self.kept)}

    def raise_if_failed(self) -> None:
        """Raise the most retryable error, with the number and the first names of what failed.

        Raises:
            RetryableError: At least one object may succeed later; its message is in the queue.
            PermanentError: None will, until somebody changes something.
        """
        if self.failures:
            raise self._failure()
        if self.brakes:
            raise DeletionBrakeError("; ".join(self.brakes))

    def _failure(self) -> TransferError:
        worst = next((error for error in self.failures if isinstance(error, RetryableError)), self.failures[0])
        kind = PermanentError if isinstance(worst, ReplanError) else type(worst)
        shown = "; ".join([*(str(error) for error in self.failures[:5]), *self.brakes])
        return kind(
            f"{self.failure_count:,} of {sum(self.counts.values()):,} objects were not copied: {shown}",
            hint="their messages are in the queue, in its dead-letter queue or in quarantine; none was lost",
            retry_after_seconds=worst.retry_after_seconds,
        )


def brake_text(route: QueueRoute, kept: int) -> str:
    """Return the sentence that tells people what a route's brake did."""
    request = route.request
    return (
        f'route "{route.id}": {kept:,} more objects are gone from {request.source} than the {route.max_deletes:,} that'
        f" one run may delete (max_deletes); they are still at {request.destination}, and their messages in the queue;"
        " pause this DAG and look whether they were meant to go, then raise max_deletes or let each run delete as many"
    )


@dataclass(slots=True)
class ConsumptionTotals:
    """Adds up a consumption while it runs; memory does not grow with the number of messages."""

    counts: Counter[str] = field(default_factory=lambda: Counter({outcome.value: 0 for outcome in Outcome}))
    messages: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    bytes_copied: int = 0
    failures: list[TransferError] = field(default_factory=list)
    failure_count: int = 0
    problems: list[str] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    _routes: dict[str, QueueRoute] = field(default_factory=dict)

    def add(self, route: QueueRoute, acted: Acted) -> None:
        """Take in what was done for a route."""
        self.counts.update(acted.counts)
        self.bytes_copied += acted.bytes_copied
        self.records.update({"repeated": acted.repeated, "superseded": acted.superseded})
        for trouble in acted.troubles.values():
            if isinstance(trouble.error, DeletionBrakeError):
                self.kept[route.id] += 1
                self._routes[route.id] = route
            else:
                self.add_failure(trouble.error)

    def add_failure(self, error: TransferError) -> None:
        """Count a failure; a retryable one is always among those that are kept."""
        self.failure_count += 1
        if len(self.failures) < MAX_FAILURES_KEPT:
            self.failures.append(error)
        elif isinstance(error, RetryableError) and not isinstance(self.failures[0], RetryableError):
            self.failures[0] = error

    def add_problem(self, text: str) -> None:
        """Keep a sentence, if there is room."""
        if len(self.problems) < MAX_FAILURES_KEPT:
            self.problems.append(text)

    def result(self, ended_because: EndedBecause) -> Consumption:
        """Return what there is so far."""
        return Consumption(
            counts=dict(self.counts),
            bytes_copied=self.bytes_copied,
            messages=dict(self.messages),
            records=dict(self.records),
            ended_because=ended_because,
            failures=tuple(self.failures),
            failure_count=self.failure_count,
            problems=tuple(self.problems),
            kept=dict(self.kept),
            brakes=tuple(brake_text(self._routes[route], kept) for route, kept in self.kept.items()),
        )
