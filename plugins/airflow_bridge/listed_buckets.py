"""Lists the buckets an Airflow connection reaches, for `transfer ls s3://` and `Storage.ls`.

It is the entry point `airflow` of the group `skyferry.bucket_listers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from airflow_bridge.connected_stores import settle_process
from skyferry.errors import ConnectionConfigError, ConnectionLostError
from skyferry.urls import Kind, Location

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from skyferry.stores.azure import AzureStore
    from skyferry.stores.gcs import GcsStore

_PAGE_BUCKETS = 1_000
_MAX_S3_BUCKETS = 10_000
_AZURE_RIGHT = "Storage Blob Data Reader on the storage account, or an account SAS with the letter l for services"


def list_connected(kind: Kind, conn_id: str) -> AsyncIterator[str]:
    """Yield the name of every bucket; a `skyferry.storage.buckets.BucketLister`.

    For S3 those of the account the connection signs in to, for Azure the containers of its storage account, for Google
    the buckets of its project. Memory holds a page of them.

    Raises:
        ConnectionConfigError: There is no such connection, or it is of no use for this.
        AccessDeniedError: It may not list buckets.
    """
    settle_process()
    return {"s3": _s3, "az": _azure, "gs": _google}[kind](conn_id)


async def _s3(conn_id: str) -> AsyncIterator[str]:
    from airflow_bridge.provision_calls import AwsAccount, ask

    # In threads, because hooks and clients ask Airflow and AWS synchronously.
    account = await asyncio.to_thread(AwsAccount, conn_id, named_by="--conn")
    client = await asyncio.to_thread(account.client, "s3")
    more: dict[str, str] = {}
    while True:
        answer = await asyncio.to_thread(
            ask,
            client.list_buckets,
            "listing the buckets of s3://",
            needs="s3:ListAllMyBuckets",
            MaxBuckets=_MAX_S3_BUCKETS,
            **more,
        )
        for bucket in answer.get("Buckets", ()):
            yield str(bucket["Name"])
        token = _next(answer.get("ContinuationToken"), more.get("ContinuationToken"), "s3://")
        if not token:
            return
        more = {"ContinuationToken": token}


async def _azure(conn_id: str) -> AsyncIterator[str]:
    from airflow_bridge.azure_access import AzureAccess
    from skyferry.stores.http_requests import Target, parse_xml

    access = await asyncio.to_thread(_access, AzureAccess, "az", conn_id)
    target = Target(action="listing the containers of", url="az://", needs=_AZURE_RIGHT, absent="account")
    async with access.open("") as opened:  # an account's own requests are those of a container without a name
        store = cast("AzureStore", opened)
        query = {"comp": "list", "maxresults": str(_PAGE_BUCKETS)}
        while True:
            answer = await store.request("GET", "", target.action, needs=target.needs, target=target, query=query)
            page = parse_xml(answer)
            for name in page.iterfind("Containers/Container/Name"):
                yield name.text or ""
            query["marker"] = _next(page.findtext("NextMarker"), query.get("marker"), "az://")
            if not query["marker"]:
                return


async def _google(conn_id: str) -> AsyncIterator[str]:
    from airflow_bridge.gcs_access import GcsAccess
    from skyferry.stores.http_requests import Target

    access = await asyncio.to_thread(_access, GcsAccess, "gs", conn_id)
    if not access.project_id:
        raise ConnectionConfigError(
            f'connection "{conn_id}" names no project, whose buckets could be listed', hint="set its project id"
        )
    url = f"gs:// in the project {access.project_id}"
    target = Target(action="listing the buckets of", url=url, needs="storage.buckets.list", absent="project")
    query: dict[str, str | int] = {
        "project": access.project_id,
        "maxResults": _PAGE_BUCKETS,
        "fields": "nextPageToken,items(name)",
    }
    async with access.open("") as opened:
        store = cast("GcsStore", opened)
        while True:
            page = (await store.api.ask("GET", store.api.address("/storage/v1/b", query), target)).json()
            for item in page.get("items", ()):
                yield str(item["name"])
            query["pageToken"] = _next(page.get("nextPageToken"), query.get("pageToken"), "gs://")
            if not query["pageToken"]:
                return


def _next(token: str | None, used: object, url: str) -> str:
    """Return what the next page is asked for with; nothing after the last one.

    Raises:
        ConnectionLostError: It is what this page was asked for with.
    """
    if token and token == used:
        raise ConnectionLostError(
            f"listing the buckets of {url} goes round in circles: the store gave the same continuation twice"
        )
    return token or ""


def _access(kind_of_access: Any, kind: Kind, conn_id: str) -> Any:
    from airflow_bridge.transfer_connections import StoreUse, find_connection
    from skyferry.defaults import load_defaults

    use = StoreUse(what="URL", location=Location(kind, "", ""), conn_id=conn_id)
    connection: Connection = find_connection(use, known=load_defaults().connections)
    return kind_of_access(connection, max_objects_in_flight=1)
