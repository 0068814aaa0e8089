"""When a queue's bell rings: soon, again when a ring was lost, and ever more seldom while nobody can do the work."""

from __future__ import annotations

from skyferry.detect.queue_bell import QueueBell
from skyferry.detect.sqs_queue import QueueState


def rings(bell: QueueBell, waiting: int, in_flight: int, *, at: float) -> bool:
    return bell.rings(QueueState(waiting=waiting, in_flight=in_flight, delayed=0), now_seconds=at)


def ring_times(looks: dict[float, tuple[int, int]]) -> list[float]:
    bell = QueueBell()
    return [at for at, (waiting, in_flight) in looks.items() if rings(bell, waiting, in_flight, at=at)]


def test_an_empty_queue_is_silent() -> None:
    assert ring_times(dict.fromkeys(range(100), (0, 0))) == []
    assert ring_times(dict.fromkeys(range(100), (0, 5))) == [], "messages that are held are somebody's"


def test_it_rings_at_once_for_work_that_is_new() -> None:
    assert ring_times({0: (0, 0), 1: (1, 0), 2: (0, 1), 3: (0, 0), 4: (7, 0)}) == [1, 4]


def test_it_rings_at_once_after_a_restart() -> None:
    assert ring_times({1000: (3, 2)}) == [1000]


def test_work_that_nobody_takes_is_rung_for_ever_more_seldom() -> None:
    assert ring_times(dict.fromkeys(range(200), (4, 0))) == [0, 5, 15, 35, 75, 135, 195]


def test_somebody_who_is_at_work_is_not_rung_for_more_than_once_a_minute() -> None:
    assert ring_times(dict.fromkeys(range(150), (900, 64))) == [0, 60, 120]


def test_what_is_left_when_the_work_stops_is_rung_for_again() -> None:
    at_work = dict.fromkeys(range(30), (900, 64))
    left = dict.fromkeys(range(30, 45), (500, 0))
    assert ring_times(at_work | left) == [0, 30, 40]


def test_new_work_during_a_long_pause_is_rung_for_at_once() -> None:
    stuck = dict.fromkeys(range(100), (4, 0))
    assert ring_times(stuck | {100: (0, 0), 101: (1, 0), 106: (1, 0)})[-2:] == [101, 106]
