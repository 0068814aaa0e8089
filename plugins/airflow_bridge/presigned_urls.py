"""Signs addresses of objects by Airflow's connections, for `transfer presign` and `Storage.presign`.

It is the entry point `airflow` of the group `skyferry.url_signers`. The vendors' own libraries sign, with what their
providers' hooks take from the connection. An address is a credential: none is logged, whatever the level.
"""

from __future__ import annotations

import asyncio

from airflow_bridge.connected_stores import settle_process
from airflow_bridge.silenced_loggers import silenced
from skyferry.defaults import load_defaults
from skyferry.storage.presigning import Presigned, PresignOptions
from skyferry.urls import Location

_TALKATIVE = ("botocore.auth", "google.auth.transport.requests")
"""Loggers that write signatures, or answers with signatures in them, at the level DEBUG; botocore without awscrt."""


async def sign_connected(location: Location, key: str, *, options: PresignOptions, conn_id: str) -> Presigned:
    """Return the address of an object; a `skyferry.storage.presigning.UrlSigner`.

    Raises:
        ConnectionConfigError: There is no such connection, or it holds nothing to sign with.
        RequestError: Its credentials cannot sign for so long a time, or the store knows no such method.
    """
    settle_process()
    from airflow_bridge.transfer_connections import StoreUse, find_connection

    use = StoreUse(what="URL", location=location, conn_id=conn_id)
    connection = await asyncio.to_thread(find_connection, use, known=load_defaults().connections)
    with silenced(_TALKATIVE):
        # Imported here, because each pulls in a vendor's client: seconds for one of three.
        if location.kind == "s3":
            from airflow_bridge import presigned_s3

            return await presigned_s3.sign(connection, location, key=key, options=options)
        if location.kind == "az":
            from airflow_bridge import presigned_azure

            return await asyncio.to_thread(presigned_azure.sign, connection, location, key=key, options=options)
        from airflow_bridge import presigned_gcs

        return await asyncio.to_thread(presigned_gcs.sign, connection, location, key=key, options=options)
