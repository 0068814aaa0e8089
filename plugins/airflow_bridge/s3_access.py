"""Opens S3 buckets with the credentials, endpoint and settings of an `aws` connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import Connection

from airflow_bridge.aws_clients import AwsClients
from skyferry.stores.base import Store
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_session import client_api


class S3Access:
    """The buckets one connection opens; see `AwsClients`.

    Make it outside the event loop: it asks Airflow for the connection.

    Args:
        connection: Of type `aws`. Beside what `AwsClients` takes, its extra may hold `sends_checksums` (false for
            endpoints that refuse `x-amz-checksum-*` headers).
        max_objects_in_flight: How many requests run at the same time.
    """

    def __init__(self, connection: Connection, *, max_objects_in_flight: int) -> None:
        self._sends_checksums = bool(connection.extra_dejson.get("sends_checksums", True))
        self._clients = AwsClients(connection, S3Hook, max_requests=max_objects_in_flight)

    @asynccontextmanager
    async def open(self, bucket: str) -> AsyncIterator[Store]:
        """Yield the bucket as a store; nothing is requested of S3 yet, except to assume a role.

        Raises:
            ConnectionConfigError: The connection's credentials cannot be had; its fields must be put right.
        """
        async with self._clients.open(service="S3", place=f"s3://{bucket}/") as client:
            yield S3Store(
                client_api(client, bucket), bucket, client.meta.region_name, sends_checksums=self._sends_checksums
            )
