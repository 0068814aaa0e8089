"""One POST with the standard library, and which of its failures may pass.

Redirects are not followed: the token would go along to wherever they lead.
"""

from __future__ import annotations

import email.utils
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MAX_ANSWER_BYTES = 2**20
"""What is read of an answer; none of those that count is a hundredth of this."""

TIMEOUT_SECONDS = 20.0
"""Of each step of a request: connecting, and each wait for more of the answer."""

_MAY_PASS = frozenset({408, 429})


class ForwardError(Exception):
    """The event was not delivered, and asking again at once will not help; the dead-letter queue is to have it."""


class TryAgainError(Exception):
    """The other side did not answer, or cannot now.

    Attributes:
        after_seconds: How long it asks to be left alone; 0 if it says nothing about that.
    """

    def __init__(self, text: str, *, after_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.after_seconds = after_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is final, whatever its status says."""

    status: int
    body: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Leave the redirect as the answer."""


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    """Send a request and return its answer.

    Raises:
        TryAgainError: No answer, or one that may be another in a moment: 408, 429, 5xx.
        ForwardError: The other side is not who its address says.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")  # noqa: S310 - checked before
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=timeout_seconds) as response:
            body = response.read(MAX_ANSWER_BYTES)
            if response.length:
                # Reading up to a limit takes the end of the connection for the end of the answer.
                raise http.client.IncompleteRead(body, response.length)
            return Answer(response.status, body)
    except urllib.error.HTTPError as error:
        with error:
            return _unsuccessful(url, error)
    except (OSError, http.client.HTTPException) as error:
        raise _unanswered(url, error) from error


def seconds_of(retry_after: str | None, *, now: datetime) -> float:
    """Return what a Retry-After header asks for, which is a number of seconds or a date; 0 for anything else."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _unsuccessful(url: str, error: urllib.error.HTTPError) -> Answer:
    if error.code < 500 and error.code not in _MAY_PASS:
        try:
            return Answer(error.code, error.read(MAX_ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as lost:
            raise _unanswered(url, lost) from lost
    after_seconds = seconds_of(error.headers.get("Retry-After"), now=datetime.now(UTC))
    raise TryAgainError(f"{url} answered {error.code}", after_seconds=after_seconds)


def _unanswered(url: str, error: Exception) -> Exception:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ForwardError(
            f"{url} shows a certificate that is not trusted ({reason.verify_message}); correct the address, or let"
            " SSL_CERT_FILE name a file with the certificate of its authority"
        )
    return TryAgainError(f"{url} did not answer: {type(reason).__name__}: {reason}")
