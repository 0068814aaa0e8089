"""Attempts stop at permanent errors, honour Retry-After, and are counted by cause."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from skyferry import attempts as attempts_module
from skyferry.attempts import MAX_ATTEMPTS, Attempts
from skyferry.errors import AccessDeniedError, ChecksumMismatchError, ConnectionLostError, ThrottledError, TransferError


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)


class Scripted:
    """Raises the errors given, one a call, then returns."""

    def __init__(self, *errors: TransferError) -> None:
        self.errors: Iterator[TransferError] = iter(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        for error in self.errors:
            raise error
        return "done"


async def test_counts_retries_by_cause() -> None:
    attempts = Attempts()
    function = Scripted(ConnectionLostError("a"), ThrottledError("b"), ConnectionLostError("c"))
    assert await attempts.call(function) == "done"
    assert attempts.retries == {"ConnectionLostError": 2, "ThrottledError": 1}
    assert attempts.total_retries == 3


async def test_permanent_errors_are_not_tried_again() -> None:
    function = Scripted(AccessDeniedError("no"), AccessDeniedError("no"))
    with pytest.raises(AccessDeniedError):
        await Attempts().call(function)
    assert function.calls == 1


async def test_gives_up_with_the_last_error() -> None:
    function = Scripted(*(ConnectionLostError(str(number)) for number in range(100)))
    with pytest.raises(ConnectionLostError, match=str(MAX_ATTEMPTS - 1)):
        await Attempts().call(function)
    assert function.calls == MAX_ATTEMPTS


async def test_only_the_named_error_is_tried_again() -> None:
    function = Scripted(ConnectionLostError("a"))
    with pytest.raises(ConnectionLostError):
        await Attempts().call(function, on=ChecksumMismatchError)


async def test_waits_as_long_as_the_store_asks() -> None:
    started = time.monotonic()
    await Attempts().call(Scripted(ThrottledError("slow down", retry_after_seconds=0.3)))
    assert time.monotonic() - started >= 0.3


async def test_work_that_takes_long_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "MAX_SECONDS", 0.0)
    with pytest.raises(ConnectionLostError):
        await Attempts().call(Scripted(ConnectionLostError("a")))
    assert await Attempts().call(Scripted(ConnectionLostError("a")), takes_long=True) == "done"


async def test_the_time_of_the_first_attempt_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "MAX_SECONDS", 0.2)
    function = Scripted(ConnectionLostError("a"), ConnectionLostError("b"))

    async def slowly() -> str:
        await asyncio.sleep(0.3)
        return await function()

    with pytest.raises(ConnectionLostError, match="a"):
        await Attempts().call(slowly)
    assert function.calls == 1
