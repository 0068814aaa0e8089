"""Opens Google Cloud Storage buckets with the credentials and endpoint of a `google_cloud_platform` connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.log import mask_secret
from google.auth.credentials import AnonymousCredentials, Credentials, TokenState
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request

from airflow_bridge.http_line import open_line
from airflow_bridge.instance_metadata import no_credentials_error, uses_instance_metadata
from skyferry.errors import AccessDeniedError, ConnectionConfigError, ConnectionLostError
from skyferry.stores.base import Store
from skyferry.stores.gcs import GcsStore

_DEFAULT_ENDPOINT = "https://storage.googleapis.com"
_CREDENTIAL_FIELDS = ("key_path", "keyfile_dict", "key_secret_name", "credential_config_file", "is_anonymous")


class GcsAccess:
    """The buckets one connection opens.

    Credentials come from the provider's hook: key file or JSON, secret manager, workload identity federation,
    impersonation, application default credentials, or none (anonymous).

    Make it outside the event loop: it asks Airflow for the connection.

    Args:
        connection: Of type `google_cloud_platform`. Its extra may name another `endpoint_url`, for private endpoints
            and emulators; without it, `STORAGE_EMULATOR_HOST` is taken as Google's own clients do.
        max_objects_in_flight: How many requests run at the same time.

    Attributes:
        credentials: What the connection signs in with.
        endpoint: Where Cloud Storage is, without a `/` at its end.
        project_id: The project, where the connection or its key names one.
    """

    def __init__(self, connection: Connection, *, max_objects_in_flight: int) -> None:
        conn_id = connection.conn_id
        extra = connection.extra_dejson
        if not _has_credentials(extra):
            raise no_credentials_error(conn_id, give="a key file, a key JSON or a credential configuration file")
        try:
            self.credentials, self.project_id = GoogleBaseHook(gcp_conn_id=conn_id).get_credentials_and_project_id()
        except (GoogleAuthError, AirflowException, ValueError, KeyError, OSError) as error:
            # The texts of the parsers may repeat the key.
            raise ConnectionConfigError(
                f'connection "{conn_id}" gives no Google credentials: {type(error).__name__}',
                hint="check its key file or key JSON in Airflow (Admin > Connections)",
            ) from None
        self._token = AccessTokens(self.credentials, conn_id=conn_id)
        self.endpoint = endpoint_of(extra)
        self._max_objects_in_flight = max_objects_in_flight

    @asynccontextmanager
    async def open(self, bucket: str) -> AsyncIterator[Store]:
        """Yield the bucket as a store; nothing is requested of Google yet."""
        async with open_line(self.endpoint, max_requests=self._max_objects_in_flight) as line:
            yield GcsStore(line, self._token, bucket, endpoint=self.endpoint, project_id=self.project_id)


class AccessTokens:
    """Returns a valid access token of Google credentials, or None for anonymous ones.

    Tokens are refreshed in a thread, by one caller while the others wait, and masked in every log.
    """

    def __init__(self, credentials: Credentials, *, conn_id: str) -> None:
        self._credentials = credentials
        self._conn_id = conn_id
        self._refreshing = asyncio.Lock()

    async def __call__(self) -> str | None:
        """Return the token for the next request.

        Raises:
            AccessDeniedError: Google refused the credentials.
            ConnectionLostError: Google's token service did not answer; try again.
        """
        if isinstance(self._credentials, AnonymousCredentials):
            return None
        async with self._refreshing:
            if self._credentials.token_state is not TokenState.FRESH:
                await self._refresh()
        return str(self._credentials.token)

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self._credentials.refresh, Request())
            await asyncio.to_thread(mask_secret, self._credentials.token)
        except TransportError as error:
            raise ConnectionLostError(f'connection "{self._conn_id}": no answer from Google about a token') from error
        except GoogleAuthError as error:
            raise AccessDeniedError(
                f'connection "{self._conn_id}" gets no token from Google: {type(error).__name__}',
                hint="check that the service account exists and its key is neither deleted nor expired",
            ) from error


def _has_credentials(extra: Mapping[str, Any]) -> bool:
    if uses_instance_metadata(extra):
        return True
    if any(extra.get(field) or extra.get(f"extra__google_cloud_platform__{field}") for field in _CREDENTIAL_FIELDS):
        return True
    # Application default credentials look at these two before they ask the machine's metadata address.
    # https://cloud.google.com/docs/authentication/application-default-credentials
    config_folder = os.environ.get("CLOUDSDK_CONFIG") or str(Path.home() / ".config" / "gcloud")
    default_file = Path(config_folder) / "application_default_credentials.json"
    return bool(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")) or default_file.is_file()


def endpoint_of(extra: Mapping[str, Any]) -> str:
    """Return where a connection with this extra finds Cloud Storage."""
    endpoint = str(extra.get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST") or _DEFAULT_ENDPOINT)
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    return endpoint.rstrip("/")
