"""Requests to S3 and what speaks its protocol: addresses, signatures, answers, buckets that lie in another region."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from skyferry.content_memory import Content
from skyferry.errors import KeyRefusedError, TransferError
from skyferry.stores.http_requests import Accept, Answer, Line, Target, exchange, parse_xml
from skyferry.stores.sigv4 import EMPTY_SHA256, UNSIGNED_PAYLOAD, AwsKeys, signed_headers

KeysProvider = Callable[[], Awaitable[AwsKeys | None]]
"""Returns keys that are valid now, or None for anonymous access; called for every request."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
_CHECKSUM_HEADERS = ("x-amz-checksum-", "content-md5")
# Above this size a SHA-256 takes longer than handing it to a thread.
_INLINE_BYTES = 256 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one bucket answers.

    Attributes:
        base_url: Address of the bucket, without a slash at its end; that of a key is this, a slash, and the key.
        region: What requests are signed for.
        service: Likewise; `s3`, save for a few kinds of access points.
        line: How it is reached.
    """

    base_url: str
    region: str
    line: Line
    service: str = "s3"


Locator = Callable[[str], Awaitable[Place]]
"""Returns where the bucket answers in the region named; in the connection's own when the name is empty."""


class S3AnswerError(Exception):
    """An answer that is no success: `code` is S3's own, or the status where the answer holds none (as to HEAD)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.status = answer.status
        self.code, self.message, self.region = _error_fields(answer)

    @property
    def is_not_implemented(self) -> bool:
        """Whether the endpoint does not know what a header asks for."""
        return self.status == 501 or self.code == "NotImplemented"


class S3Api:
    """One bucket, spoken to with one connection's keys.

    Args:
        locate: Asked once, and once more when the bucket turns out to lie in another region.
        keys: See `KeysProvider`.
    """

    def __init__(self, locate: Locator, keys: KeysProvider) -> None:
        self._locate = locate
        self.keys = keys
        self._address: _Address | None = None
        self._locating = asyncio.Lock()

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
            key: Of the object, or empty for the bucket.
            size_bytes, accept: See `skyferry.stores.http_requests.exchange`.

        Raises:
            S3AnswerError: Any other answer.
            TransferError: There was none.
        """
        request = _Request(method, key, target, query, headers, body, size_bytes, accept)
        address = self._address or await self._locate_in("", instead_of=None)
        try:
            return await self._send(request, address)
        except S3AnswerError as error:
            if not _lies_elsewhere(error, address.place.region):
                raise
            region = error.region
        return await self._send(request, await self._locate_in(region, instead_of=address))

    async def _locate_in(self, region: str, *, instead_of: _Address | None) -> _Address:
        async with self._locating:
            if self._address is None or self._address is instead_of:
                self._address = _Address(await self._locate(region))
            return self._address

    async def _send(self, request: _Request, address: _Address) -> Answer:
        path = address.path(request.key, request.target)
        query = sorted((name, quote(value, safe="~")) for name, value in request.query.items())
        # The endpoint must not compress: a copy is of the bytes that are stored.
        headers: Mapping[str, str] = {**request.headers, "Host": address.host, "Accept-Encoding": "identity"}
        keys = await self.keys()
        if keys is not None:
            headers = signed_headers(
                keys,
                request.method,
                path=path,
                query="&".join(f"{name}={value}" for name, value in query),
                headers=headers,
                payload=await _payload(request, is_encrypted=address.is_encrypted),
                region=address.place.region,
                service=address.place.service,
                now=datetime.now(UTC),
            )
        tail = "?" + "&".join(f"{name}={value}" if value else name for name, value in query) if query else ""
        answer = await exchange(
            address.place.line,
            request.method,
            f"{address.origin}{path}{tail}",
            request.target,
            headers=headers,
            body=request.body or None,
            size_bytes=request.size_bytes,
            accept=request.accept,
        )
        if answer.status // 100 != 2:
            raise S3AnswerError(answer)
        return answer


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    key: str
    target: Target
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Content
    size_bytes: int
    accept: Accept | None


class _Address:
    """The parts of a place's address, taken apart once."""

    def __init__(self, place: Place) -> None:
        parts = urlsplit(place.base_url)
        self.place = place
        self.is_encrypted = parts.scheme == "https"
        host = parts.netloc.rpartition("@")[2]
        self.host = host.removesuffix(f":{_DEFAULT_PORTS.get(parts.scheme, '')}")
        self.origin = f"{parts.scheme}://{host}"
        self._base_path = parts.path.rstrip("/")

    def path(self, key: str, target: Target) -> str:
        if not key:
            return self._base_path or "/"
        try:
            return f"{self._base_path}/{quote(key, safe='/~')}"
        except UnicodeEncodeError:
            raise KeyRefusedError(f"{target.url} is not valid Unicode", hint="rename the object") from None


def require_success_within(answer: Answer, root: ET.Element) -> None:
    """Raise what S3 found out after it had begun to answer with 200.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    """
    if root.tag == "Error":
        raise S3AnswerError(Answer(target=answer.target, status=500, headers=answer.headers, body=answer.body))


def user_metadata(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the user's metadata out of an answer's headers."""
    for name, value in headers.items():
        if name[:11].lower() == "x-amz-meta-":
            yield name[11:].lower(), value


async def _payload(request: _Request, *, is_encrypted: bool) -> str:
    """Return what is signed in place of the body, as botocore does: TLS and a checksum are enough, else its SHA-256."""
    if not request.body:
        return EMPTY_SHA256
    if is_encrypted and any(name.lower().startswith(_CHECKSUM_HEADERS) for name in request.headers):
        return UNSIGNED_PAYLOAD
    if len(request.body) <= _INLINE_BYTES:
        return hashlib.sha256(request.body).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, request.body)).hexdigest()


def _lies_elsewhere(error: S3AnswerError, region: str) -> bool:
    """Tell whether S3 says that the bucket is in another region, and which one that is."""
    is_told_so = error.status in (301, 307, 400) or error.code in ("PermanentRedirect", "AuthorizationHeaderMalformed")
    return is_told_so and bool(error.region) and error.region != region


def _error_fields(answer: Answer) -> tuple[str, str, str]:
    """Return code, message and, where the answer tells it, the bucket's region."""
    code, message, region = str(answer.status), "", answer.headers.get("x-amz-bucket-region", "")
    if answer.body:
        try:
            root = parse_xml(answer)
        except TransferError:
            return code, message, region
        error = root if root.tag == "Error" else root.find("Error")
        if error is not None:
            code, message = error.findtext("Code") or code, error.findtext("Message") or ""
            region = region or error.findtext("Region") or ""
    return code, message, region
