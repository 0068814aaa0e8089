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
from typing import TYPE_CHECKING, Any

import uvloop

from skyferry.request import TransferRequest, request_from_conf
from skyferry.stages import Run, copy_batch, plan_transfer, report_transfer
from skyferry.state import StoreOpener
from skyferry.stores.base import Store
from skyferry.urls import Location, parse_location

if TYPE_CHECKING:
    from skyferry.stores.http_requests import Line


class DirectStores:
    """Opens the stores of a case with the engine's settings; a `skyferry.state.StoreOpener`.

    The same requests as those of the stores the Airflow bridge makes, without the connections and hooks they are made
    from there.

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
        from skyferry.stores.s3 import S3Store
        from skyferry.stores.s3_api import Place, S3Api
        from skyferry.stores.sigv4 import AwsKeys

        async with self._line() as line:

            async def locate(region: str) -> Place:
                return Place(base_url=f"{endpoint}/{bucket}", region=region or "us-east-1", line=line)

            async def keys() -> AwsKeys:
                return AwsKeys("testing", "testing")

            yield S3Store(S3Api(locate, keys), bucket, "us-east-1")

    @asynccontextmanager
    async def _open_azure(self, bucket: str) -> AsyncIterator[Store]:
        from skyferry.stores.azure import AzureStore
        from skyferry.stores.azure_api import AzureApi
        from skyferry.stores.azure_signing import SharedKey
        from stack.environment import AZURITE_ACCOUNT, AZURITE_KEY

        async with self._line() as line:
            authority = SharedKey(AZURITE_ACCOUNT, AZURITE_KEY)
            yield AzureStore(AzureApi(line, self._endpoints["az"], bucket, authority=authority), bucket)

    @asynccontextmanager
    async def _open_gcs(self, bucket: str) -> AsyncIterator[Store]:
        from skyferry.stores.gcs import GcsStore

        async def no_token() -> None:
            return None

        async with self._line() as line:
            yield GcsStore(line, no_token, bucket, endpoint=self._endpoints["gs"], project_id="bench")

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Line]:
        from skyferry.stores.http_client import HttpClient
        from skyferry.stores.http_requests import Line

        async with HttpClient(max_requests=self._max_objects_in_flight) as client:
            yield Line(client=client)


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
