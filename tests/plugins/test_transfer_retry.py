from __future__ import annotations

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction

from airflow_bridge.stage_failure import StageFailed
from airflow_bridge.transfer_retry import MAX_DELAY_SECONDS, TransferRetryPolicy
from skyferry import errors


def all_subclasses(base: type) -> set[type]:
    return {base} | {found for child in base.__subclasses__() for found in all_subclasses(child)}


def decide(error: BaseException, try_number: int = 1):
    return TransferRetryPolicy().evaluate(error, try_number, max_tries=2)


@pytest.mark.parametrize("error_type", sorted(all_subclasses(errors.TransferError), key=lambda one: one.__name__))
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_the_class_of_the_error_decides(error_type, is_wrapped):
    error = error_type("it failed")
    decision = decide(StageFailed("it failed", error) if is_wrapped else error)
    expected = RetryAction.RETRY if issubclass(error_type, errors.RetryableError) else RetryAction.FAIL
    assert decision.action is expected
    assert error_type.__name__ in decision.reason


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(1), StageFailed("stopped", None)])
def test_what_is_not_the_library_s_is_left_to_airflow(error):
    assert decide(error).action is RetryAction.DEFAULT


def delay_seconds(error: errors.TransferError, try_number: int = 1) -> float:
    return decide(error, try_number).retry_delay.total_seconds()


def test_delays_double_up_to_a_limit():
    error = errors.ConnectionLostError("no answer")
    delays = [delay_seconds(error, try_number) for try_number in (1, 2, 3)]
    assert delays == [delays[0], 2 * delays[0], 4 * delays[0]]
    assert delay_seconds(error, 5000) == MAX_DELAY_SECONDS


def test_a_throttled_store_is_left_alone_longer_and_as_long_as_it_asks():
    assert delay_seconds(errors.ThrottledError("slow down")) > delay_seconds(errors.ConnectionLostError("gone"))
    assert delay_seconds(errors.ThrottledError("slow down", retry_after_seconds=77)) == 77
    assert delay_seconds(errors.ThrottledError("slow down", retry_after_seconds=1e9)) == MAX_DELAY_SECONDS
