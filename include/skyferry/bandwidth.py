"""A cap on bytes a second that may change with the time of day, and the line in which bytes wait for it.

A timetable is written as for rclone's `--bwlimit`: `10M` at any time, or `08:00,10M 18:00,off` for 10 MiB a second from
8 to 18 o'clock (UTC) and no cap from then on. A day may stand before the time: `Mon-08:00,10M Sat-00:00,off`.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from skyferry.errors import RequestError

BANDWIDTH_RULE = 'bytes a second such as 10M, or a timetable such as "08:00,10M 18:00,off" (UTC), or nothing for no cap'

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MINUTES_A_DAY = 24 * 60
_UNITS = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_RATE = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,3})?)(?P<unit>[BKMGT])")
_ENTRY = re.compile(r"((?P<day>[A-Z][a-z]{2})-)?(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}),(?P<rate>[^ ,]+)")
_LONGEST_WAIT_SECONDS = 60.0
"""The timetable is looked at again at least this often."""


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes a second by the time of the week; None where there is no cap.

    Attributes:
        begins: Minutes of the week at which a cap begins to hold, ascending, the first one 0.
        bytes_per_second: The caps.
    """

    begins: tuple[int, ...]
    bytes_per_second: tuple[float | None, ...]

    @staticmethod
    def parse(text: str) -> Bandwidth:
        """Return what a text means; an empty one is no cap.

        Raises:
            RequestError: It is neither a rate nor a timetable.
        """
        entries = text.split()
        if not entries:
            return Bandwidth((0,), (None,))
        if len(entries) == 1 and "," not in text:
            return Bandwidth((0,), (_rate_of(entries[0], text),))
        caps: dict[int, float | None] = {}
        for entry in entries:
            for minute in _minutes_of(entry, text):
                caps[minute] = _rate_of(entry.rpartition(",")[2], text)
        begins = sorted(caps)
        if begins[0]:  # what holds last in a week holds on at the beginning of the next one
            caps[0] = caps[begins[-1]]
            begins.insert(0, 0)
        return Bandwidth(tuple(begins), tuple(caps[minute] for minute in begins))

    @property
    def is_capped(self) -> bool:
        """Tell whether there is a cap at any time."""
        return any(rate is not None for rate in self.bytes_per_second)

    def at(self, moment: datetime) -> float | None:
        """Return the cap that holds at a time; None for no cap."""
        utc = moment.astimezone(UTC)
        minute = utc.weekday() * _MINUTES_A_DAY + utc.hour * 60 + utc.minute
        return self.bytes_per_second[bisect_right(self.begins, minute) - 1]


def _minutes_of(entry: str, text: str) -> list[int]:
    match = _ENTRY.fullmatch(entry)
    if match is None or int(match["hour"]) > 23 or int(match["minute"]) > 59:
        raise _wrong(text)
    if match["day"] is not None and match["day"] not in _DAYS:
        raise _wrong(text)
    days = range(7) if match["day"] is None else [_DAYS.index(match["day"])]
    return [day * _MINUTES_A_DAY + int(match["hour"]) * 60 + int(match["minute"]) for day in days]


def _rate_of(rate: str, text: str) -> float | None:
    if rate == "off":
        return None
    match = _RATE.fullmatch(rate)
    bytes_per_second = float(match["number"]) * _UNITS[match["unit"]] if match else 0.0
    if bytes_per_second < 1:
        raise _wrong(text)
    return bytes_per_second


def _wrong(text: str) -> RequestError:
    return RequestError(f'max_bytes_per_second is "{text[:80]}"; expected {BANDWIDTH_RULE}')


class ByteRate:
    """Lets bytes pass no faster than a share of a bandwidth, in the order in which they came.

    Args:
        share: The part of the cap that is this line's: 1 divided by how many work at the same time.
        clock: The time of day; for tests.
    """

    def __init__(
        self, bandwidth: Bandwidth, *, share: float = 1.0, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._bandwidth = bandwidth
        self._share = share
        self._clock = clock
        self._line = asyncio.Lock()
        self._owed_bytes = 0.0
        self._counted_at = 0.0

    async def wait_for(self, size_bytes: int) -> None:
        """Wait until so many bytes may pass: until those before them have passed at the rate that held meanwhile."""
        if not self._bandwidth.is_capped:
            return
        async with self._line:
            while wait_seconds := self._wait_seconds():  # noqa: ASYNC110 - what is waited for is time
                await asyncio.sleep(wait_seconds)
            self._owed_bytes += size_bytes

    def _wait_seconds(self) -> float:
        """Return how long to wait before looking again; 0 when the next bytes may pass."""
        now = asyncio.get_running_loop().time()
        cap = self._bandwidth.at(self._clock())
        passed_seconds, self._counted_at = now - (self._counted_at or now), now
        if cap is None:
            self._owed_bytes = 0.0
            return 0.0
        self._owed_bytes -= passed_seconds * cap * self._share
        if self._owed_bytes < 1:  # a fraction of a byte may take less time than a clock can tell
            self._owed_bytes = 0.0
        return min(self._owed_bytes / (cap * self._share), _LONGEST_WAIT_SECONDS)
