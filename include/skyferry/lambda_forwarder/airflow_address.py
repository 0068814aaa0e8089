"""Where Airflow is and how to log in, as the variables of the function say; passwords may stay in Secrets Manager.

    TRANSFER_AIRFLOW_URL       https://airflow.example.com
    TRANSFER_AIRFLOW_SECRET    ARN of a secret {"user": ..., "password": ...} or {"token": ...}; or, without one,
    TRANSFER_AIRFLOW_USER, TRANSFER_AIRFLOW_PASSWORD, or TRANSFER_AIRFLOW_TOKEN

Secrets Manager is asked with the function's own credentials, which Lambda puts into its variables. Its client is not in
the standard library, so the one request is signed and sent here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from skyferry.lambda_forwarder.http_post import Answer, ForwardError, TryAgainError, post
from skyferry.stores.sigv4 import AwsKeys, signed_headers

URL_VARIABLE = "TRANSFER_AIRFLOW_URL"
SECRET_VARIABLE = "TRANSFER_AIRFLOW_SECRET"  # noqa: S105 - the name of the variable
_VARIABLES = {
    "user": "TRANSFER_AIRFLOW_USER",
    "password": "TRANSFER_AIRFLOW_PASSWORD",
    "token": "TRANSFER_AIRFLOW_TOKEN",
}
_URL = re.compile(r"https?://[^\s/?#@]+[^\s?#@]*")
_SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:(?P<region>[a-z0-9-]+):[0-9]{12}:secret:\S+")
_THROTTLED = frozenset({"ThrottlingException", "InternalServiceError", "ServiceUnavailable"})
_JSON_1_1 = "application/x-amz-json-1.1"


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password to get tokens with, or a token."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def airflow_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the address of Airflow's API server, without a slash at the end.

    Raises:
        ForwardError: The function has none, or one that holds more than an address; it is not repeated.
    """
    url = environ.get(URL_VARIABLE, "")
    if not _URL.fullmatch(url):
        raise ForwardError(
            f"set {URL_VARIABLE} of the function to the address of Airflow, such as https://airflow.example.com,"
            " without user or password in it"
        )
    return url.rstrip("/")


def read_login(environ: Mapping[str, str] = os.environ) -> Login:
    """Return how to log in, as it is now: a secret is read anew, since it may have been changed.

    Raises:
        ForwardError: There is none, or the secret cannot be read; says what to set.
        TryAgainError: Secrets Manager does not answer.
    """
    secret = environ.get(SECRET_VARIABLE, "")
    if secret:
        return _login_of(_read_secret(secret, environ), where=secret)
    return _login_of({name: environ.get(variable, "") for name, variable in _VARIABLES.items()}, where="")


def _login_of(values: Mapping[str, Any], *, where: str) -> Login:
    texts = {name: value for name, value in values.items() if name in _VARIABLES and isinstance(value, str)}
    login = Login(**texts)
    if login.token or (login.user and login.password):
        return login
    if where:
        raise ForwardError(f"secret {where} holds no login; store a JSON object in it with user and password, or token")
    raise ForwardError(
        f"the function has no login for Airflow; set {SECRET_VARIABLE}, or {_VARIABLES['user']} and"
        f" {_VARIABLES['password']}, or {_VARIABLES['token']}"
    )


def _read_secret(arn: str, environ: Mapping[str, str]) -> Mapping[str, Any]:
    match = _SECRET_ARN.fullmatch(arn)
    if not match:
        raise ForwardError(f"{SECRET_VARIABLE} is no ARN of a secret in AWS Secrets Manager")
    answer = _ask_secrets_manager(arn, match["region"], environ)
    if answer.status != 200:
        raise _refused(arn, answer)
    try:
        values = json.loads(json.loads(answer.body)["SecretString"])
    except (ValueError, KeyError, TypeError):
        # The parser's text would repeat the secret.
        values = None
    if not isinstance(values, dict):
        raise ForwardError(f"secret {arn} is no JSON object; store one in it with user and password, or token")
    return values


def _ask_secrets_manager(arn: str, region: str, environ: Mapping[str, str]) -> Answer:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    url = environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or f"https://secretsmanager.{region}.{domain}"
    body = json.dumps({"SecretId": arn}).encode()
    keys = AwsKeys(
        environ.get("AWS_ACCESS_KEY_ID", ""),
        environ.get("AWS_SECRET_ACCESS_KEY", ""),
        environ.get("AWS_SESSION_TOKEN", ""),
    )
    headers = {
        "Host": urlsplit(url).netloc,
        "Content-Type": _JSON_1_1,
        "X-Amz-Target": "secretsmanager.GetSecretValue",
    }
    signed = signed_headers(
        keys,
        "POST",
        path="/",
        query="",
        headers=headers,
        payload=hashlib.sha256(body).hexdigest(),
        region=region,
        service="secretsmanager",
        now=datetime.now(UTC),
    )
    return post(f"{url.rstrip('/')}/", body, signed)


def _refused(arn: str, answer: Answer) -> Exception:
    try:
        code = str(json.loads(answer.body)["__type"]).rpartition("#")[2]
    except (ValueError, KeyError, TypeError):
        code = str(answer.status)
    if code in _THROTTLED:
        return TryAgainError(f"Secrets Manager asks for fewer requests ({code})")
    return ForwardError(
        f"reading secret {arn} was refused ({code}); the role of the function needs secretsmanager:GetSecretValue for"
        " it, and kms:Decrypt if a key of yours encrypts it"
    )
