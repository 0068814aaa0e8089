"""Requests to Google's JSON API for Cloud Storage: addresses, authorisation, and what failures mean."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote, urlencode, urlsplit

from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    ChecksumMismatchError,
    ConnectionLostError,
    KeyRefusedError,
    PermanentError,
    RetryableError,
    SourceMissingError,
    ThrottledError,
    TransferError,
    UploadLostError,
)
from skyferry.stores.http_client import Body
from skyferry.stores.http_requests import Accept, Answer, Line, Target, exchange
from skyferry.stores.pacing import retry_after_seconds

_MESSAGE_CHARACTERS = 200
WRITE_RIGHTS = "storage.objects.create, and storage.objects.delete to replace an object"

TokenProvider = Callable[[], Awaitable[str | None]]
"""Returns an access token that is valid now, or None for anonymous access."""


class ConditionNotMetError(TransferError):
    """The key does not show the generation the request names; what that means is the caller's to say."""


class AlreadyExistsError(TransferError):
    """A bucket of this name exists already, ours or another project's."""


class BucketConflictError(RetryableError):
    """409 about a bucket: it is not empty, or somebody else is at work on it."""


class GcsApi:
    """One endpoint of the JSON API, spoken to with one connection's tokens.

    Args:
        line: How the endpoint is reached.
        token: Called for every request.
        endpoint: Scheme, host and port; requests never leave it.
    """

    def __init__(self, line: Line, token: TokenProvider, endpoint: str) -> None:
        self._line = line
        self._token = token
        self._endpoint = endpoint.rstrip("/")

    def address(self, path: str, query: Mapping[str, str | int] | None = None) -> str:
        """Return the address of a resource; `path` is encoded already."""
        tail = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return f"{self._endpoint}{path}{tail}"

    def session_address(self, location: str) -> str:
        """Return the address of an upload session, at the endpoint of the connection whatever the answer names."""
        parts = urlsplit(location)
        base_path = urlsplit(self._endpoint).path
        path = parts.path.removeprefix(base_path) if base_path else parts.path
        return f"{self._endpoint}{path}" + (f"?{parts.query}" if parts.query else "")

    async def ask(
        self,
        method: str,
        address: str,
        target: Target,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size_bytes: int | None = 0,
        accept: Accept | None = None,
    ) -> Answer:
        """Return the whole answer.

        Args:
            size_bytes, accept: See `skyferry.stores.http_requests.exchange`.

        Raises:
            ConditionNotMetError: 412.
            AlreadyExistsError: 409 for a bucket.
            TransferError: Everything else, translated.
        """
        sent_headers = {**(headers or {}), **await self._authorisation(target)}
        answer = await exchange(
            self._line,
            method,
            address,
            target,
            headers=sent_headers,
            body=body,
            size_bytes=size_bytes,
            accept=accept,
        )
        if answer.status // 100 == 2 or (answer.status == 308 and target.absent == "session"):
            return answer
        raise _translate_answer(answer, target)

    async def _authorisation(self, target: Target) -> dict[str, str]:
        try:
            token = await self._token()
        except TransferError:
            raise
        except Exception as error:  # comes from whatever library made the token
            name = type(error).__name__
            if getattr(error, "retryable", False) or isinstance(error, OSError):
                raise ConnectionLostError(f"{target} failed: no access token could be fetched ({name})") from None
            raise AccessDeniedError(
                f"{target} failed: the credentials give no access token ({name})",
                hint="check the key file or identity of the connection",
            ) from None
        return {"Authorization": f"Bearer {token}"} if token else {}


def bucket_path(bucket: str) -> str:
    """Return the path of a bucket below `/storage/v1` or `/upload/storage/v1`."""
    return f"/b/{quote(bucket, safe='')}"


def object_path(bucket: str, key: str, url: str) -> str:
    """Return the path of an object, its key encoded exactly once.

    Raises:
        KeyRefusedError: The key cannot be written into an address.
    """
    if key in ("", ".", ".."):
        raise KeyRefusedError(f"{url} cannot be the name of an object in Cloud Storage", hint="rename the object")
    try:
        return f"{bucket_path(bucket)}/o/{quote(key, safe='')}"
    except UnicodeEncodeError:
        raise KeyRefusedError(f"{url} is not valid Unicode", hint="rename the object") from None


def _translate_answer(answer: Answer, target: Target) -> TransferError:
    """Say what an answer means; statuses as in https://cloud.google.com/storage/docs/json_api/v1/status-codes."""
    status = answer.status
    reason, message = _reason_and_message(bytes(answer.body))
    found = f"{status} {reason}".strip()
    if status == 412:
        return ConditionNotMetError(f"{target} failed: {found}")
    if status == 404 or (status in (410, 499) and target.absent == "session"):
        return _translate_absence(message, target)
    if status in (429, 503) or "ratelimitexceeded" in reason.lower():
        return ThrottledError(
            f"{target} failed: the store asked for fewer requests ({found})",
            retry_after_seconds=retry_after_seconds(answer.headers.get("Retry-After")),
        )
    if status in (401, 403):
        return AccessDeniedError(f"access denied {target} ({found})", hint=f"it needs {target.needs}")
    if status == 400 and "match calculated" in message:
        return ChecksumMismatchError(f"{target} failed: the store received other bytes than were sent ({found})")
    if status == 409:
        return _translate_conflict(found, target)
    if status >= 500 or status == 408:
        return ConnectionLostError(f"{target} failed: the store answered {found}")
    if status // 100 == 3:
        return PermanentError(f"{target} failed: the endpoint redirects to another address ({status})")
    return PermanentError(f"{target} failed: the store answered {found}: {message[:_MESSAGE_CHARACTERS]}")


def _translate_conflict(found: str, target: Target) -> TransferError:
    if target.absent == "project":
        return AlreadyExistsError(f"{target} failed: {found}")
    if target.absent == "bucket" and target.action == "deleting":
        return BucketConflictError(f"{target} failed: {found}")
    return RetryableError(f"{target} failed: another request to it was under way ({found})")


def _translate_absence(message: str, target: Target) -> TransferError:
    if target.absent == "session":
        return UploadLostError(f"{target} failed: the upload session is gone", hint="it begins anew")
    if target.absent == "object" and "bucket does not exist" not in message:
        return SourceMissingError(f"{target.url} is gone")
    if target.absent == "project":
        return PermanentError(f"{target} failed: the project does not exist", hint="check the connection's project id")
    return BucketMissingError(
        f"{target} failed: the bucket does not exist", hint="create it, or set create_destination for a destination"
    )


def _reason_and_message(body: bytes) -> tuple[str, str]:
    """Return the reason and the text of an error document; empty where the answer holds none."""
    try:
        error = json.loads(body)["error"]
        reason = error["errors"][0].get("reason", "") if error.get("errors") else ""
        return str(reason), str(error.get("message", ""))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return "", ""
