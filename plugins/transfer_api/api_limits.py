"""No request is larger than the largest message of a queue; what is larger is refused before it is read."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transfer_api.api_problems import problem_response

MAX_BODY_BYTES = 2**20


class BodyLimit:
    """Refuses bodies above `MAX_BODY_BYTES`, announced or not, and holds no more than that of any."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the limit, then pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages = await _read(receive)
        if messages is None:
            response = problem_response(
                413, f"the request is larger than {MAX_BODY_BYTES:,} bytes", code="RequestTooLarge"
            )
            await response(scope, receive, send)
            return
        read = iter(messages)

        async def receive_again() -> Message:
            message = next(read, None)
            return message if message is not None else await receive()

        await self._app(scope, receive_again, send)


async def _read(receive: Receive) -> list[Message] | None:
    """Return the messages of a body; None if it is too large."""
    messages: list[Message] = []
    size_bytes = 0
    while True:
        message = await receive()
        messages.append(message)
        size_bytes += len(message.get("body", b""))
        if size_bytes > MAX_BODY_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return messages
