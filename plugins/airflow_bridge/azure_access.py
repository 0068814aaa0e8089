"""Opens Azure Blob containers with the credentials and endpoint of a `wasb` connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
from airflow.sdk import Connection
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient

from airflow_bridge.instance_metadata import no_credentials_error, uses_instance_metadata
from skyferry.errors import AccessDeniedError, ConnectionConfigError
from skyferry.stores.azure import AzureStore, azure_client_options
from skyferry.stores.base import Store

_CREDENTIAL_FIELDS = ("connection_string", "tenant_id", "shared_access_key", "sas_token", "account_key")
_IDENTITY_FIELDS = ("managed_identity_client_id", "workload_identity_tenant_id")
_CONNECTION_ONLY_FIELDS = {*_CREDENTIAL_FIELDS, *_IDENTITY_FIELDS, "client_secret_auth_config", "use_instance_metadata"}


class AzureAccess:
    """The containers one connection opens.

    The provider's hook chooses among what the connection holds (connection string, account key, SAS, service principal,
    managed or workload identity); its choice is carried over to an asynchronous client with the engine's settings.

    Make it outside the event loop: it asks Airflow for the connection.

    Args:
        connection: Of type `wasb`. Its extra is also passed to the client, as the hook does.
    """

    def __init__(self, connection: Connection) -> None:
        self._conn_id = connection.conn_id
        extra = connection.extra_dejson
        if not _has_credentials(connection, extra):
            give = f"a connection string, an account key, a SAS token, a service principal or {_IDENTITY_FIELDS[0]}"
            raise no_credentials_error(self._conn_id, give=give)
        self._options = {
            name: value
            for name, value in extra.items()
            if name not in _CONNECTION_ONLY_FIELDS and not name.startswith("extra__")
        } | azure_client_options()
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

    @asynccontextmanager
    async def open(self, bucket: str) -> AsyncIterator[Store]:
        """Yield the container as a store; nothing is requested of Azure yet."""
        credential: Any = self._chosen.credential
        if isinstance(credential, TokenCredential):
            credential = _ThreadedCredential(credential, self._conn_id)
        # The URL holds the SAS when that is how the connection signs.
        async with AsyncBlobServiceClient(self._chosen.url, credential=credential, **self._options) as client:
            yield AzureStore(client, bucket)


class _ThreadedCredential:
    """Fetches tokens of a synchronous credential in a thread; caching is the credential's own."""

    def __init__(self, credential: TokenCredential, conn_id: str) -> None:
        self._credential = credential
        self._conn_id = conn_id

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            return await asyncio.to_thread(self._credential.get_token, *scopes, **options)
        except ClientAuthenticationError as error:
            raise AccessDeniedError(
                f'connection "{self._conn_id}" gets no token for Azure: {str(error.message).splitlines()[0]}',
                hint="check its tenant, client id and secret, or the identity of the machine",
            ) from error

    async def close(self) -> None:
        """The synchronous credential holds no loop-bound resources."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _has_credentials(connection: Connection, extra: dict[str, Any]) -> bool:
    if connection.password or uses_instance_metadata(extra):
        return True
    fields = (*_CREDENTIAL_FIELDS, *_IDENTITY_FIELDS)
    if any(extra.get(field) or extra.get(f"extra__wasb__{field}") for field in fields):
        return True
    # Workload identity and environment credentials come before the machine's in Azure's default chain.
    return bool(os.environ.get("AZURE_CLIENT_ID") and os.environ.get("AZURE_TENANT_ID"))
