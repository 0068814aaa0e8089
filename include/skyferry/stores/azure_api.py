"""Requests to Azure Blob Storage: addresses, authorisation, answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.utils import formatdate
from functools import lru_cache
from time import time
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from skyferry.content_memory import Content
from skyferry.errors import ConnectionConfigError, TransferError
from skyferry.stores.azure_signing import Authority, AzureRequest
from skyferry.stores.http_requests import Accept, Answer, Line, Target, exchange, parse_xml

# Blocks of 4,000 MiB, tags and version ids are known since 2019-12-12; emulators know this one too.
_API_VERSION = "2021-12-02"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_BODY_TYPE = "application/octet-stream"


class AzureAnswerError(Exception):
    """An answer that is no success; `code` is the service's own, empty where the answer holds none."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.status = answer.status
        self.headers = answer.headers
        self.code = answer.headers.get("x-ms-error-code") or _code_within(answer)


class ConditionNotMetError(TransferError):
    """The key does not show what the request's condition names; what that means is the caller's to say."""


class AzureApi:
    """One container, spoken to with one connection's authority.

    Args:
        service_url: Of the account, with the shared access signature in its query where there is one.
        container: Its name.
        needs_tls: Refuse to send anything in clear, as is due to access tokens.
    """

    def __init__(
        self, line: Line, service_url: str, container: str, *, authority: Authority, needs_tls: bool = False
    ) -> None:
        parts = urlsplit(service_url)
        if needs_tls and parts.scheme != "https":
            raise ConnectionConfigError(
                f"az://{container}/ cannot be used: access tokens are only sent over https",
                hint="give the connection a host that begins with https://",
            )
        self._line = line
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = f"{parts.path.rstrip('/')}/{quote(container, safe='$')}"
        self._signature = parts.query
        self._authority = authority

    async def ask(
        self,
        method: str,
        key: str,
        target: Target,
        *,
        query: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
        body: Content = b"",
        size_bytes: int = 0,
        accept: Accept | None = None,
    ) -> Answer:
        """Return a successful answer.

        Args:
            key: Of the blob, which must be one that `skyferry.stores.azure` does not refuse; empty for the container.
            size_bytes, accept: See `skyferry.stores.http_requests.exchange`.

        Raises:
            AzureAnswerError: Any other answer.
            TransferError: There was none.
        """
        path = self._key_path(key)
        tail = "&".join([*(f"{name}={quote(value, safe='~')}" for name, value in query.items()), *self._signatures()])
        sent = {
            **headers,
            "x-ms-version": _API_VERSION,
            "x-ms-date": _date(int(time())),
            # The service must not compress: a copy is of the bytes that are stored.
            "Accept-Encoding": "identity",
        }
        if body:
            sent |= {"Content-Type": _BODY_TYPE, "Content-Length": str(len(body))}
        request = AzureRequest(method, path, query, sent)
        for is_last in (False, True):
            answer = await exchange(
                self._line,
                method,
                f"{self._origin}{path}?{tail}" if tail else f"{self._origin}{path}",
                target,
                headers={**sent, **await self._authority.headers(request)},
                body=body or None,
                size_bytes=size_bytes,
                accept=accept,
            )
            if answer.status // 100 == 2:
                return answer
            challenge = answer.headers.get("WWW-Authenticate", "")
            if is_last or answer.status != 401 or not self._authority.accepts_challenge(challenge):
                break
        raise AzureAnswerError(answer)

    def copy_source(self, key: str) -> str:
        """Return the address by which the service itself reads a blob of this account; with a SAS it is a secret."""
        return "?".join([f"{self._origin}{self._key_path(key)}", *self._signatures()])

    def _key_path(self, key: str) -> str:
        return f"{self._path}/{quote(key, safe='/~')}" if key else self._path

    def _signatures(self) -> Iterator[str]:
        if self._signature:
            yield self._signature


def user_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the user's metadata out of an answer's headers, names as they were written."""
    return {name[10:]: value for name, value in headers.items() if name[:10].lower() == "x-ms-meta-"}


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _code_within(answer: Answer) -> str:
    try:
        return parse_xml(answer).findtext("Code") or ""
    except TransferError:
        return ""
