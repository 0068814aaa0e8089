"""A transport for OpenLineage for which nobody waits: each event is sent by a process of its own, beside the task.

Airflow's listener waits for every event, up to its time-out, so a backend that hangs would slow down each task. Name
the transport in `AIRFLOW__OPENLINEAGE__TRANSPORT`; its other settings are those of OpenLineage's `http`.
"""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from openlineage.client.transport.http import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_SECONDS = 60
"""An event that was not sent by then is given up; so no more processes pile up than events come in this time."""

LOG_NAME = "lineage.log"
"""In Airflow's folder of logs: a line for each event that could not be sent."""


class DetachedHttpTransport(HttpTransport):
    """Sends as `http` does, but returns before anything is sent; costs two forks, a few hundredths of a second.

    What could not be sent is a line in `LOG_NAME`. Events of one task may arrive in another order than they were sent;
    each carries its time.
    """

    kind = "detached_http"

    def emit(self, event: Any) -> Any:
        """Hand one event to a process of its own."""
        send = super().emit
        first = os.fork()
        if first:
            os.waitpid(first, 0)
            return None
        # Whatever happens, this copy of the task's process must not go on with the task.
        try:
            if not os.fork():
                self._session = None  # its connections belong to the process that made them
                _send_alone(lambda: send(event))
        finally:
            os._exit(0)


def _send_alone(send: Callable[[], object]) -> None:
    """Send with nothing in common with the task: Airflow takes a task for running while its files are open."""
    log = Path(conf.get("logging", "base_log_folder")) / LOG_NAME
    os.setsid()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(LONGEST_SECONDS)
    try:
        send()
    except BaseException as error:  # noqa: BLE001 - nobody is left to raise it to
        line = f"{datetime.now(UTC).isoformat(timespec='seconds')} an event was not sent: {error!r}"
        with log.open("a", encoding="utf-8") as file:
            file.write(" ".join(line.split())[:1000] + "\n")


def _give_up(*_: object) -> None:
    raise TimeoutError(f"no answer within {LONGEST_SECONDS} s")
