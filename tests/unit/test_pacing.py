"""Deadlines and `Retry-After`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from skyferry.stores.pacing import SILENCE_SECONDS, deadline_seconds, retry_after_seconds

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def test_deadline_grows_with_the_size() -> None:
    assert deadline_seconds(0) == SILENCE_SECONDS
    assert deadline_seconds(4 * 2**20) == pytest.approx(144, abs=1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 12:00:30 -0000", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),  # a digit elsewhere
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert retry_after_seconds(value, now=NOW) == expected
