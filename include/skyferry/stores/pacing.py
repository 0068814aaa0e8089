"""How long a request may take for its size, and how long a store asks to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

CONNECT_SECONDS = 10.0
"""A host that does not take a connection within this time is treated as gone."""

SILENCE_SECONDS = 60.0
"""A connection on which nothing arrives for this time is given up."""

# A store or a proxy that sends a byte now and then never falls silent; below this rate the attempt is given up and its
# slot is freed. A thousand times slower than what the stores deliver, and still a 4 MiB part in under two minutes.
_MIN_BYTES_PER_SECOND = 50_000


def deadline_seconds(size_bytes: int) -> float:
    """Return how long one request may take in all that carries this many bytes either way."""
    return SILENCE_SECONDS + size_bytes / _MIN_BYTES_PER_SECOND


def retry_after_seconds(value: str | None, *, now: datetime | None = None) -> float | None:
    """Return what a `Retry-After` header asks for; None when there is none, or none that can be read.

    Args:
        value: Seconds, or an HTTP date, as RFC 9110 section 10.2.3 allows.
        now: For tests; the current time by default.
    """
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000": a time in UTC of unknown origin
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
