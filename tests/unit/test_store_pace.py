"""A store's pace, in simulated time: quick to grow, polite when asked for less, and done with a lost store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from skyferry.attempts import Attempts
from skyferry.errors import ThrottledError
from skyferry.request_rate import RequestRate
from skyferry.request_window import FIRST_REQUESTS
from skyferry.store_pace import LOST_AFTER_SECONDS, StorePace
from tests.simulated_time import run_simulated

LATENCY_SECONDS = 0.04


def now() -> float:
    return asyncio.get_running_loop().time()


class LimitedStore:
    """Answers after a while, and refuses what is beyond its rate; saves up for bursts of a second."""

    def __init__(
        self,
        rates: Sequence[tuple[float, float]],
        *,
        retry_after_seconds: float | None = None,
        burst_seconds: float = 1,
    ) -> None:
        self._rates = rates
        self._retry_after_seconds = retry_after_seconds
        self._burst_seconds = burst_seconds
        self._tokens = 0.0
        self._filled_at = 0.0
        self.answers: list[tuple[float, bool]] = []

    async def ask(self) -> None:
        await asyncio.sleep(LATENCY_SECONDS / 2)
        per_second = [rate for begins_at, rate in self._rates if now() >= begins_at][-1]
        saved = self._tokens + (now() - self._filled_at) * per_second
        self._tokens, self._filled_at = min(saved, max(per_second * self._burst_seconds, 1)), now()
        accepts = self._tokens >= 1
        self._tokens -= accepts
        self.answers.append((now(), accepts))
        await asyncio.sleep(LATENCY_SECONDS / 2)
        if not accepts:
            raise ThrottledError("slow down", retry_after_seconds=self._retry_after_seconds)

    def between(self, begins_at: float, ends_at: float) -> list[bool]:
        return [accepts for at, accepts in self.answers if begins_at <= at < ends_at]


def in_turn(pace: StorePace, request: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        began_at = await pace.enter()
        try:
            await request()
        except ThrottledError as error:
            pace.refused(began_at, error)
            raise
        else:
            pace.answered("request", began_at)
        finally:
            pace.leave()

    return ask


async def ask_for(seconds: float, request: Callable[[], Awaitable[None]], *, workers: int) -> Attempts:
    attempts = Attempts()

    async def work() -> None:
        while now() < seconds:
            await attempts.call(request)

    await asyncio.gather(*(work() for _ in range(workers)))
    return attempts


@pytest.mark.parametrize("retry_after_seconds", [None, 1.0])
@pytest.mark.parametrize("burst_seconds", [0.1, 1.0])
def test_follows_a_limit_that_falls_and_rises(retry_after_seconds: float | None, burst_seconds: float) -> None:
    store = LimitedStore(
        [(0, 100), (90, 40), (180, 150)], retry_after_seconds=retry_after_seconds, burst_seconds=burst_seconds
    )
    run_simulated(ask_for(300, in_turn(StorePace("s3://b", max_in_flight=256), store.ask), workers=128))
    for begins_at, ends_at, per_second in ((30, 90, 100), (120, 180, 40), (240, 300, 150)):
        answers = store.between(begins_at, ends_at)
        assert sum(answers) >= 0.9 * per_second * (ends_at - begins_at)
        assert answers.count(False) < 0.02 * len(answers)


def test_a_throttled_request_is_no_failed_attempt() -> None:
    store = LimitedStore([(0, 5)])
    attempts = run_simulated(ask_for(60, in_turn(StorePace("s3://b", max_in_flight=64), store.ask), workers=64))
    assert attempts.retries["ThrottledError"] > 20


def test_reaches_the_most_within_ten_round_trips_while_latency_holds() -> None:
    async def scenario() -> None:
        pace = StorePace("s3://b", max_in_flight=256)
        assert pace.max_in_flight == FIRST_REQUESTS
        await ask_for(10 * LATENCY_SECONDS, in_turn(pace, lambda: asyncio.sleep(LATENCY_SECONDS)), workers=256)
        assert pace.max_in_flight == 256

    run_simulated(scenario())


def test_stops_growing_when_more_requests_only_queue() -> None:
    async def scenario() -> None:
        pace, counters = StorePace("s3://b", max_in_flight=256), asyncio.Semaphore(20)

        async def request() -> None:
            async with counters:
                await asyncio.sleep(LATENCY_SECONDS)

        await ask_for(5, in_turn(pace, request), workers=256)
        assert 20 <= pace.max_in_flight <= 64

    run_simulated(scenario())


def test_leaves_the_whole_store_alone_for_as_long_as_it_asks() -> None:
    began: list[float] = []

    async def request() -> None:
        began.append(now())
        if len(began) == 1:
            await asyncio.sleep(LATENCY_SECONDS)
            raise ThrottledError("slow down", retry_after_seconds=30)
        await asyncio.sleep(LATENCY_SECONDS)

    run_simulated(ask_for(40, in_turn(StorePace("s3://b", max_in_flight=4), request), workers=16))
    assert [at for at in began if 1 <= at < 30] == []
    assert [at for at in began if at >= 30] != []


def test_a_store_that_refuses_everything_is_asked_seldom_and_then_lost() -> None:
    asked = 0

    async def request() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(LATENCY_SECONDS)
        raise ThrottledError("slow down")

    async def scenario() -> list[object]:
        ask = in_turn(StorePace("s3://b/", max_in_flight=64), request)
        return list(await asyncio.gather(*(Attempts().call(ask) for _ in range(200)), return_exceptions=True))

    async def timed() -> tuple[list[object], float]:
        return await scenario(), now()

    ended, seconds = run_simulated(timed())
    assert all(isinstance(error, ThrottledError) for error in ended)
    assert any(str(error).startswith("s3://b/ has refused every request for 12") for error in ended)
    assert LOST_AFTER_SECONDS <= seconds < 2 * LOST_AFTER_SECONDS
    assert asked < 2 * LOST_AFTER_SECONDS


def test_whoever_is_cancelled_while_waiting_takes_nobodys_turn() -> None:
    async def scenario() -> None:
        pace = StorePace("s3://b", max_in_flight=1)
        await pace.enter()
        waiting = [asyncio.create_task(pace.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        pace.leave()
        waiting[1].cancel()  # its turn has come, and it does not know yet
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [True, True, False]

    run_simulated(scenario())


def test_a_cap_holds_from_the_first_request_on() -> None:
    began: list[float] = []

    async def request() -> None:
        began.append(now())

    run_simulated(ask_for(10, in_turn(StorePace("s3://b", max_in_flight=64, max_per_second=20), request), workers=64))
    assert 195 <= sum(at < 10 for at in began) <= 202


def test_a_long_rest_is_cut_short() -> None:
    rate = RequestRate()
    rate.begin(0)
    assert rate.refused(1, began_at=0, retry_after_seconds=86_400)
    assert 59 < rate.wait_seconds(1) < 61
