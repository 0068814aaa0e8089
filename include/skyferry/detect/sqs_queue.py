"""One SQS queue behind a client: what it can be asked for, and what its errors mean.

Nothing is retried here and nothing is decided; see `skyferry.detect.queue_consumer`. A message stays in the queue,
hidden for a while, until it is deleted: whoever dies holding one loses nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import aiohttp
from botocore import exceptions as botocore_errors

from skyferry.errors import (
    AccessDeniedError,
    ConnectionConfigError,
    ConnectionLostError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransferError,
)

MAX_BATCH = 10
"""Messages in one request. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

MAX_MESSAGE_BYTES = 2**20
"""Body and attributes of one message together; same page."""

MAX_VISIBILITY_SECONDS = 43_200
"""A message can be held no longer than twelve hours from when it was received; same page."""

REASON_ATTRIBUTE = "skyferry_reason"
MESSAGE_ID_ATTRIBUTE = "skyferry_message_id"
"""Message attributes of what is sent to a dead-letter queue: why, and which message it was."""

_MAX_ATTRIBUTES = 10
_MAX_REASON_CHARACTERS = 1000
_ACCESS_CODES = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken",
        "ExpiredTokenException", "InvalidSecurity", "SignatureDoesNotMatch", "InvalidSignatureException",
        "KMS.AccessDeniedException", "KmsAccessDenied", "OptInRequired",
    }
)  # fmt: skip
_THROTTLE_CODES = frozenset(
    {
        "RequestThrottled", "ThrottlingException", "Throttling", "OverLimit", "KMS.ThrottlingException", "KmsThrottled",
        "AWS.SimpleQueueService.OverLimit",
    }
)  # fmt: skip
_MISSING_CODES = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NonExistentQueue"})
_DELETED_LATELY_CODES = frozenset({"AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"})
_DELETED_LATELY_SECONDS = 60.0
"""A name is free again so long after its queue was deleted. Source: the API reference, CreateQueue."""

_AWS_HOST = re.compile(r"//sqs\.([a-z0-9-]+)\.amazonaws\.com")
_LOST_HOLD_CODES = frozenset(
    {
        "ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight",
        "InvalidParameterValue",
    }
)  # fmt: skip
_TRANSPORT_ERRORS = (
    botocore_errors.HTTPClientError,
    botocore_errors.ConnectionError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
)


class QueueMissingError(RequestError):
    """There is no queue of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMessage:
    """One message that is held: hidden from other consumers until its visibility timeout ends.

    Attributes:
        receipt_handle: Names this holding of the message; only the last one given counts.
        received_count: How often the message was handed out, this time included.
        attributes: Message attributes as SQS gives them.
    """

    message_id: str
    receipt_handle: str
    body: str
    received_count: int = 1
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """What a queue says of itself; the numbers are approximate, as SQS says.

    Attributes:
        waiting: Messages that can be received now.
        in_flight: Messages that some consumer holds.
        dead_letter_arn: Where SQS moves what was received too often; empty when there is no such queue.
        max_receives: After how many receptions it does so; 0 when it never does.
    """

    waiting: int
    in_flight: int
    delayed: int
    dead_letter_arn: str = ""
    max_receives: int = 0


class SqsQueue:
    """One queue.

    Every method raises errors of `skyferry.errors` only: `ThrottledError` and `ConnectionLostError` may be retried;
    `RequestError` (no such queue) and `AccessDeniedError` need somebody to change something. No message's body is ever
    part of an error.

    Args:
        client: An aiobotocore SQS client whose own retries are off; it stays the caller's to close.
        url: The queue's URL; requests go to the client's endpoint, never to the host in this URL's place.

    Raises:
        RequestError: The queue is a FIFO queue: a message of a group that has to wait would hold up the whole group.
    """

    def __init__(self, client: Any, url: str) -> None:
        if url.endswith(".fifo"):
            raise RequestError(
                f"{url} is a FIFO queue; expected a standard queue", hint="S3 sends its events to standard queues only"
            )
        self._client = client
        self.url = url

    async def state(self) -> QueueState:
        """Return how much there is to do; consumes nothing and hides nothing (one request)."""
        try:
            answer = await self._client.get_queue_attributes(
                QueueUrl=self.url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                    "RedrivePolicy",
                ],
            )
        except Exception as error:  # noqa: BLE001 - every error of the client is translated into ours
            self._fail(error, "looking at", needs="sqs:GetQueueAttributes")
        values = answer.get("Attributes", {})
        redrive = json.loads(values.get("RedrivePolicy") or "{}")
        return QueueState(
            waiting=int(values.get("ApproximateNumberOfMessages", 0)),
            in_flight=int(values.get("ApproximateNumberOfMessagesNotVisible", 0)),
            delayed=int(values.get("ApproximateNumberOfMessagesDelayed", 0)),
            dead_letter_arn=str(redrive.get("deadLetterTargetArn", "")),
            max_receives=int(redrive.get("maxReceiveCount", 0)),
        )

    async def create_if_missing(self) -> bool:
        """Create the queue if there is none, with the settings AWS gives a new one; return whether there was none.

        Raises:
            RequestError: The URL is of another region or account than the connection, so that another queue would be
                created than the one that is meant. Nothing was created when it is the region; for an account that shows
                only afterwards.
        """
        try:
            await self.state()
        except QueueMissingError:
            await self._create()
            return True
        return False

    async def _create(self) -> None:
        account, name = self.url.split("/")[-2:]
        region = _AWS_HOST.search(self.url)
        if region and region[1] != self._client.meta.region_name:
            raise RequestError(
                f"there is no queue {self.url}, and its connection is for the region {self._client.meta.region_name}",
                hint="correct queue_url or the connection; nothing was created",
            )
        try:
            answer = await self._client.create_queue(QueueName=name)
        except Exception as error:  # noqa: BLE001
            self._fail(error, "creating", needs="sqs:CreateQueue")
        created_account, created_name = answer["QueueUrl"].split("/")[-2:]
        if (created_account, created_name) != (account, name):
            raise RequestError(
                f"creating {self.url} made {answer['QueueUrl']}: its connection belongs to another account",
                hint="delete that one, and correct queue_url or the connection",
            )

    async def receive(self, *, max_messages: int, wait_seconds: int, visibility_seconds: int) -> list[QueueMessage]:
        """Return up to ten messages and hide them from others.

        Args:
            max_messages: 1 to 10.
            wait_seconds: 0 to 20; from 1 on SQS asks all of its servers, so that an empty answer means something.
            visibility_seconds: 1 to 43,200; for so long they stay hidden unless that is changed.
        """
        try:
            answer = await self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=max_messages,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=visibility_seconds,
                AttributeNames=["ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
        except Exception as error:  # noqa: BLE001
            self._fail(error, "receiving from", needs="sqs:ReceiveMessage")
        return [_message(entry) for entry in answer.get("Messages", ())]

    async def set_visibility(self, messages: Sequence[QueueMessage], seconds: int) -> list[QueueMessage]:
        """Hide held messages for so many seconds from now on; 0 gives them back at once.

        Returns:
            Those for which it failed, of at most ten; mostly their hold had ended, and somebody else may have them.
        """
        entries = [
            {"Id": str(index), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": seconds}
            for index, message in enumerate(messages)
        ]
        try:
            answer = await self._client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        except Exception as error:  # noqa: BLE001
            if _code(error) in _LOST_HOLD_CODES:
                return list(messages)
            self._fail(error, "holding messages of", needs="sqs:ChangeMessageVisibility")
        return [messages[int(entry["Id"])] for entry in answer.get("Failed", ())]

    async def delete(self, messages: Sequence[QueueMessage]) -> list[QueueMessage]:
        """Delete messages for good.

        SQS answers "done" to such a request even where some of its messages were not deleted, and lists those.

        Returns:
            Those that were not deleted, of at most ten; they will be handed out again.
        """
        entries = [
            {"Id": str(index), "ReceiptHandle": message.receipt_handle} for index, message in enumerate(messages)
        ]
        try:
            answer = await self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        except Exception as error:  # noqa: BLE001
            self._fail(error, "deleting messages of", needs="sqs:DeleteMessage")
        deleted = {entry["Id"] for entry in answer.get("Successful", ())}
        return [message for index, message in enumerate(messages) if str(index) not in deleted]

    async def dead_letter_queue(self, state: QueueState) -> SqsQueue | None:
        """Return the queue SQS would move messages to; None when the queue has none (one request when it has)."""
        if not state.dead_letter_arn:
            return None
        *_, account, name = state.dead_letter_arn.split(":")
        try:
            answer = await self._client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        except Exception as error:  # noqa: BLE001
            self._fail(error, f"finding the dead-letter queue {name} of", needs="sqs:GetQueueUrl")
        return SqsQueue(self._client, answer["QueueUrl"])

    async def send_copy(self, message: QueueMessage, reason: str) -> None:
        """Send a message's copy here, with the reason and the message's id as attributes; see `can_hold`."""
        try:
            await self._client.send_message(
                QueueUrl=self.url, MessageBody=message.body, MessageAttributes=_copy_attributes(message, reason)
            )
        except Exception as error:  # noqa: BLE001
            self._fail(error, f"sending message {message.message_id} to", needs="sqs:SendMessage")

    def _fail(self, error: Exception, action: str, *, needs: str) -> NoReturn:
        raise self._translate(error, f"{action} {self.url} failed", needs) from error

    def _translate(self, error: Exception, what: str, needs: str) -> TransferError:
        if isinstance(error, botocore_errors.ClientError):
            return self._translate_answer(error, what, needs)
        if isinstance(error, botocore_errors.SSLError | aiohttp.ClientSSLError):
            return ConnectionConfigError(
                f"{what}: the certificate of the endpoint is not trusted", hint="set `verify` in the connection"
            )
        if isinstance(error, botocore_errors.NoCredentialsError | botocore_errors.PartialCredentialsError):
            return AccessDeniedError(f"{what}: the connection has no credentials", hint="add them to the connection")
        if isinstance(error, _TRANSPORT_ERRORS):
            return ConnectionLostError(
                f"{what}: {type(error).__name__}", hint=f"{self._client.meta.endpoint_url} did not answer properly"
            )
        return PermanentError(f"{what}: {type(error).__name__}")

    def _translate_answer(self, error: botocore_errors.ClientError, what: str, needs: str) -> TransferError:
        code, status = _code(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _MISSING_CODES:
            return QueueMissingError(
                f"there is no queue {self.url}", hint="check queue_url, and the region of its connection"
            )
        if code in _DELETED_LATELY_CODES:
            return ThrottledError(
                f"{what}: a queue of that name was deleted less than a minute ago",
                retry_after_seconds=_DELETED_LATELY_SECONDS,
            )
        if code in _ACCESS_CODES or status in (401, 403):
            return AccessDeniedError(f"access denied {what.removesuffix(' failed')} ({code})", hint=f"it needs {needs}")
        if code in _THROTTLE_CODES or status in (429, 503):
            return ThrottledError(f"{what}: the queue asked for fewer requests ({code})")
        if status >= 500:
            return ConnectionLostError(f"{what}: the queue answered {status} {code}")
        return PermanentError(f"{what}: the queue answered {status} {code}")


def can_hold(message: QueueMessage, reason: str) -> bool:
    """Tell whether a message's copy with its reason is small enough to be sent; the largest messages are not."""
    size_bytes = len(message.body.encode("utf-8", "surrogatepass"))
    for name, attribute in _copy_attributes(message, reason).items():
        values = (name, *attribute.values())
        size_bytes += sum(len(value if isinstance(value, bytes) else str(value).encode()) for value in values)
    return size_bytes <= MAX_MESSAGE_BYTES


def _copy_attributes(message: QueueMessage, reason: str) -> dict[str, dict[str, Any]]:
    """Return the message's own attributes, as many as there is room for, and ours."""
    ours = {REASON_ATTRIBUTE: reason[:_MAX_REASON_CHARACTERS], MESSAGE_ID_ATTRIBUTE: message.message_id}
    others = {
        name: {key: value for key, value in attribute.items() if key in ("DataType", "StringValue", "BinaryValue")}
        for name, attribute in message.attributes.items()
        if name not in ours
    }
    kept = dict(list(others.items())[: _MAX_ATTRIBUTES - len(ours)])
    return kept | {name: {"DataType": "String", "StringValue": value} for name, value in ours.items()}


def _message(entry: Mapping[str, Any]) -> QueueMessage:
    return QueueMessage(
        message_id=entry["MessageId"],
        receipt_handle=entry["ReceiptHandle"],
        body=entry["Body"],
        received_count=int(entry.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
        attributes=entry.get("MessageAttributes", {}),
    )


def _code(error: Exception) -> str:
    if not isinstance(error, botocore_errors.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))
