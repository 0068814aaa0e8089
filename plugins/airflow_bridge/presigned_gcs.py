"""Signs addresses of objects in Google Cloud Storage with a `google_cloud_platform` connection, by version 4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Connection
from google.auth.credentials import AnonymousCredentials, Credentials, Signing
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud.storage import Client
from google.oauth2 import service_account
from requests import RequestException

from airflow_bridge.gcs_access import GcsAccess
from skyferry.errors import AccessDeniedError, ConnectionConfigError, ConnectionLostError, RequestError, TransferError
from skyferry.storage.presigning import Presigned, PresignOptions
from skyferry.urls import Location

_LONGEST_BY_GOOGLES_KEY = timedelta(hours=12)
"""Google changes the keys it signs with itself: https://cloud.google.com/storage/docs/gsutil/commands/signurl"""


def sign(connection: Connection, location: Location, *, key: str, options: PresignOptions) -> Presigned:
    """Return the address of an object; blocks where Google is asked to sign.

    Raises:
        ConnectionConfigError: The credentials are no service account's.
        RequestError: Google signs, and not for so long a time.
        AccessDeniedError: Google does not sign for these credentials.
        ConnectionLostError: Google did not answer; try again.
    """
    access = GcsAccess(connection, max_objects_in_flight=1)
    shown = f"{location.url}{key}"
    credentials = access.credentials
    headers = {"Content-Type": options.content_type} if options.content_type else {}
    at = datetime.now(UTC).replace(microsecond=0)
    try:
        signer = _signer(credentials, connection.conn_id, shown)
        _check_lifetime(credentials, options.lifetime, connection.conn_id, shown)
        blob = Client(project="none", credentials=credentials).bucket(location.bucket).blob(key)
        url = blob.generate_signed_url(
            version="v4",
            method=options.method.upper(),
            expiration=options.lifetime,
            api_access_endpoint=access.endpoint,
            headers=dict(headers),
            **signer,
        )
    except (GoogleAuthError, RequestException) as error:
        raise _explained(error, connection.conn_id, shown) from None
    return Presigned(method=options.method.upper(), url=url, headers=headers, expires_at=at + options.lifetime)


def _explained(error: Exception, conn_id: str, shown: str) -> TransferError:
    if isinstance(error, RequestException) or isinstance(error.__cause__, RequestException):
        return ConnectionLostError(f'connection "{conn_id}": no answer from Google about a signature for {shown}')
    return AccessDeniedError(
        f'connection "{conn_id}" gets no signature from Google for {shown}: {type(error).__name__}',
        hint='give it the role "Service Account Token Creator" on the service account',
    )


def _signer(credentials: Any, conn_id: str, shown: str) -> dict[str, Any]:
    """Return what signs: the credentials themselves, or Google for the service account they stand for."""
    if isinstance(credentials, Signing):
        return {"credentials": credentials}
    email = ""
    if not isinstance(credentials, AnonymousCredentials):
        credentials.refresh(Request())
        email = getattr(credentials, "service_account_email", "") or ""
    if not email:
        raise ConnectionConfigError(
            f'connection "{conn_id}" stands for no service account and cannot sign an address for {shown}',
            hint="name one with a service account's key, or that impersonates one (--conn)",
        )
    return {"service_account_email": email, "access_token": credentials.token}


def _check_lifetime(credentials: Credentials, lifetime: timedelta, conn_id: str, shown: str) -> None:
    if not isinstance(credentials, service_account.Credentials) and lifetime > _LONGEST_BY_GOOGLES_KEY:
        raise RequestError(
            f'an address for {shown} cannot be good for {lifetime}: connection "{conn_id}" has no private key, and by '
            "Google's own an address ends after twelve hours",
            hint="ask for less, or name a connection with a service account's key",
        )
