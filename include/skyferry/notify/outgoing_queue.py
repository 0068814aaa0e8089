"""An SQS queue that is sent to, in batches of which SQS may take a part; otherwise it is an `SqsQueue`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skyferry.detect.sqs_queue import SqsQueue


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
