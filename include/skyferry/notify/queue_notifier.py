"""Sends a message for each arrived object to an SQS queue: at least once, ten in a request.

Who calls it lets go of the source only after the message of its object is sent. So whoever dies in between finds the
source again, and sends again; a message may come twice, and none is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.attempts import Attempts
from skyferry.detect.sqs_queue import MAX_BATCH, QueueMissingError
from skyferry.errors import PermanentError, RequestError, RetryableError, TransferError
from skyferry.notify.messages import Arrival, Shape, message_body
from skyferry.notify.outgoing_queue import OutgoingQueue, Refusal


class QueueNotifier:
    """Tells one queue; a `skyferry.notify.notifier.Notifier`.

    Args:
        shape: What the messages look like.
        creates_queue: Create the queue if it is missing.
    """

    def __init__(self, queue: OutgoingQueue, *, shape: Shape, creates_queue: bool) -> None:
        self._queue = queue
        self._shape = shape
        self._creates_queue = creates_queue

    async def prepare(self, *, is_rehearsal: bool = False) -> None:
        """Make sure that there is a queue, before anything is copied that it is to be told of.

        Args:
            is_rehearsal: Create nothing; a queue that is missing and would be created is fine.

        Raises:
            RequestError: There is none, and it is not to be created.
            AccessDeniedError: The queue may not be looked at or created.
        """
        attempts = Attempts()
        if self._creates_queue and not is_rehearsal:
            await attempts.call(self._queue.create_if_missing)
            return
        try:
            await attempts.call(self._queue.state)
        except QueueMissingError:
            if self._creates_queue:
                return
            raise RequestError(
                f"there is no queue {self._queue.url}, which destination.notify names",
                hint="create it, correct notify.queue_url or its connection, or set notify.create_queue; "
                "nothing was copied",
            ) from None

    async def tell(self, arrivals: Sequence[Arrival]) -> list[TransferError | None]:
        """Send a message for each object; never raises for what concerns single messages or the queue.

        Costs a request for each ten messages, and more while some of them are refused.

        Returns:
            For each object why its message was not sent; None for those that were.
        """
        region = self._queue.region
        bodies = [message_body(arrival, self._shape, region=region) for arrival in arrivals]
        outcomes: list[TransferError | None] = []
        for start in range(0, len(bodies), MAX_BATCH):
            outcomes += await self._send(bodies[start : start + MAX_BATCH])
        return outcomes

    async def _send(self, bodies: Sequence[str]) -> list[TransferError | None]:
        """Send up to ten messages, those that were refused for a passing reason again and again for a while."""
        unsent = dict(enumerate(bodies))
        final: dict[int, TransferError] = {}

        async def send_unsent() -> None:
            numbers = list(unsent)
            refused = await self._queue.send([unsent[number] for number in numbers])
            for place, number in enumerate(numbers):
                refusal = refused.get(place)
                if refusal is not None and not refusal.is_final:
                    continue
                del unsent[number]
                if refusal is not None:
                    final[number] = PermanentError(self._text(refusal), hint="see the queue's policy and limits")
            if unsent:
                raise RetryableError(self._text(next(iter(refused.values()))))

        error: TransferError | None = None
        try:
            await Attempts().call(send_unsent)
        except TransferError as caught:
            error = caught
        return [final.get(number) or (error if number in unsent else None) for number in range(len(bodies))]

    def _text(self, refusal: Refusal) -> str:
        return f"sending a message to {self._queue.url} failed: the queue refused it ({refusal.code})"
