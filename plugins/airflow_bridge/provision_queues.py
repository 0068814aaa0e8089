"""The SQS queues around a route: the queue of events with its dead-letter queue, and those that are only sent to."""

from __future__ import annotations

import json
from typing import Any

from airflow_bridge.provision_calls import AwsAccount, ask, ask_if_there
from skyferry.errors import RequestError
from skyferry.provisioning.route_needs import DEAD_LETTER_SECONDS, MARK_TAG, QueueNeed
from skyferry.provisioning.shared_documents import with_statement, without_statement
from skyferry.provisioning.surroundings_plan import Doing, Step

_MISSING = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue")
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class SqsQueueAccess:
    """One queue, by its name, behind one connection.

    Raises:
        RequestError: The queue's URL names another region than the connection's.
    """

    def __init__(self, account: AwsAccount, need: QueueNeed, name: str) -> None:
        self._client = account.client("sqs")
        self._need = need
        self.name = name
        region = self._client.meta.region_name
        if need.region and need.region != region:
            raise RequestError(
                f'queue {need.url} is in {need.region}, and connection "{account.conn_id}" in {region}; nothing was'
                " changed",
                hint="set region_name in the connection's extra, or name another connection for the queue",
            )
        self.arn = need.arn(name, region=region)

    def attributes(self) -> dict[str, str] | None:
        """Return the queue's attributes; None when there is no queue."""
        url = self.url()
        if url is None:
            return None
        answer = ask_if_there(
            self._client.get_queue_attributes,
            f"looking at queue {self.name}",
            needs="sqs:GetQueueAttributes",
            absent=_MISSING,
            QueueUrl=url,
            AttributeNames=["All"],
        )
        return None if answer is None else dict(answer.get("Attributes", {}))

    def url(self) -> str | None:
        """Return the queue's URL as SQS has it; None when there is no queue."""
        answer = ask_if_there(
            self._client.get_queue_url,
            f"looking for queue {self.name}",
            needs="sqs:GetQueueUrl",
            absent=_MISSING,
            QueueName=self.name,
        )
        return None if answer is None else str(answer["QueueUrl"])

    def create(self, attributes: dict[str, str], *, route_id: str) -> None:
        """Create the queue with its tag.

        Raises:
            RequestError: It was created in another account than the one the route's URL names.
        """
        answer = ask(
            self._client.create_queue,
            f"creating queue {self.name}",
            needs="sqs:CreateQueue and sqs:TagQueue",
            QueueName=self.name,
            Attributes=attributes,
            tags={MARK_TAG: route_id},
        )
        account = str(answer["QueueUrl"]).split("/")[-2]
        if self._need.account and account != self._need.account:
            raise RequestError(
                f"queue {self.name} was created in account {account}; {self._need.url} names {self._need.account}",
                hint="remove it with transfer deprovision, and correct the URL or the connection",
            )

    def set(self, **attributes: str) -> None:
        """Set attributes."""
        ask(
            self._client.set_queue_attributes,
            f"changing queue {self.name}",
            needs="sqs:SetQueueAttributes",
            QueueUrl=self.url(),
            Attributes=attributes,
        )

    def is_marked(self, route_id: str) -> bool:
        """Whether the queue was created for a route."""
        answer = ask_if_there(
            self._client.list_queue_tags,
            f"reading the tags of queue {self.name}",
            needs="sqs:ListQueueTags",
            absent=_MISSING,
            QueueUrl=self.url() or "",
        )
        return bool((answer or {}).get("Tags", {}).get(MARK_TAG) == route_id)

    def delete(self) -> None:
        """Delete the queue with all that is in it."""
        ask(
            self._client.delete_queue,
            f"deleting queue {self.name}",
            needs="sqs:DeleteQueue",
            QueueUrl=self.url(),
        )


class DeadLetterQueue:
    """Where messages go that were received too often; a `skyferry.provisioning.surroundings_plan.Thing`.

    Args:
        queue: The queue of events, which may have one already.
    """

    def __init__(self, own: SqsQueueAccess, queue: SqsQueueAccess, *, route_id: str, used_by: tuple[str, ...]) -> None:
        self._own = own
        self._queue = queue
        self._route_id = route_id
        self._used_by = used_by
        self.name = f"dead-letter queue {own.name}"

    def plan(self) -> Step:
        """Look whether the queue of events has one."""
        redrive = _redrive(self._queue.attributes())
        if redrive and redrive != self._own.arn:
            return Step(thing=self.name, doing=Doing.KEEP, why=f"not needed: {self._queue.name} has {redrive}")
        if self._own.attributes() is not None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is there")
        return Step(thing=self.name, doing=Doing.CREATE, why=f"{self._queue.name} has none; messages stay 14 days")

    def provide(self) -> str:
        """Create it."""
        self._own.create({"MessageRetentionPeriod": str(DEAD_LETTER_SECONDS)}, route_id=self._route_id)
        return ""

    def plan_removal(self) -> Step:
        """Look whether it may go: not while its queue stays."""
        step = _removal(self.name, self._own, route_id=self._route_id, used_by=self._used_by)
        why = self._why_it_stays() if step.doing is Doing.REMOVE else ""
        return Step(thing=self.name, doing=Doing.LEAVE, why=why) if why else step

    def remove(self) -> str:
        """Delete it."""
        return self._why_it_stays() or _delete_if_empty(self._own)

    def _why_it_stays(self) -> str:
        is_fed = _redrive(self._queue.attributes()) == self._own.arn
        if is_fed and self._queue.is_marked(self._route_id) and _waiting(self._queue):
            return f"{self._queue.name} stays, and sends to it"
        return ""


class RouteQueue:
    """A queue a route reads or sends to; a `Thing`.

    A queue that was there before is given a dead-letter queue if it has none and is consumed; nothing else is changed.

    Args:
        dead_letters: Where its messages are to go; None for a queue that is only sent to.
        max_receives: How often a message is received before that.
    """

    def __init__(
        self,
        own: SqsQueueAccess,
        need: QueueNeed,
        *,
        dead_letters: SqsQueueAccess | None,
        max_receives: int,
        route_id: str,
        used_by: tuple[str, ...],
    ) -> None:
        self._own = own
        self._need = need
        self._dead_letters = dead_letters
        self._max_receives = max_receives
        self._route_id = route_id
        self._used_by = used_by
        self.name = f"queue {own.name}"

    def plan(self) -> Step:
        """Look at the queue."""
        attributes = self._own.attributes()
        if attributes is None:
            hidden = f", hiding messages for {self._need.hidden_seconds} s" if self._need.hidden_seconds else ""
            return Step(thing=self.name, doing=Doing.CREATE, why=f"it is missing; created in {self._own.arn}{hidden}")
        missing = self._missing(attributes)
        if missing:
            return Step(thing=self.name, doing=Doing.CHANGE, why="; ".join(why for why, _, _ in missing))
        return Step(thing=self.name, doing=Doing.KEEP, why="it is there")

    def provide(self) -> str:
        """Create the queue, or set what is missing."""
        attributes = self._own.attributes()
        if attributes is None:
            self._own.create(self._wanted(), route_id=self._route_id)
        else:
            self._own.set(**{name: value for _, name, value in self._missing(attributes)})
        return ""

    def plan_removal(self) -> Step:
        """Look whether the queue may go, or what was added to it."""
        step = _removal(self.name, self._own, route_id=self._route_id, used_by=self._used_by)
        if step.doing is not Doing.LEAVE or self._used_by or not self._feeds_own_dead_letters():
            return step
        return Step(thing=self.name, doing=Doing.CHANGE, why="its dead-letter queue was created for this route")

    def remove(self) -> str:
        """Delete the queue, or take away its dead-letter queue."""
        if self._own.is_marked(self._route_id):
            return _delete_if_empty(self._own)
        self._own.set(RedrivePolicy="")
        return ""

    def _feeds_own_dead_letters(self) -> bool:
        own = self._dead_letters
        if own is None or self._own.is_marked(self._route_id):
            return False
        return _redrive(self._own.attributes()) == own.arn and own.is_marked(self._route_id)

    def _wanted(self) -> dict[str, str]:
        wanted = {}
        if self._need.kept_seconds:
            wanted["MessageRetentionPeriod"] = str(self._need.kept_seconds)
        if self._need.hidden_seconds:
            wanted["VisibilityTimeout"] = str(self._need.hidden_seconds)
        if self._dead_letters is not None:
            found = self._dead_letters.attributes()
            arn = found["QueueArn"] if found else self._dead_letters.arn
            policy = {"deadLetterTargetArn": arn, "maxReceiveCount": self._max_receives}
            wanted["RedrivePolicy"] = json.dumps(policy)
        return wanted

    def _missing(self, attributes: dict[str, str]) -> list[tuple[str, str, str]]:
        """Return why, the attribute and its value, for each that has to be set."""
        wanted, missing = self._wanted(), []
        if "RedrivePolicy" in wanted and not _redrive(attributes):
            missing.append(("it has no dead-letter queue", "RedrivePolicy", wanted["RedrivePolicy"]))
        found = int(attributes.get("VisibilityTimeout", 0))
        if found < self._need.hidden_seconds and self._own.is_marked(self._route_id):
            why = f"it hides messages for {found} s; the route's consumers for {self._need.hidden_seconds} s"
            missing.append((why, "VisibilityTimeout", str(self._need.hidden_seconds)))
        return missing


class QueuePolicy:
    """The statement of a queue's policy that lets the bucket, or the topic, send to it; a `Thing`."""

    def __init__(self, own: SqsQueueAccess, statement: dict[str, Any]) -> None:
        self._own = own
        self._statement = statement
        self._seen = ""
        sender = next(iter(statement["Condition"]["ArnEquals"].values()))
        self._why = f"{sender} may not send to the queue"
        self.name = f"policy of queue {own.name}"

    def plan(self) -> Step:
        """Look at the queue's policy."""
        self._seen = self._policy()
        if with_statement(self._seen, self._statement) is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="the sender is allowed")
        return Step(thing=self.name, doing=Doing.CREATE, why=self._why)

    def provide(self) -> str:
        """Put the statement beside those that are there."""
        policy = with_statement(self._policy(), self._statement)
        if policy is not None:
            self._own.set(Policy=policy)
        return ""

    def plan_removal(self) -> Step:
        """Look whether the statement is there."""
        if without_statement(self._policy(), self._statement["Sid"]) is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        return Step(thing=self.name, doing=Doing.REMOVE, why=f"statement {self._statement['Sid']} is this route's")

    def remove(self) -> str:
        """Take the statement out, and leave the others."""
        policy = without_statement(self._policy(), self._statement["Sid"])
        if policy is not None:
            self._own.set(Policy=policy)
        return ""

    def _policy(self) -> str:
        return (self._own.attributes() or {}).get("Policy", "")


def _redrive(attributes: dict[str, str] | None) -> str:
    """Return the ARN of a queue's dead-letter queue; empty if it has none."""
    return str(json.loads((attributes or {}).get("RedrivePolicy") or "{}").get("deadLetterTargetArn", ""))


def _waiting(queue: SqsQueueAccess) -> int:
    attributes = queue.attributes() or {}
    return sum(int(attributes.get(name, 0)) for name in _COUNTS)


def _removal(thing: str, queue: SqsQueueAccess, *, route_id: str, used_by: tuple[str, ...]) -> Step:
    if queue.attributes() is None:
        return Step(thing=thing, doing=Doing.KEEP, why="it is gone")
    if not queue.is_marked(route_id):
        return Step(thing=thing, doing=Doing.LEAVE, why="it was not created for this route")
    if used_by:
        return Step(thing=thing, doing=Doing.LEAVE, why=f"used by {', '.join(used_by)} too")
    waiting = _waiting(queue)
    if waiting:
        return Step(thing=thing, doing=Doing.LEAVE, why=f"{waiting:,} messages are in it; none is ever removed")
    return Step(thing=thing, doing=Doing.REMOVE, why="it was created for this route, and is empty")


def _delete_if_empty(queue: SqsQueueAccess) -> str:
    waiting = _waiting(queue)
    if waiting:
        return f"{waiting:,} messages have come in this moment"
    queue.delete()
    return ""
