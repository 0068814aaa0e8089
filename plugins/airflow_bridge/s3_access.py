"""Opens S3 buckets with the credentials, endpoint and settings of an `aws` connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiobotocore.config import AioConfig
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import Connection
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_bridge.instance_metadata import uses_instance_metadata
from skyferry.errors import ConnectionConfigError
from skyferry.stores.base import Store
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_session import DirectSession

_CONNECT_TIMEOUT_SECONDS = 10
_READ_TIMEOUT_SECONDS = 60


class S3Access:
    """The buckets one connection opens.

    Whatever the provider's hook supports works here too: keys, session tokens, profiles, assumed roles, web identity,
    custom endpoints, addressing styles, proxies and certificates. The engine's own settings replace only the retries
    (it retries by itself), the timeouts, the pool's size and the checksums (it sends its own).

    Make it outside the event loop: it asks Airflow for the connection.

    Args:
        connection: Of type `aws`. Beside the provider's, its extra may hold `use_instance_metadata` and
            `sends_checksums` (false for endpoints that refuse `x-amz-checksum-*` headers).
        max_objects_in_flight: How many requests run at the same time.
    """

    def __init__(self, connection: Connection, *, max_objects_in_flight: int) -> None:
        self._conn_id = connection.conn_id
        extra = connection.extra_dejson
        self._sends_checksums = bool(extra.get("sends_checksums", True))
        if not uses_instance_metadata(extra):
            # botocore reads this whenever it looks for credentials; the variable is the only switch that also reaches
            # the session inside the hook with which roles are assumed.
            # https://docs.aws.amazon.com/sdkref/latest/guide/feature-imds-credentials.html
            os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        self._hook = S3Hook(aws_conn_id=self._conn_id)
        # The hook asks for the connection here, and remembers it: inside the event loop that would block.
        # The order counts: what is merged into a plain Config loses the session class.
        session = AioConfig(http_session_cls=DirectSession)
        self._settings = session.merge(self._hook.config).merge(_engine_settings(max_objects_in_flight))
        if self._hook.verify is False:
            self._hook.log.warning('connection "%s" does not check certificates ("verify": false)', self._conn_id)

    @asynccontextmanager
    async def open(self, bucket: str) -> AsyncIterator[Store]:
        """Yield the bucket as a store; nothing is requested of S3 yet, except to assume a role.

        Raises:
            ConnectionConfigError: The connection's credentials cannot be had; its fields must be put right.
        """
        try:
            # In a thread, because assuming a role asks AWS synchronously.
            client_context = await asyncio.to_thread(
                self._hook.get_client_type, region_name=self._hook.region_name, config=self._settings, deferrable=True
            )
        except (BotoCoreError, ClientError, ValueError) as error:
            raise ConnectionConfigError(
                f'connection "{self._conn_id}" gives no S3 client for s3://{bucket}/: {type(error).__name__}: {error}',
                hint="check its credentials, role, region and extra in Airflow (Admin > Connections)",
            ) from error
        async with client_context as client:
            yield S3Store(client, bucket, client.meta.region_name, sends_checksums=self._sends_checksums)


def _engine_settings(max_objects_in_flight: int) -> Config:
    return Config(
        retries={"total_max_attempts": 1},
        connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        read_timeout=_READ_TIMEOUT_SECONDS,
        max_pool_connections=max_objects_in_flight,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
