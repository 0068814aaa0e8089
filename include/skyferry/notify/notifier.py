"""The protocol of whoever tells others what has arrived; a transfer asks for no more than this."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from skyferry.errors import TransferError
from skyferry.notify.messages import Arrival


class Notifier(Protocol):
    """Tells somebody of objects that have arrived."""

    async def prepare(self, *, is_rehearsal: bool = False) -> None:
        """Make sure that there is somebody to tell, before anything is copied.

        Args:
            is_rehearsal: Create nothing.

        Raises:
            TransferError: There is nobody; the message says what to do.
        """

    async def tell(self, arrivals: Sequence[Arrival]) -> list[TransferError | None]:
        """Return for each object why it could not be told of; None for those that were, at least once."""


class NotifierOpener(Protocol):
    """Opens the notifier of a transfer with the credentials of its connection; the Airflow bridge supplies one."""

    def __call__(self) -> AbstractAsyncContextManager[Notifier]:
        """Return a context that yields the notifier and closes its client."""
