"""When Airflow runs a failed task again: decided by the class of the library's error, and by nothing else.

| error | decision |
|---|---|
| throttled | again, after what the store asked for, or after a delay that doubles |
| other retryable (connection lost, wrong bytes) | again, after a delay that doubles |
| permanent, or the world changed since the plan | fail at once: the same attempt would fail again |
| stopped from outside, or not the library's | as Airflow decides |
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryDecision

from airflow_bridge.stage_failure import StageFailed
from skyferry.errors import RetryableError, ThrottledError, TransferError

if TYPE_CHECKING:
    from airflow.sdk import Context

THROTTLED_DELAY_SECONDS = 5.0
RETRYABLE_DELAY_SECONDS = 2.0
MAX_DELAY_SECONDS = 300.0


class TransferRetryPolicy(RetryPolicy):
    """Asks `skyferry.errors` whether to try again.

    Delays are short, because each request has already been retried with back-off inside the task; what is left are
    stores that stay away for longer than that.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return the decision for one failed attempt.

        Args:
            exception: What the task raised.
            try_number: Counts from 1.
        """
        error = exception.error if isinstance(exception, StageFailed) else exception
        if not isinstance(error, TransferError):
            return RetryDecision.default()
        name = type(error).__name__
        if not isinstance(error, RetryableError):
            return RetryDecision.fail(f"{name}: the same attempt would fail again")
        return RetryDecision.retry(timedelta(seconds=_delay_seconds(error, try_number)), f"{name}: may succeed later")


def _delay_seconds(error: RetryableError, try_number: int) -> float:
    first = THROTTLED_DELAY_SECONDS if isinstance(error, ThrottledError) else RETRYABLE_DELAY_SECONDS
    # 2 ** 20 is far beyond the longest delay, and keeps the power finite whatever `retries` says.
    doubled: float = min(first * 2 ** min(try_number - 1, 20), MAX_DELAY_SECONDS)
    return max(doubled, min(error.retry_after_seconds or 0.0, MAX_DELAY_SECONDS))
