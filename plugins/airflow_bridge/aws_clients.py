"""Makes clients of AWS services with the credentials, endpoint and settings of an `aws` connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.sdk import Connection
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_bridge.instance_metadata import uses_instance_metadata
from skyferry.errors import ConnectionConfigError
from skyferry.stores.s3_session import DirectSession

_CONNECT_TIMEOUT_SECONDS = 10
_READ_TIMEOUT_SECONDS = 60
_USER_AGENT = "skyferry"
"""Without a fixed one botocore puts the name together from eighteen parts, anew for each request (0.2 ms)."""


class AwsClients:
    """Clients of the service a hook of the provider is for.

    Whatever the hook supports works here too: keys, session tokens, profiles, assumed roles, web identity, custom
    endpoints, addressing styles, proxies and certificates. The engine's own settings replace only the retries (it
    retries by itself), the timeouts, the pool's size and the checksums (it sends its own).

    Make it outside the event loop: it asks Airflow for the connection.

    Args:
        connection: Of type `aws`. Beside the provider's, its extra may hold `use_instance_metadata`.
        hook_type: The provider's hook of the service.
        max_requests: How many requests run at the same time.
    """

    def __init__(self, connection: Connection, hook_type: type[AwsGenericHook[Any]], *, max_requests: int) -> None:
        self._conn_id = connection.conn_id
        if not uses_instance_metadata(connection.extra_dejson):
            # botocore reads this whenever it looks for credentials; the variable is the only switch that also reaches
            # the session inside the hook with which roles are assumed.
            # https://docs.aws.amazon.com/sdkref/latest/guide/feature-imds-credentials.html
            os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        self._hook = hook_type(aws_conn_id=self._conn_id)
        # The hook asks for the connection here, and remembers it: inside the event loop that would block.
        # The order counts: what is merged into a plain Config loses the session class.
        session = AioConfig(http_session_cls=DirectSession, user_agent=_USER_AGENT)
        self._settings = session.merge(self._hook.config).merge(_engine_settings(max_requests))
        if self._hook.verify is False:
            self._hook.log.warning('connection "%s" does not check certificates ("verify": false)', self._conn_id)

    @property
    def is_anonymous(self) -> bool:
        """Whether the connection says that its requests are not signed."""
        return self._settings.signature_version is UNSIGNED

    @asynccontextmanager
    async def open(self, *, service: str, place: str, settings: Config | None = None) -> AsyncIterator[Any]:
        """Yield a client; nothing is requested yet, except to assume a role.

        Args:
            service: What the client is for, in words.
            place: URL of what it is to be used on, for errors.
            settings: Come before those of the connection and of the engine.

        Raises:
            ConnectionConfigError: The connection's credentials cannot be had; its fields must be put right.
        """
        try:
            # In a thread, because assuming a role asks AWS synchronously.
            client_context = await asyncio.to_thread(
                self._hook.get_client_type,
                region_name=self._hook.region_name,
                config=self._settings.merge(settings) if settings else self._settings,
                deferrable=True,
            )
        except (BotoCoreError, ClientError, ValueError) as error:
            raise ConnectionConfigError(
                f'connection "{self._conn_id}" gives no {service} client for {place}: {type(error).__name__}: {error}',
                hint="check its credentials, role, region and extra in Airflow (Admin > Connections)",
            ) from error
        async with client_context as client:
            yield client


def _engine_settings(max_requests: int) -> Config:
    return Config(
        retries={"total_max_attempts": 1},
        connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        read_timeout=_READ_TIMEOUT_SECONDS,
        max_pool_connections=max_requests,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
