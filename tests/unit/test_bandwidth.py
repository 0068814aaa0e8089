"""The cap on bytes a second: what a timetable means, and that bytes keep to it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from skyferry.bandwidth import Bandwidth, ByteRate
from skyferry.errors import RequestError
from tests.simulated_time import run_simulated

MIB = 2**20
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def at(bandwidth: Bandwidth, days: int, hour: int, minute: int = 0) -> float | None:
    return bandwidth.at(MONDAY + timedelta(days=days, hours=hour, minutes=minute))


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [("", None), ("off", None), ("10M", 10 * MIB), ("1.5K", 1536), ("512B", 512), ("2G", 2**31), (" 10M ", 10 * MIB)],
)
def test_one_rate_holds_at_any_time(text: str, bytes_per_second: float | None) -> None:
    bandwidth = Bandwidth.parse(text)
    assert {at(bandwidth, day, hour) for day in range(7) for hour in range(24)} == {bytes_per_second}


def test_a_timetable_holds_on_over_midnight() -> None:
    bandwidth = Bandwidth.parse("08:00,10M 12:30,1M 18:00,off")
    times = {(0, 7): None, (0, 8): 10 * MIB, (3, 12): 10 * MIB, (6, 13): MIB, (6, 18): None, (6, 23): None}
    assert {time: at(bandwidth, *time) for time in times} == times
    assert at(bandwidth, 2, 12, 29) == 10 * MIB
    assert at(bandwidth, 2, 12, 30) == MIB


def test_a_timetable_of_days_holds_on_over_the_week() -> None:
    bandwidth = Bandwidth.parse("Mon-06:00,1M Fri-20:00,off")
    assert at(bandwidth, 0, 5) is None, "what Friday began"
    assert at(bandwidth, 0, 6) == at(bandwidth, 4, 19) == MIB
    assert at(bandwidth, 5, 12) is None


def test_times_are_utc() -> None:
    bandwidth = Bandwidth.parse("08:00,10M 18:00,off")
    in_berlin = datetime(2026, 11, 16, 9, 30, tzinfo=timezone(timedelta(hours=1)))
    assert bandwidth.at(in_berlin) == 10 * MIB


@pytest.mark.parametrize(
    "text",
    [
        "10",
        "10m",
        "0M",
        "-1M",
        "fast",
        "8:00,10M",
        "24:00,10M",
        "08:60,1M",
        "Xyz-08:00,1M",
        "08:00,10M,1M",
        "08:00,",
        "1M 2M",
    ],
)
def test_what_is_no_bandwidth_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(RequestError, match="expected bytes a second such as 10M, or a timetable"):
        Bandwidth.parse(text)


def test_bytes_keep_to_their_share_of_the_cap() -> None:
    async def scenario() -> float:
        line = ByteRate(Bandwidth.parse("10M"), share=0.5)
        await asyncio.gather(*(line.wait_for(MIB) for _ in range(101)))
        return asyncio.get_running_loop().time()

    assert run_simulated(scenario()) == pytest.approx(20, rel=0.01)


def test_the_cap_of_the_hour_holds_while_bytes_wait() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        line = ByteRate(Bandwidth.parse("00:00,1K 00:05,off"), clock=lambda: MONDAY + timedelta(seconds=loop.time()))
        passed = []
        for _ in range(3):
            await line.wait_for(MIB)
            passed.append(loop.time())
        return passed

    first, second, third = run_simulated(scenario())
    assert first == 0
    assert 300 <= second < 361, "1 MiB at 1 KiB a second takes 1,024 seconds; after five minutes nothing holds it back"
    assert third == second


def test_nothing_is_saved_up_for_later() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        line = ByteRate(Bandwidth.parse("1M"))
        await line.wait_for(1)
        await asyncio.sleep(1000)
        began = loop.time()
        await asyncio.gather(*(line.wait_for(MIB) for _ in range(11)))
        return loop.time() - began

    assert run_simulated(scenario()) == pytest.approx(10, rel=0.01)
