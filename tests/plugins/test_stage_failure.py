from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from airflow_bridge.stage_failure import StageFailed, failing_plainly
from airflow_bridge.stage_runner import StageRunner
from skyferry.errors import BucketMissingError


class Log:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def error(self, message: str, *arguments: object) -> None:
        self.messages.append(message % arguments if arguments else message)


def test_a_foreseen_error_is_logged_once_and_leaves_as_a_system_exit():
    log = Log()
    with pytest.raises(SystemExit) as caught, failing_plainly(log):
        raise BucketMissingError("there is no bucket s3://100%/", hint="create it")
    assert isinstance(caught.value, StageFailed)
    assert isinstance(caught.value.error, BucketMissingError)
    assert log.messages == [str(caught.value)] == ["there is no bucket s3://100%/; create it"]
    assert caught.value.code == 1


def test_an_error_nobody_foresaw_keeps_its_traceback():
    log = Log()
    with pytest.raises(ZeroDivisionError), failing_plainly(log):
        raise ZeroDivisionError
    assert log.messages == []


async def cleaned_up_after(seconds: float, trace: list[str]) -> str:
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.sleep(0)
        trace.append("cleaned up")
    return "done"


def test_a_coroutine_s_result_comes_back():
    assert StageRunner().run(cleaned_up_after(0, [])) == "done"


def test_stopping_cancels_and_waits_for_the_clean_up():
    runner, trace = StageRunner(), []
    started = time.monotonic()
    threading.Timer(0.2, runner.stop).start()
    with pytest.raises(asyncio.CancelledError):
        runner.run(cleaned_up_after(30, trace))
    assert trace == ["cleaned up"]
    assert time.monotonic() - started < 10


def test_a_signal_handler_stops_it_while_the_loop_waits():
    runner, trace = StageRunner(), []
    before = signal.signal(signal.SIGTERM, lambda *_: runner.stop())
    started = time.monotonic()
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(asyncio.CancelledError):
            runner.run(cleaned_up_after(60, trace))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert trace == ["cleaned up"]
    assert time.monotonic() - started < 30


def test_stopping_before_the_start_runs_nothing():
    runner, trace = StageRunner(), []
    runner.stop()
    with pytest.raises(asyncio.CancelledError):
        runner.run(cleaned_up_after(0, trace))
    assert trace == []


def test_stopping_what_has_ended_is_harmless():
    runner = StageRunner()
    runner.run(cleaned_up_after(0, []))
    runner.stop()
