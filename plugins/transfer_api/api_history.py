"""The run history for one caller; reports are kept in memory, because pages ask for the same ones again and again.

Which runs there are is asked of Airflow each time, with the caller's token. A report is kept for the caller who read
it, and for the run as it was then: one that ran again has other times.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime

from skyferry.history.run_history import RunHistory
from skyferry.history.transfer_run import TransferRun
from transfer_api.api_caller import Caller

MAX_REPORTS = 2_000
"""About 2 kB each."""

_Key = tuple[str, str, str, str, datetime | None, datetime | None]
_reports: OrderedDict[_Key, TransferRun] = OrderedDict()
_lock = threading.Lock()


class CallerHistory(RunHistory):
    """The runs that a caller may see."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller.airflow())
        self._caller_name = caller.name

    def with_report(self, run: TransferRun) -> TransferRun:
        """Return the run with its report, if it is finished and has one; costs one request the first time."""
        if not run.is_finished:
            return run
        key = (self._caller_name, run.dag_id, run.run_id, run.state, run.started_at, run.ended_at)
        with _lock:
            known = _reports.get(key)
            if known is not None:
                _reports.move_to_end(key)
                return known
        found = super().with_report(run)
        if found.report is not None:
            with _lock:
                _reports[key] = found
                while len(_reports) > MAX_REPORTS:
                    _reports.popitem(last=False)
        return found
