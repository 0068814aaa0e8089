"""Opens Azure Blob containers with the credentials and endpoint of a `wasb` connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
from airflow.sdk import Connection
from airflow.sdk.log import mask_secret
from azure.core.credentials import AccessToken, AzureSasCredential, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError
from azure.storage.blob import BlobServiceClient

from airflow_bridge.http_line import open_line
from airflow_bridge.instance_metadata import no_credentials_error, uses_instance_metadata
from skyferry.errors import AccessDeniedError, ConnectionConfigError, ConnectionLostError
from skyferry.stores.azure import AzureStore
from skyferry.stores.azure_api import AzureApi
from skyferry.stores.azure_signing import Anonymous, Authority, BearerTokens, SharedKey, TokenSource
from skyferry.stores.base import Store
from skyferry.stores.http_client import Tls

_AUDIENCE = "https://storage.azure.com"
_CREDENTIAL_FIELDS = ("connection_string", "tenant_id", "shared_access_key", "sas_token", "account_key")
_IDENTITY_FIELDS = ("managed_identity_client_id", "workload_identity_tenant_id")


class AzureAccess:
    """The containers one connection opens.

    The provider's hook chooses among what the connection holds (connection string, account key, SAS, service principal,
    managed or workload identity); its choice is carried over to the engine's own requests, as are the settings for
    certificates (`connection_verify`, `connection_cert`), `proxies` and `audience`.

    Make it outside the event loop: it asks Airflow for the connection.

    Args:
        connection: Of type `wasb`.
        max_objects_in_flight: How many requests run at the same time.
    """

    def __init__(self, connection: Connection, *, max_objects_in_flight: int) -> None:
        self._conn_id = connection.conn_id
        self._max_objects_in_flight = max_objects_in_flight
        extra = connection.extra_dejson
        if not _has_credentials(connection, extra):
            give = f"a connection string, an account key, a SAS token, a service principal or {_IDENTITY_FIELDS[0]}"
            raise no_credentials_error(self._conn_id, give=give)
        self._options: Mapping[str, Any] = extra
        try:
            self._chosen: BlobServiceClient = WasbHook(wasb_conn_id=self._conn_id).get_conn()
        except (ValueError, TypeError, AzureError) as error:
            # The SDK's texts repeat the connection string, key and all.
            raise ConnectionConfigError(
                f'connection "{self._conn_id}" gives no Azure Blob client: {type(error).__name__}',
                hint="check its account name, key or connection string in Airflow (Admin > Connections)",
            ) from None

    @property
    def account_name(self) -> str:
        """The storage account, for names of data sets."""
        return str(self._chosen.account_name)

    @property
    def service(self) -> BlobServiceClient:
        """The SDK's own client, for what takes no request of the engine's."""
        return self._chosen

    @asynccontextmanager
    async def open(self, bucket: str) -> AsyncIterator[Store]:
        """Yield the container as a store; nothing is requested of Azure yet.

        Raises:
            ConnectionConfigError: The credentials are of a kind that cannot be used, or not over this address.
        """
        credential: Any = self._chosen.credential
        is_token = isinstance(credential, TokenCredential)
        if is_token:
            credential = _ThreadedCredential(credential, self._conn_id)
        scope = f"{self._options.get('audience', _AUDIENCE).rstrip('/')}/.default"
        authority, signature = _authority(credential, scope=scope, conn_id=self._conn_id)
        # The URL holds the SAS when that is how the connection signs.
        url = f"{self._chosen.url}?{signature}" if signature else self._chosen.url
        line = open_line(
            url,
            max_requests=self._max_objects_in_flight,
            proxies=self._options.get("proxies"),
            tls=_tls(self._options),
            trust_hint="install its authority, or set `connection_verify` in the connection's extra",
        )
        async with line as opened:
            yield AzureStore(AzureApi(opened, url, bucket, authority=authority, needs_tls=is_token), bucket)


def _authority(credential: Any, *, scope: str, conn_id: str) -> tuple[Authority, str]:
    """Return what signs requests, and the shared access signature to put into their addresses."""
    if credential is None:
        return Anonymous(), ""
    if isinstance(credential, AzureSasCredential):
        return Anonymous(), credential.signature.lstrip("?")
    if isinstance(credential, _ThreadedCredential):
        return BearerTokens(credential.token_source(scope)), ""
    if hasattr(credential, "account_key"):
        return SharedKey(credential.account_name, credential.account_key), ""
    raise ConnectionConfigError(
        f'connection "{conn_id}" signs in by {type(credential).__name__}, which is not supported',
        hint="use an account key, a SAS token, a service principal or an identity of the machine",
    )


def _tls(options: Mapping[str, Any]) -> Tls:
    """Return what certificates are checked with, from the same settings as the SDK's client."""
    verify, certificate = options.get("connection_verify", True), options.get("connection_cert")
    files: Sequence[str] = [certificate or ""] if isinstance(certificate, str | None) else certificate
    return Tls(
        verifies=verify is not False,
        authorities="" if isinstance(verify, bool) else str(verify),
        certificate=str(files[0]),
        key=str(files[1]) if len(files) > 1 else "",
    )


class _ThreadedCredential:
    """Fetches tokens of a synchronous credential in a thread; caching is the credential's own."""

    def __init__(self, credential: TokenCredential, conn_id: str) -> None:
        self._credential = credential
        self._conn_id = conn_id

    def token_source(self, scope: str) -> TokenSource:
        """Return what fetches tokens for one scope."""

        async def fetch(tenant: str) -> tuple[str, float]:
            token = await self.get_token(scope, **({"tenant_id": tenant} if tenant else {}))
            await asyncio.to_thread(mask_secret, token.token)
            return token.token, token.expires_on

        return fetch

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            return await asyncio.to_thread(self._credential.get_token, *scopes, **options)
        except ClientAuthenticationError as error:
            raise AccessDeniedError(
                f'connection "{self._conn_id}" gets no token for Azure: {str(error.message).splitlines()[0]}',
                hint="check its tenant, client id and secret, or the identity of the machine",
            ) from error
        except ServiceRequestError as error:
            raise ConnectionLostError(f'connection "{self._conn_id}": no answer from Azure about a token') from error


def _has_credentials(connection: Connection, extra: dict[str, Any]) -> bool:
    if connection.password or uses_instance_metadata(extra):
        return True
    fields = (*_CREDENTIAL_FIELDS, *_IDENTITY_FIELDS)
    if any(extra.get(field) or extra.get(f"extra__wasb__{field}") for field in fields):
        return True
    # Workload identity and environment credentials come before the machine's in Azure's default chain.
    return bool(os.environ.get("AZURE_CLIENT_ID") and os.environ.get("AZURE_TENANT_ID"))
