"""The errors of a transfer: each says by its class whether to try again, and by its text what to do.

    TransferError
    ├── RetryableError                 the same attempt may succeed later
    │   ├── ThrottledError             the store asked for fewer requests (429, 503)
    │   ├── ConnectionLostError        no answer, a broken answer, a 5xx answer
    │   ├── AirflowUnreachableError    Airflow's API server did not answer, or not as Airflow does
    │   ├── SizeMismatchError          fewer or more bytes arrived than the store announced
    │   ├── UploadLostError            a large object on its way is gone from the store; it begins anew
    │   └── ChecksumMismatchError      the bytes that arrived are not the bytes that were stored
    ├── PermanentError                 the same attempt fails again until somebody changes something
    │   ├── RequestError               a parameter of the transfer is wrong
    │   ├── RouteConfigError           a route file is wrong
    │   ├── RouteExistsError           there is a route of this id already
    │   ├── UnknownRouteError          no route has this id
    │   ├── UnknownRunError            Airflow has no run of this id
    │   ├── AirflowAccessError         no Airflow is known, or it refuses the login
    │   ├── AirflowRefusedError        Airflow does not do what was asked
    │   ├── ConnectionConfigError      the Airflow connection is unknown or of the wrong type
    │   ├── AccessDeniedError          the credentials lack a right
    │   ├── BucketMissingError         the bucket, container or folder does not exist
    │   ├── BucketNotEmptyError        the bucket cannot be deleted while something is in it
    │   ├── ObjectArchivedError        the object must be restored before it can be read
    │   ├── ObjectTooLargeError        the destination cannot hold an object of this size
    │   ├── KeyRefusedError            the destination cannot hold an object of this name
    │   ├── DestinationConflictError   the destination holds other content and must keep it
    │   ├── DeletionBrakeError         more would be deleted in this run than the route allows
    │   └── TransferIncompleteError    the run ended with objects that were not copied
    └── ReplanError                    the world is no longer what the plan saw
        ├── SourceChangedError         the source object is no longer the version that was planned
        ├── SourceMissingError         the source object is gone
        └── DestinationChangedError    somebody wrote the destination key since it was looked at

Nothing else decides what is retried: the engine and the Airflow retry policy both ask these classes.
"""

from __future__ import annotations

import unicodedata


class TransferError(Exception):
    """Something about a transfer failed; `str()` is a message for the person who runs it.

    Args:
        message: What failed, on which object (full URL), expected and found.
        hint: What to do now; appended to the message.
        retry_after_seconds: How long the store asked to be left alone, when it said so.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint, retry_after_seconds)
        self.message = message
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return printable(text)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.retry_after_seconds)


def _rebuild(
    error_type: type[TransferError], message: str, hint: str, retry_after_seconds: float | None
) -> TransferError:
    return error_type(message, hint=hint, retry_after_seconds=retry_after_seconds)


def printable(text: str) -> str:
    """Return the text on one line: control, format and separator characters are shown as escapes.

    Keys are data from strangers; a line feed or a terminal escape in one must not forge a log line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else character
        for character in text
    )


class RetryableError(TransferError):
    """The same attempt may succeed later."""


class ThrottledError(RetryableError):
    """The store asked for fewer requests.

    Attributes:
        is_paced: The next request waits until the store may be asked again, so it is to be made at once, and does not
            count as an attempt.
    """

    is_paced: bool = False


class ConnectionLostError(RetryableError):
    """The store did not answer, or its answer broke off, or it answered with a fault of its own."""


class AirflowUnreachableError(RetryableError):
    """Airflow's API server did not answer, or what answered is no Airflow."""


class SizeMismatchError(RetryableError):
    """Another number of bytes arrived than the store announced."""


class UploadLostError(RetryableError):
    """The store no longer holds the parts of an upload: somebody ended it; the object begins anew."""


class ChecksumMismatchError(RetryableError):
    """The bytes that arrived are not the bytes that were stored.

    Attributes:
        wrong_etag: The version of the wrong content, when it could not be removed and is still at the destination.
    """

    wrong_etag: str = ""


class PermanentError(TransferError):
    """The same attempt fails again until somebody changes something."""


class RequestError(PermanentError):
    """A parameter of the transfer is wrong."""


class RouteConfigError(PermanentError):
    """A route file is wrong."""


class RouteExistsError(PermanentError):
    """There is a route of this id already, and nobody said that it may be replaced."""


class UnknownRouteError(PermanentError):
    """No route has this id."""


class UnknownRunError(PermanentError):
    """Airflow has no transfer run of this id."""


class AirflowAccessError(PermanentError):
    """It is not known where Airflow is, or Airflow refuses the login."""


class AirflowRefusedError(PermanentError):
    """Airflow understood, and does not do it: a missing permission, a wrong parameter, a state that forbids it."""


class ConnectionConfigError(PermanentError):
    """The Airflow connection is unknown, not allowed here, or of the wrong type."""


class AccessDeniedError(PermanentError):
    """The credentials are refused or lack a right."""


class BucketMissingError(PermanentError):
    """The bucket, container or folder does not exist."""


class BucketNotEmptyError(PermanentError):
    """The bucket, container or folder cannot be deleted while something is in it."""


class ObjectArchivedError(PermanentError):
    """The object lies in an archive tier and must be restored before it can be read."""


class ObjectTooLargeError(PermanentError):
    """The destination cannot hold an object of this size."""


class KeyRefusedError(PermanentError):
    """The destination cannot hold an object of this name."""


class DestinationConflictError(PermanentError):
    """The destination holds other content, and the request says that it must be kept."""


class DeletionBrakeError(PermanentError):
    """A deletion at the destination was held back: the run has deleted as much as its route allows."""


class TransferIncompleteError(PermanentError):
    """The run ended with objects that were refused or failed."""


class ReplanError(TransferError):
    """The world is no longer what the plan saw."""


class SourceChangedError(ReplanError):
    """The source object is no longer the version that was planned."""


class SourceMissingError(ReplanError):
    """The source object is gone."""


class DestinationChangedError(ReplanError):
    """Somebody wrote the destination key since it was looked at."""
