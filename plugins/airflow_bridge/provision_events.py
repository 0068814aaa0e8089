"""How a bucket's events reach a route: its notification, straight to a queue or a function, or through an SNS topic."""

from __future__ import annotations

from typing import Any

from airflow_bridge.provision_calls import AwsAccount, ask, ask_if_there
from airflow_bridge.provision_record import CreationRecord
from skyferry.errors import PermanentError
from skyferry.provisioning.route_needs import MARK_TAG
from skyferry.provisioning.shared_documents import (
    target_of,
    with_notification,
    with_statement,
    without_notification,
    without_statement,
)
from skyferry.provisioning.surroundings_plan import Doing, Step

_NO_BUCKET = ("404", "NoSuchBucket")
_NO_TOPIC = ("NotFound", "NotFoundException", "NotFoundError")


class BucketNotification:
    """A bucket's notification of a route's queue or topic; a `skyferry.provisioning.surroundings_plan.Thing`.

    S3 has one document of notifications for each bucket and replaces it as a whole. It is read again right before it is
    written, and left alone if it has changed since the plan; S3 offers no condition for the last moment.

    Args:
        rule: As `skyferry.provisioning.shared_documents.notification_rule`.
        fed: Other routes that this route's rule feeds too.
    """

    def __init__(self, account: AwsAccount, bucket: str, rule: dict[str, Any], *, fed: tuple[str, ...]) -> None:
        self._client = account.client("s3")
        self._bucket = bucket
        self._rule = rule
        self._fed = fed
        self._seen: dict[str, Any] = {}
        self.name = f"notification of s3://{bucket}/"

    def plan(self) -> Step:
        """Look at the bucket's notifications.

        Raises:
            RequestError: Another rule stands in the way.
        """
        self._seen = self._found()
        if with_notification(self._seen, self._rule, bucket=self._bucket) is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="the events are sent")
        why = f"nothing sends the route's events to {target_of(self._rule)}"
        return Step(thing=self.name, doing=Doing.CREATE, why=why)

    def provide(self) -> str:
        """Put the rule beside those that are there."""
        document = with_notification(self._unchanged(), self._rule, bucket=self._bucket)
        if document is not None:
            self._write(document)
        return ""

    def plan_removal(self) -> Step:
        """Look whether the rule is there."""
        self._seen = self._found()
        if without_notification(self._seen, self._rule["Id"]) is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if self._fed:
            return Step(thing=self.name, doing=Doing.LEAVE, why=f"it feeds {', '.join(self._fed)} too")
        return Step(thing=self.name, doing=Doing.REMOVE, why=f"rule {self._rule['Id']} is this route's")

    def remove(self) -> str:
        """Take the rule out, and leave the others."""
        document = without_notification(self._unchanged(), self._rule["Id"])
        if document is not None:
            self._write(document)
        return ""

    def _unchanged(self) -> dict[str, Any]:
        found = self._found()
        if found != self._seen:
            raise PermanentError(
                f"the notifications of s3://{self._bucket}/ have changed in this moment; they were left alone",
                hint="run it again",
            )
        return found

    def _found(self) -> dict[str, Any]:
        answer = ask_if_there(
            self._client.get_bucket_notification_configuration,
            f"reading the notifications of s3://{self._bucket}/",
            needs="s3:GetBucketNotification",
            absent=_NO_BUCKET,
            Bucket=self._bucket,
        )
        return {name: value for name, value in (answer or {}).items() if name != "ResponseMetadata"}

    def _write(self, document: dict[str, Any]) -> None:
        ask(
            self._client.put_bucket_notification_configuration,
            f"writing the notifications of s3://{self._bucket}/",
            needs="s3:PutBucketNotification, and that the policy of what it sends to allows it",
            Bucket=self._bucket,
            NotificationConfiguration=document,
        )


class EventsTopic:
    """The SNS topic between bucket and queue; a `Thing`.

    Args:
        statement: What lets the bucket publish, for the topic's policy.
        queue_arn: The route's own queue, whose subscription holds nobody up.
        used_by: Other routes that use the topic.
    """

    def __init__(
        self,
        account: AwsAccount,
        arn: str,
        statement: dict[str, Any],
        *,
        queue_arn: str,
        route_id: str,
        used_by: tuple[str, ...],
    ) -> None:
        self._client = account.client("sns")
        self._arn = arn
        self._statement = statement
        self._queue_arn = queue_arn
        self._route_id = route_id
        self._used_by = used_by
        self.name = f"topic {arn.rpartition(':')[2]}"

    def plan(self) -> Step:
        """Look at the topic and its policy."""
        policy = self._policy()
        if policy is None:
            return Step(thing=self.name, doing=Doing.CREATE, why="it is missing")
        if with_statement(policy, self._statement) is not None:
            return Step(thing=self.name, doing=Doing.CHANGE, why="the bucket may not publish to it")
        return Step(thing=self.name, doing=Doing.KEEP, why="it is there, and the bucket may publish to it")

    def provide(self) -> str:
        """Create the topic if it is missing, and let the bucket publish."""
        policy = self._policy()
        if policy is None:
            ask(
                self._client.create_topic,
                f"creating {self.name}",
                needs="sns:CreateTopic and sns:TagResource",
                Name=self._arn.rpartition(":")[2],
                Tags=[{"Key": MARK_TAG, "Value": self._route_id}],
            )
            policy = self._policy() or ""
        changed = with_statement(policy, self._statement)
        if changed is not None:
            self._write(changed)
        return ""

    def plan_removal(self) -> Step:
        """Look whether the topic, or only what was added to its policy, may go."""
        policy = self._policy()
        if policy is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if self._is_own() and not self._used_by and not self._has_other_hearers():
            return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route, and nobody else hears")
        if without_statement(policy, self._statement["Sid"]) is not None:
            return Step(thing=self.name, doing=Doing.CHANGE, why="the bucket need not publish to it any more")
        return Step(thing=self.name, doing=Doing.LEAVE, why="others use it, or it was not created for this route")

    def remove(self) -> str:
        """Delete the topic, or take the statement out of its policy."""
        if self._is_own() and not self._used_by and not self._has_other_hearers():
            ask(self._client.delete_topic, f"deleting {self.name}", needs="sns:DeleteTopic", TopicArn=self._arn)
            return ""
        changed = without_statement(self._policy() or "", self._statement["Sid"])
        if changed:
            self._write(changed)
        return ""

    def _policy(self) -> str | None:
        answer = ask_if_there(
            self._client.get_topic_attributes,
            f"looking at {self.name}",
            needs="sns:GetTopicAttributes",
            absent=_NO_TOPIC,
            TopicArn=self._arn,
        )
        return None if answer is None else str(answer["Attributes"].get("Policy", ""))

    def _write(self, policy: str) -> None:
        ask(
            self._client.set_topic_attributes,
            f"changing the policy of {self.name}",
            needs="sns:SetTopicAttributes",
            TopicArn=self._arn,
            AttributeName="Policy",
            AttributeValue=policy,
        )

    def _is_own(self) -> bool:
        answer = ask(
            self._client.list_tags_for_resource,
            f"reading the tags of {self.name}",
            needs="sns:ListTagsForResource",
            ResourceArn=self._arn,
        )
        return {"Key": MARK_TAG, "Value": self._route_id} in answer.get("Tags", ())

    def _has_other_hearers(self) -> bool:
        return any(one["Endpoint"] != self._queue_arn for one in subscriptions(self._client, self._arn))


class TopicSubscription:
    """The queue's subscription to the topic; a `Thing`. It cannot be tagged, so it is on record."""

    def __init__(self, account: AwsAccount, topic_arn: str, queue_arn: str, record: CreationRecord) -> None:
        self._client = account.client("sns")
        self._topic_arn = topic_arn
        self._queue_arn = queue_arn
        self._record = record
        self.name = f"subscription of {queue_arn.rpartition(':')[2]} to topic {topic_arn.rpartition(':')[2]}"

    def plan(self) -> Step:
        """Look at the topic's subscriptions."""
        if self._found():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is there")
        return Step(thing=self.name, doing=Doing.CREATE, why="the queue does not hear the topic")

    def provide(self) -> str:
        """Subscribe."""
        ask(
            self._client.subscribe,
            f"making the {self.name}",
            needs="sns:Subscribe",
            TopicArn=self._topic_arn,
            Protocol="sqs",
            Endpoint=self._queue_arn,
            Attributes={"RawMessageDelivery": "true"},
        )
        self._record.add(self.name)
        return ""

    def plan_removal(self) -> Step:
        """Look whether there is one of ours."""
        if not self._found():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if not self._record.holds(self.name):
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was not made for this route")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was made for this route")

    def remove(self) -> str:
        """End the subscription."""
        ask(
            self._client.unsubscribe,
            f"ending the {self.name}",
            needs="sns:Unsubscribe",
            SubscriptionArn=self._found(),
        )
        self._record.drop(self.name)
        return ""

    def _found(self) -> str:
        found = subscriptions(self._client, self._topic_arn)
        return next((one["SubscriptionArn"] for one in found if one["Endpoint"] == self._queue_arn), "")


def subscriptions(client: Any, topic_arn: str) -> list[dict[str, str]]:
    """Return who hears a topic; nobody if there is no topic."""
    found: list[dict[str, str]] = []
    token: dict[str, str] = {}
    while True:
        answer = ask_if_there(
            client.list_subscriptions_by_topic,
            f"looking at the subscriptions of {topic_arn}",
            needs="sns:ListSubscriptionsByTopic",
            absent=_NO_TOPIC,
            TopicArn=topic_arn,
            **token,
        )
        if answer is None:
            return []
        found += answer.get("Subscriptions", ())
        if not answer.get("NextToken"):
            return found
        token = {"NextToken": answer["NextToken"]}
