"""An SQS queue that is sent to: whether it is there, creating it, and sending; its errors are those of `SqsQueue`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from skyferry.detect.sqs_queue import SqsQueue
from skyferry.errors import RequestError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why SQS did not take one message of a batch; `is_final` when the message itself is at fault."""

    code: str
    is_final: bool


class OutgoingQueue(SqsQueue):
    """One queue that is sent to."""

    @property
    def region(self) -> str:
        """The region the client talks to."""
        return str(self._client.meta.region_name)

    async def exists(self) -> bool:
        """Tell whether there is such a queue (one request).

        Raises:
            AccessDeniedError: It may not be looked at.
        """
        try:
            await self.state()
        except RequestError:
            return False
        return True

    async def create(self) -> None:
        """Create the queue with SQS's default settings; one that exists already is fine.

        Raises:
            RequestError: A queue of that name was created, or was there, but under another URL.
        """
        try:
            answer = await self._client.create_queue(QueueName=_path(self.url)[-1])
        except Exception as error:  # noqa: BLE001
            self._fail(error, "creating", needs="sqs:CreateQueue")
        if _path(answer["QueueUrl"]) != _path(self.url):
            raise RequestError(
                f"the connection's account creates its queues as {answer['QueueUrl']}, not as {self.url}",
                hint="correct the queue's URL, or its connection; the queue of the first URL exists now",
            )

    async def send(self, bodies: Sequence[str]) -> Mapping[int, Refusal]:
        """Send up to ten messages in one request.

        SQS answers "done" to such a request even where it took only some of its messages, and lists the others.

        Returns:
            Those that were not taken, by their place.
        """
        entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(bodies)]
        try:
            answer = await self._client.send_message_batch(QueueUrl=self.url, Entries=entries)
        except Exception as error:  # noqa: BLE001
            self._fail(error, "sending messages to", needs="sqs:SendMessage")
        taken = {entry["Id"] for entry in answer.get("Successful", ())}
        refused = {
            entry["Id"]: Refusal(entry["Code"], bool(entry["SenderFault"])) for entry in answer.get("Failed", ())
        }
        # What is in neither list was not confirmed.
        return {
            place: refused.get(str(place), Refusal("no answer", is_final=False))
            for place in range(len(bodies))
            if str(place) not in taken
        }


def _path(url: str) -> list[str]:
    """Return account and name: the host is the endpoint's, which need not be the one of the URL."""
    return urlsplit(url).path.strip("/").split("/")
