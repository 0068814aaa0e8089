"""Signs addresses of S3 objects with an `aws` connection: botocore's, by Signature Version 4."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import Connection
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_bridge.aws_clients import AwsClients
from skyferry.errors import ConnectionConfigError
from skyferry.storage.presigning import FILE_NAME, Presigned, PresignOptions
from skyferry.urls import Location

_VERSION_4 = Config(signature_version="s3v4")
"""Without it botocore signs addresses by version 2, which most regions refuse."""

_TEMPORARY = (
    "it is signed with temporary credentials and ends when they do, which may be earlier: a role's last an hour "
    "unless it says otherwise"
)


async def sign(connection: Connection, location: Location, *, key: str, options: PresignOptions) -> Presigned:
    """Return the address of an object.

    Raises:
        ConnectionConfigError: The connection is anonymous, or its credentials cannot be had.
    """
    clients = await asyncio.to_thread(AwsClients, connection, S3Hook, max_requests=1)
    if clients.is_anonymous:
        raise ConnectionConfigError(
            f'connection "{connection.conn_id}" is anonymous and cannot sign an address for {location.url}{key}',
            hint="name one with keys or a role (--conn); what anybody may read needs no signature",
        )
    at = datetime.now(UTC).replace(microsecond=0)
    async with clients.open(service="S3", place=location.url, settings=_VERSION_4) as client:
        client.meta.events.register_first("before-endpoint-resolution.s3", _stay_in_the_region)
        try:
            url, fields, headers = await _signed(client, location.bucket, key, options)
        except (BotoCoreError, ClientError) as error:
            raise ConnectionConfigError(
                f'connection "{connection.conn_id}" cannot sign an address for {location.url}{key}: '
                f"{type(error).__name__}",
                hint="check its keys and its role in Airflow (Admin > Connections)",
            ) from None
    is_temporary = "X-Amz-Security-Token=" in url or "x-amz-security-token" in fields
    return Presigned(
        method=options.method.upper(),
        url=url,
        fields=fields,
        headers=headers,
        expires_at=at + options.lifetime,
        caution=_TEMPORARY if is_temporary else "",
    )


def _stay_in_the_region(context: dict[str, Any], **_: Any) -> None:
    """Have botocore name the endpoint of the connection's region.

    For addresses it names the one of all regions, which redirects to the bucket's for hours after its creation; the
    name of the host is signed, so what follows the redirect is refused.
    """
    context["use_global_endpoint"] = False


async def _signed(
    client: Any, bucket: str, key: str, options: PresignOptions
) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return the address, the fields of a form and the headers that were signed."""
    seconds = int(options.lifetime.total_seconds())
    if options.method == "post":
        return await _signed_form(client, bucket, key, options)
    params, headers = {"Bucket": bucket, "Key": key}, {}
    if options.content_type:
        params["ContentType"] = headers["Content-Type"] = options.content_type
    url = await client.generate_presigned_url(f"{options.method}_object", Params=params, ExpiresIn=seconds)
    return url, {}, headers


async def _signed_form(
    client: Any, bucket: str, key: str, options: PresignOptions
) -> tuple[str, dict[str, str], dict[str, str]]:
    fields: dict[str, str] = {}
    conditions: list[object] = []
    if options.content_type:
        fields["Content-Type"] = options.content_type
        conditions.append({"Content-Type": options.content_type})
    if options.max_size_bytes is not None:
        conditions.append(["content-length-range", 0, options.max_size_bytes])
    form = await client.generate_presigned_post(
        bucket,
        key + FILE_NAME if options.is_prefix else key,
        Fields=fields,
        Conditions=conditions,
        ExpiresIn=int(options.lifetime.total_seconds()),
    )
    return form["url"], form["fields"], {}
