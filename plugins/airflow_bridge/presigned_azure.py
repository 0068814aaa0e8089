"""Signs addresses of Azure blobs with a `wasb` connection: a shared access signature for one blob.

The account's key signs where the connection has it. Otherwise Azure is asked for a user delegation key, which the
identity of the connection must be allowed to have.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Connection
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, UserDelegationKey, generate_blob_sas

from airflow_bridge.azure_access import AzureAccess
from skyferry.errors import AccessDeniedError, ConnectionConfigError, ConnectionLostError
from skyferry.storage.presigning import Presigned, PresignOptions
from skyferry.urls import Location

_CLOCKS_DIFFER = timedelta(minutes=15)
"""How far before now a key begins: https://learn.microsoft.com/azure/storage/common/storage-sas-overview"""

_PERMISSIONS = {"get": BlobSasPermissions(read=True), "put": BlobSasPermissions(create=True, write=True)}
_UPLOAD_HEADERS = {"x-ms-blob-type": "BlockBlob"}


def sign(connection: Connection, location: Location, *, key: str, options: PresignOptions) -> Presigned:
    """Return the address of a blob; blocks where Azure is asked for a key.

    Raises:
        ConnectionConfigError: The connection is signed in by a SAS of its own, which cannot make another.
        AccessDeniedError: Its identity gets no user delegation key.
    """
    service = AzureAccess(connection, max_objects_in_flight=1).service
    expires_at = (datetime.now(UTC) + options.lifetime).replace(microsecond=0)
    blob_url = str(service.get_blob_client(location.bucket, key).url).partition("?")[0]
    signature = generate_blob_sas(
        container_name=location.bucket,
        blob_name=key,
        permission=_PERMISSIONS[options.method],
        expiry=expires_at,
        protocol="https" if blob_url.startswith("https:") else "https,http",
        **_signer(service, connection.conn_id, f"{location.url}{key}", expires_at),
    )
    headers = dict(_UPLOAD_HEADERS) if options.method == "put" else {}
    if options.content_type:
        headers["Content-Type"] = options.content_type
    return Presigned(
        method=options.method.upper(), url=f"{blob_url}?{signature}", headers=headers, expires_at=expires_at
    )


def _signer(service: BlobServiceClient, conn_id: str, shown: str, expires_at: datetime) -> dict[str, Any]:
    """Return what signs: the account and its key, or a key that Azure gives out."""
    credential = service.credential
    if hasattr(credential, "account_key"):
        return {"account_name": credential.account_name, "account_key": credential.account_key}
    if not isinstance(credential, TokenCredential):
        raise ConnectionConfigError(
            f'connection "{conn_id}" has a SAS token and cannot sign an address for {shown}',
            hint="name one with the account's key, a service principal or an identity (--conn)",
        )
    delegated = _delegation_key(service, conn_id, shown, expires_at)
    return {"account_name": service.account_name, "user_delegation_key": delegated}


def _delegation_key(service: BlobServiceClient, conn_id: str, shown: str, expires_at: datetime) -> UserDelegationKey:
    try:
        return service.get_user_delegation_key(datetime.now(UTC) - _CLOCKS_DIFFER, expires_at)
    except HttpResponseError as error:
        raise AccessDeniedError(
            f'connection "{conn_id}" gets no key from Azure to sign an address for {shown}: '
            f"{getattr(error, 'error_code', None) or type(error).__name__}",
            hint='give its identity the role "Storage Blob Delegator" on the storage account',
        ) from None
    except AzureError as error:
        raise ConnectionLostError(
            f'connection "{conn_id}": no answer from Azure about a key ({type(error).__name__})'
        ) from None
