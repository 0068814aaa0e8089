"""What a route needs around it: places in stores, queues, and who does what in them; read from the route alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from skyferry.request import DEFAULT_CONN_IDS
from skyferry.routes import Route
from skyferry.then_steps import SqsStep
from skyferry.urls import Location, parse_location

MARK_TAG = "skyferry:route"
"""Tag of everything that provisioning creates on AWS; its value is the route's id."""

DEAD_LETTER_SECONDS = 14 * 24 * 3600
"""What SQS keeps messages for at most: somebody has to look at a dead-letter queue."""

_AWS_QUEUE_HOST = re.compile(r"sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_ACCOUNT = re.compile(r"[0-9]{12}")
_DEAD_LETTER_SUFFIX = "-dead-letter"
_MAX_QUEUE_NAME = 80
_DIGEST_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceNeed:
    """One place in a store, and what is done there.

    Attributes:
        what: `source`, `destination` or `state`.
        deletes: Objects are deleted there as part of the work: a move, a mirrored deletion.
        creates: Transfers create the bucket themselves.
        kms_key: ARN of the key the objects are encrypted with; empty for none.
    """

    what: str
    location: Location
    conn_id: str
    deletes: bool = False
    creates: bool = False
    kms_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNeed:
    """One SQS queue, and what is done with it.

    Attributes:
        what: `events` for the queue that is consumed, else what is sent there.
        creates: Transfers create the queue themselves.
        hidden_seconds: Visibility timeout of the route's consumers; 0 for a queue that is only sent to.
        kept_seconds: How long it keeps messages; 0 for what SQS does by itself.
    """

    what: str
    url: str
    conn_id: str
    creates: bool = False
    hidden_seconds: int = 0
    kept_seconds: int = 0

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rpartition("/")[2]

    @property
    def is_consumed(self) -> bool:
        """Whether the route reads it."""
        return self.what == "events"

    @property
    def account(self) -> str:
        """The account its URL names; empty if it names none."""
        found = urlsplit(self.url).path.split("/")[-2]
        return found if _ACCOUNT.fullmatch(found) else ""

    @property
    def region(self) -> str:
        """The region its URL names; empty for other endpoints than AWS's."""
        match = _AWS_QUEUE_HOST.fullmatch(urlsplit(self.url).hostname or "")
        return match["region"] if match else ""

    @property
    def dead_letter_name(self) -> str:
        """Name of the dead-letter queue that provisioning creates for it."""
        return self.name[: _MAX_QUEUE_NAME - len(_DEAD_LETTER_SUFFIX)] + _DEAD_LETTER_SUFFIX

    def arn(self, name: str = "", *, region: str = "", account: str = "") -> str:
        """Return the ARN of the queue, or of another one beside it; `*` stands for what is not known."""
        region = self.region or region
        return f"arn:{partition_of(region)}:sqs:{region or '*'}:{self.account or account or '*'}:{name or self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNeed:
    """The DynamoDB table that receipts are written to as well.

    Attributes:
        region: Empty for the connection's.
    """

    name: str
    conn_id: str
    region: str = ""
    what: str = "index"

    def arn(self, *, region: str = "") -> str:
        """Return its ARN; `*` stands for what is not known."""
        region = self.region or region
        return f"arn:{partition_of(region)}:dynamodb:{region or '*'}:*:table/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteNeeds:
    """Everything around one route.

    Attributes:
        places: Source, destination and state folder.
        queues: The queue of events first, if there is one.
        event_kinds: S3 event types the queue of events is to get.
        index: Where receipts are written to as well; None for nowhere.
    """

    route_id: str
    places: tuple[PlaceNeed, ...]
    queues: tuple[QueueNeed, ...]
    event_kinds: tuple[str, ...]
    index: TableNeed | None = None

    @property
    def source(self) -> PlaceNeed:
        """Where the objects come from."""
        return self.places[0]

    @property
    def events_queue(self) -> QueueNeed | None:
        """The queue that the route consumes."""
        return next((queue for queue in self.queues if queue.is_consumed), None)


def route_needs(route: Route, *, state: Location, state_conn_id: str) -> RouteNeeds:
    """Return what a route needs.

    Args:
        state: Where runs keep their records.
        state_conn_id: Its connection; empty for a local folder.
    """
    request, provision = route.request(), route.provision
    places = (
        PlaceNeed(
            what="source",
            location=parse_location(route.source.url),
            conn_id=request.source_conn_id,
            deletes=not request.keep_source,
            kms_key=provision.source_kms_key,
        ),
        PlaceNeed(
            what="destination",
            location=request.destination_location,
            conn_id=request.destination_conn_id,
            deletes=route.mirror_deletes,
            creates=request.create_destination,
            kms_key=provision.destination_kms_key,
        ),
        PlaceNeed(what="state", location=state, conn_id=state_conn_id),
    )
    removals = ("s3:ObjectRemoved:*", "s3:LifecycleExpiration:*") if route.mirror_deletes else ()
    return RouteNeeds(
        route_id=route.id,
        places=places,
        queues=tuple(_queues(route)),
        event_kinds=("s3:ObjectCreated:*", *removals),
        index=_index(route),
    )


def mark_of(route_id: str) -> str:
    """Return the name of what a route has in documents it shares with others: letters and digits only."""
    digest = hashlib.sha256(route_id.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return "Skyferry" + re.sub(r"[^A-Za-z0-9]", "", route_id.title()) + digest


def partition_of(region: str) -> str:
    """Return the partition of AWS a region belongs to."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _index(route: Route) -> TableNeed | None:
    index = route.receipts_index
    if index is None:
        return None
    return TableNeed(name=index.dynamodb, conn_id=route.index_conn_id, region=index.region)


def _queues(route: Route) -> Iterator[QueueNeed]:
    queue, notify = route.queue, route.destination.notify
    if queue is not None:
        yield QueueNeed(
            what="events",
            url=queue.queue_url,
            conn_id=route.queue_conn_id,
            creates=queue.create_queue,
            hidden_seconds=queue.visibility_seconds,
        )
    if notify is not None:
        request = route.request()
        own = request.destination_conn_id if request.destination_location.kind == "s3" else ""
        conn_id = notify.conn_id or own or DEFAULT_CONN_IDS["s3"]
        yield QueueNeed(what="arrivals", url=notify.queue_url, conn_id=conn_id, creates=notify.create_queue)
    for step in route.then:
        if isinstance(step, SqsStep):
            yield QueueNeed(what="reports", url=step.queue_url, conn_id=step.conn_id or DEFAULT_CONN_IDS["s3"])
