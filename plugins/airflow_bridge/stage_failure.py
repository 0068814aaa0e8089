"""Ends a task with one message instead of a traceback.

Airflow logs a traceback of dozens of lines for every exception a task raises, `AirflowFailException` included, and the
reason drowns in it. `SystemExit` is the one exception it logs in a single line, while everything else about a failure
(retry policy, callbacks, lineage) works as for any other. So an error that was foreseen is logged as one message and
leaves the task as a `SystemExit`; an exception nobody foresaw keeps its traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from skyferry.errors import TransferError


class _ErrorLog(Protocol):
    def error(self, message: str, /, *arguments: object) -> None: ...


class StageFailed(SystemExit):
    """A stage of a transfer failed for a reason that was logged.

    Attributes:
        error: The reason; None when the task was stopped from outside.
    """

    def __init__(self, message: str, error: TransferError | None) -> None:
        super().__init__(1)
        self.message = message
        self.error = error

    def __str__(self) -> str:
        return self.message


@contextmanager
def failing_plainly(log: _ErrorLog) -> Iterator[None]:
    """Let a block's foreseen errors leave it as `StageFailed`, logged in one line.

    Raises:
        StageFailed: For every `TransferError`, and when the block was cancelled.
    """
    try:
        yield
    except TransferError as error:
        log.error("%s", error)
        raise StageFailed(str(error), error) from error
    except asyncio.CancelledError:
        message = "the task was stopped; every destination key shows the old object or the whole new one"
        log.error(message)
        raise StageFailed(message, None) from None
