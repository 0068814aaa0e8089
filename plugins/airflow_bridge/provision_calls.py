"""Synchronous calls to AWS, of provisioning and of the index of receipts: clients of a connection, what errors mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from airflow_bridge.instance_metadata import uses_instance_metadata
from airflow_bridge.transfer_connections import find_connection_of_type
from skyferry.errors import (
    AccessDeniedError,
    ConnectionConfigError,
    ConnectionLostError,
    PermanentError,
    ThrottledError,
)

_DENIED = frozenset(
    {
        "403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AuthorizationError",
        "AuthorizationErrorException", "ExpiredToken", "InvalidAccessKeyId", "InvalidClientTokenId",
        "SignatureDoesNotMatch", "UnauthorizedOperation", "UnrecognizedClientException",
    }
)  # fmt: skip
_THROTTLED = frozenset(
    {
        "SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests",
        "TooManyRequestsException", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
    }
)  # fmt: skip
_NOT_OFFERED = frozenset({"NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "XNotImplemented"})
_NOT_OFFERED_STATUSES = (405, 501)

TALKATIVE = ("botocore.parsers",)
"""What writes whole answers at the level DEBUG, secrets in them too; see `airflow_bridge.silenced_loggers`."""


class NotOfferedError(PermanentError):
    """The endpoint speaks S3 but does not know this call."""


class AwsAccount:
    """What one connection reaches on AWS, or on an endpoint that speaks like it.

    Args:
        region: In place of the connection's; empty for that.
        settings: Come before those of the connection.

    Raises:
        ConnectionConfigError: The connection does not exist, or is of the wrong type.
    """

    def __init__(self, conn_id: str, *, named_by: str, region: str = "", settings: Config | None = None) -> None:
        connection = find_connection_of_type(conn_id, expected="aws", named_by=named_by, known=())
        if not uses_instance_metadata(connection.extra_dejson):
            # As `AwsClients`: the one switch that also reaches the session inside the hook.
            os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        self.conn_id = conn_id
        self._region = region
        self._settings = settings
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of a service, as `s3`."""
        if service not in self._clients:
            try:
                self._clients[service] = self._hook(service).get_conn()
            except (BotoCoreError, ClientError, ValueError) as error:
                raise ConnectionConfigError(
                    f'connection "{self.conn_id}" gives no client for {service}: {type(error).__name__}: {error}',
                    hint="check its credentials, role, region and extra in Airflow (Admin > Connections)",
                ) from error
        return self._clients[service]

    def _hook(self, service: str) -> AwsGenericHook[Any]:
        names: dict[str, Any] = {
            "aws_conn_id": self.conn_id,
            "client_type": service,
            "region_name": self._region or None,
        }
        hook: AwsGenericHook[Any] = AwsGenericHook(**names)
        return AwsGenericHook(**names, config=hook.config.merge(self._settings)) if self._settings else hook

    @property
    def region(self) -> str:
        """The connection's region."""
        return str(self.client("s3").meta.region_name or "")

    def caller(self) -> tuple[str, str]:
        """Return the account the connection belongs to, and the ARN of who it signs in as."""
        answer = ask(self.client("sts").get_caller_identity, "finding out the account", needs="sts:GetCallerIdentity")
        return str(answer["Account"]), str(answer["Arn"])


def ask(call: Callable[..., Any], action: str, *, needs: str, **parameters: Any) -> Any:
    """Return the answer of a call.

    Args:
        action: What is done to what, as `creating s3://lake/`.
        needs: The right it takes, as `s3:CreateBucket`.

    Raises:
        AccessDeniedError: The connection lacks the right.
        NotOfferedError: The endpoint does not know the call.
        TransferError: Anything else.
    """
    return ask_if_there(call, action, needs=needs, absent=(), **parameters)


def ask_if_there(
    call: Callable[..., Any], action: str, *, needs: str, absent: Iterable[str], **parameters: Any
) -> Any | None:
    """Return the answer of a call, or None for an error that means that there is nothing; otherwise as `ask`.

    Args:
        absent: Codes of such errors.
    """
    try:
        return call(**parameters)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in set(absent):
            return None
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise _translated(error, code, status, action, needs) from error
    except NoCredentialsError as error:
        raise AccessDeniedError(f"{action} failed: the connection has no credentials", hint="add them to it") from error
    except BotoCoreError as error:
        raise ConnectionLostError(f"{action} failed: {type(error).__name__}", hint="run it again") from error


def _translated(error: ClientError, code: str, status: int, action: str, needs: str) -> Exception:
    if code in _NOT_OFFERED or status in _NOT_OFFERED_STATUSES:
        return NotOfferedError(f"{action}: this store does not offer it")
    if code in _DENIED or status == 403:
        return AccessDeniedError(f"{action} was refused ({code})", hint=f"it needs {needs}")
    if code in _THROTTLED:
        return ThrottledError(f"{action}: the store asks for fewer requests", hint="run it again")
    text = str(error.response.get("Error", {}).get("Message", "")).strip()
    if status >= 500:
        return ConnectionLostError(f"{action} failed ({code or status})", hint="run it again")
    return PermanentError(f"{action} failed: {code}: {text}".rstrip(": "))
