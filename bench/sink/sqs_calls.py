"""The calls of SQS the consumer makes, in its JSON protocol; queues are made by the first message sent to them."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.sink.http_server import Answer, Request

TARGET = "x-amz-target"
"""The header that names the call; its value begins with `AmazonSQS.`."""

_JSON = {"Content-Type": "application/x-amz-json-1.0"}


@dataclass(slots=True, kw_only=True)
class _Message:
    """One message; its id is its number, and a holding of it has the number of times it was received behind that."""

    message_id: str
    body: str
    received_count: int = 0

    @property
    def receipt_handle(self) -> str:
        return f"{self.message_id}-{self.received_count}"

    def to_json(self) -> dict[str, Any]:
        return {
            "MessageId": self.message_id,
            "ReceiptHandle": self.receipt_handle,
            "MD5OfBody": _md5(self.body),
            "Body": self.body,
            "Attributes": {"ApproximateReceiveCount": str(self.received_count)},
        }


@dataclass(slots=True)
class _Queue:
    """Messages that wait, and those that are hidden until a time of the monotonic clock, by receipt handle."""

    waiting: deque[_Message] = field(default_factory=deque)
    held: dict[str, tuple[_Message, float]] = field(default_factory=dict)
    sent: int = 0

    def send(self, body: str) -> _Message:
        self.sent += 1
        message = _Message(message_id=str(self.sent), body=body)
        self.waiting.append(message)
        return message

    def receive(self, max_messages: int, visibility_seconds: float) -> list[_Message]:
        if not self.waiting:
            self._take_back_overdue()
        received = [self.waiting.popleft() for _ in range(min(max_messages, len(self.waiting)))]
        for message in received:
            message.received_count += 1
            self.held[message.receipt_handle] = (message, time.monotonic() + visibility_seconds)
        return received

    def _take_back_overdue(self) -> None:
        now = time.monotonic()
        for handle in [handle for handle, (_, ends_at) in self.held.items() if ends_at <= now]:
            self.waiting.append(self.held.pop(handle)[0])

    def hide(self, handle: str, seconds: float) -> bool:
        if handle not in self.held:
            return False
        self.held[handle] = (self.held[handle][0], time.monotonic() + seconds)
        return True

    def delete(self, handle: str) -> bool:
        return self.held.pop(handle, None) is not None


class SqsCalls:
    """Answers SQS's requests.

    A long poll that finds nothing is answered when its time is over: nobody sends while the benchmark consumes.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._answers: dict[str, Callable[[_Queue, dict[str, Any]], dict[str, Any]]] = {
            "SendMessageBatch": _send_all,
            "DeleteMessageBatch": _delete_all,
            "ChangeMessageVisibilityBatch": _hide_all,
            "GetQueueAttributes": _attributes,
        }

    def answer(self, request: Request) -> Answer:
        call, wanted = request.headers[TARGET].removeprefix("AmazonSQS."), json.loads(request.body)
        queue = self._queues.setdefault(wanted["QueueUrl"].rpartition("/")[2], _Queue())
        if call == "ReceiveMessage":
            return _receive(queue, wanted)
        if call not in self._answers:
            return Answer(status=501, headers=_JSON, body=json.dumps({"__type": call}).encode())
        return _json(self._answers[call](queue, wanted))


def _receive(queue: _Queue, wanted: dict[str, Any]) -> Answer:
    messages = queue.receive(wanted["MaxNumberOfMessages"], wanted["VisibilityTimeout"])
    found = {"Messages": [message.to_json() for message in messages]} if messages else {}
    return _json(found, delay_seconds=0.0 if messages else wanted["WaitTimeSeconds"])


def _send_all(queue: _Queue, wanted: dict[str, Any]) -> dict[str, Any]:
    sent = [(entry["Id"], queue.send(entry["MessageBody"])) for entry in wanted["Entries"]]
    return {
        "Successful": [
            {"Id": entry_id, "MessageId": message.message_id, "MD5OfMessageBody": _md5(message.body)}
            for entry_id, message in sent
        ]
    }


def _delete_all(queue: _Queue, wanted: dict[str, Any]) -> dict[str, Any]:
    return _told_apart({entry["Id"]: queue.delete(entry["ReceiptHandle"]) for entry in wanted["Entries"]})


def _hide_all(queue: _Queue, wanted: dict[str, Any]) -> dict[str, Any]:
    return _told_apart(
        {entry["Id"]: queue.hide(entry["ReceiptHandle"], entry["VisibilityTimeout"]) for entry in wanted["Entries"]}
    )


def _told_apart(done: dict[str, bool]) -> dict[str, Any]:
    failed = [
        {"Id": entry_id, "Code": "ReceiptHandleIsInvalid", "SenderFault": True}
        for entry_id, was_done in done.items()
        if not was_done
    ]
    return {"Successful": [{"Id": entry_id} for entry_id, was_done in done.items() if was_done], "Failed": failed}


def _attributes(queue: _Queue, _wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        "Attributes": {
            "ApproximateNumberOfMessages": str(len(queue.waiting)),
            "ApproximateNumberOfMessagesNotVisible": str(len(queue.held)),
            "ApproximateNumberOfMessagesDelayed": "0",
        }
    }


def _json(found: dict[str, Any], *, delay_seconds: float = 0.0) -> Answer:
    return Answer(headers=_JSON, body=json.dumps(found).encode(), delay_seconds=delay_seconds)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
