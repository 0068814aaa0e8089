"""Our contender: one transfer through the three stages of the library, in one process, without Airflow.

    python -m bench.engine_case CASE_JSON

The case holds a request's conf, the addresses of the stores, and a folder for the records. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from skyferry.request import TransferRequest, request_from_conf
from skyferry.stages import Run, copy_batch, plan_transfer, report_transfer
from skyferry.state import StoreOpener
from skyferry.stores.base import Store
from skyferry.urls import Location, parse_location


class DirectStores:
    """Opens the stores of a case with the engine's settings; a `skyferry.state.StoreOpener`.

    The same clients as those the Airflow bridge makes, without the connections and hooks they are made from there.

    Args:
        endpoints: Base URL by kind of store; that of the S3 that is read is `s3-source`.
    """

    def __init__(self, endpoints: Mapping[str, str], *, max_objects_in_flight: int) -> None:
        self._endpoints = endpoints
        self._max_objects_in_flight = max_objects_in_flight

    @asynccontextmanager
    async def __call__(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        match location.kind:
            case "s3":
                name = "s3-source" if location.bucket.startswith("source") else "s3"
                async with self._open_s3(location.bucket, self._endpoints[name]) as store:
                    yield store
            case "az":
                async with self._open_azure(location.bucket) as store:
                    yield store
            case "gs":
                async with self._open_gcs(location.bucket) as store:
                    yield store
            case _:
                from skyferry.stores.local import LocalStore

                yield LocalStore(Path(location.bucket))

    @asynccontextmanager
    async def _open_s3(self, bucket: str, endpoint: str) -> AsyncIterator[Store]:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        from skyferry.stores.s3 import S3Store
        from skyferry.stores.s3_session import DirectSession

        config = AioConfig(
            http_session_cls=DirectSession,
            user_agent="skyferry",
            retries={"total_max_attempts": 1},
            max_pool_connections=self._max_objects_in_flight,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        async with get_session().create_client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106 - the sink checks none
            config=config,
        ) as client:
            yield S3Store(client, bucket, "us-east-1")

    @asynccontextmanager
    async def _open_azure(self, bucket: str) -> AsyncIterator[Store]:
        import aiohttp
        from azure.storage.blob.aio import BlobServiceClient

        from skyferry.stores.azure import AzureStore, azure_client_options
        from skyferry.stores.azure_api import AzureApi
        from skyferry.stores.azure_signing import SharedKey
        from skyferry.stores.http_requests import Line
        from stack.environment import AZURITE_ACCOUNT, AZURITE_KEY, azurite_connection_string

        text = azurite_connection_string(self._endpoints["az"])
        connector = aiohttp.TCPConnector(limit=self._max_objects_in_flight)
        async with (
            BlobServiceClient.from_connection_string(text, **azure_client_options()) as client,
            aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        ):
            authority = SharedKey(AZURITE_ACCOUNT, AZURITE_KEY)
            api = AzureApi(Line(session=session), self._endpoints["az"], bucket, authority=authority)
            yield AzureStore(client, bucket, api=api)

    @asynccontextmanager
    async def _open_gcs(self, bucket: str) -> AsyncIterator[Store]:
        import aiohttp

        from skyferry.stores.gcs import GcsStore
        from skyferry.stores.http_requests import Line

        async def no_token() -> None:
            return None

        connector = aiohttp.TCPConnector(limit=self._max_objects_in_flight)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            yield GcsStore(Line(session=session), no_token, bucket, endpoint=self._endpoints["gs"], project_id="bench")


async def transfer(
    request: TransferRequest, open_store: StoreOpener, state: Location, seconds: dict[str, float]
) -> dict[str, Any]:
    """Plan, copy and report, as a DAG run does, and return the report; `seconds` takes in how long each stage took."""
    common: dict[str, Any] = {
        "request": request,
        "run": Run(dag_id="bench", run_id="bench", route="bench", started_at="2026-01-01T00:00:00+00:00"),
        "open_store": open_store,
        "state": state,
        "state_conn_id": "",
    }
    started = time.monotonic()
    plan = await plan_transfer(**common)
    seconds["plan"] = time.monotonic() - started
    for batch in plan.batches:
        (await copy_batch(batch, attempt=1, **common)).raise_if_failed()
    seconds["copy"] = time.monotonic() - started - seconds["plan"]
    report = await report_transfer(**common)
    seconds["report"] = time.monotonic() - started - seconds["plan"] - seconds["copy"]
    return report.to_json()


def main() -> int:
    """Carry the case out; 1 when the transfer failed."""
    case = json.loads(sys.argv[1])
    request = request_from_conf({**case["conf"], "id": "bench"})
    stores = DirectStores(case["endpoints"], max_objects_in_flight=request.max_objects_in_flight)
    seconds: dict[str, float] = {}
    report = uvloop.run(transfer(request, stores, parse_location(f"file://{case['state']}"), seconds))
    told = {"objects": report["objects_copied"], "seconds": sum(seconds.values()), "seconds_by_stage": seconds}
    print(json.dumps({**told, "verified_by": report["verified_by"], "problems": report["problems"]}))
    return 0 if report["state"] == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
