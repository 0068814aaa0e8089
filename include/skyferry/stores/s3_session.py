"""What requests of our own take over from an aiobotocore client: where a bucket answers, the keys, and the connections.

So everything botocore reads from settings holds for them too: addressing styles, endpoints, dual-stack, FIPS,
acceleration, access points, proxies, certificates, anonymous access, assumed roles.

`DirectSession` never follows a redirect to another address. aiobotocore leaves aiohttp's default on, so that whoever
answers for an endpoint could send a signed request anywhere, the machine's metadata address included (seen with
aiobotocore 3.10: a 307 was followed). botocore's own handling of buckets in another region does not need it: it asks
the region's endpoint anew.
"""

from __future__ import annotations

import secrets
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from botocore import UNSIGNED
from botocore import exceptions as botocore_errors
from botocore.httpsession import get_cert_path

from skyferry.errors import AccessDeniedError, ConnectionConfigError, ConnectionLostError
from skyferry.stores.http_client import HttpClient, Proxy, Tls
from skyferry.stores.http_requests import Line
from skyferry.stores.s3_api import Place, S3Api
from skyferry.stores.sigv4 import AwsKeys

_SIGNATURES = ("v4", "s3v4")
_TRUST_HINT = "set `verify` in the connection"


class DirectSession(AIOHTTPSession):  # type: ignore[misc]  # published without type information
    """For `AioConfig(http_session_cls=DirectSession)`."""

    async def _get_session(self, proxy_url: str | None) -> _WithoutRedirects:
        return _WithoutRedirects(await super()._get_session(proxy_url))


class _WithoutRedirects:
    """An aiohttp session's `request`, which is all that aiobotocore uses of it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> aiohttp.ClientResponse:
        return await self._session.request(method, allow_redirects=False, **options)


class ClientPlaces:
    """Finds out where botocore would send requests to one bucket, and signed by what; it sends none itself.

    Args:
        client: An aiobotocore S3 client; it stays the caller's to close.
        bucket: Name of the bucket.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._is_anonymous = False

    async def locate(self, region: str) -> Place:
        """Return where the bucket answers; a `skyferry.stores.s3_api.Locator`.

        Raises:
            ConnectionConfigError: Its requests would have to be signed in a way this library does not know.
        """
        signing = await self._prepare(region)
        version = signing["signature_version"]
        self._is_anonymous = version is UNSIGNED
        if not self._is_anonymous and version not in _SIGNATURES:
            raise ConnectionConfigError(
                f"s3://{self._bucket}/ takes requests signed by {version}; only version 4 and none are supported",
                hint="leave `signature_version` out of the connection, or reach the bucket by its own name",
            )
        url, _, _ = str(signing["request"].url).partition("?")
        base_url, _, _ = url.rpartition("/")
        line = await self._line(url)
        # What the endpoint's rules say about signing comes before the client's own settings.
        scheme = signing["request"].context.get("signing", {})
        return Place(
            base_url=base_url,
            region=scheme.get("region") or signing["region_name"],
            service=scheme.get("signing_name") or signing["signing_name"],
            line=line,
        )

    async def keys(self) -> AwsKeys | None:
        """Return keys that are valid now; those that expire are renewed by the client's own means.

        Raises:
            AccessDeniedError: There are none, or they could not be renewed.
            ConnectionLostError: Whoever gives them out did not answer.
        """
        if self._is_anonymous:
            return None
        credentials = self._client._request_signer._credentials
        if credentials is None:
            raise AccessDeniedError(
                f"s3://{self._bucket}/ cannot be used: the connection has no credentials",
                hint="add them to the connection",
            )
        try:
            frozen = await credentials.get_frozen_credentials()
        except (botocore_errors.HTTPClientError, botocore_errors.ConnectionError) as error:
            raise ConnectionLostError(
                f"s3://{self._bucket}/ cannot be used: its keys could not be renewed ({type(error).__name__})"
            ) from error
        except (botocore_errors.BotoCoreError, botocore_errors.ClientError) as error:
            raise AccessDeniedError(
                f"s3://{self._bucket}/ cannot be used: its keys could not be renewed ({type(error).__name__})",
                hint="check the role and the keys of the connection",
            ) from error
        return AwsKeys(frozen.access_key, frozen.secret_key, frozen.token or "")

    async def _prepare(self, region: str) -> dict[str, Any]:
        """Let botocore prepare a request for an object, and return what it would sign."""
        key = secrets.token_hex(16)  # other requests of the client pass by the same handlers

        def choose_region(builtins: dict[str, Any], params: dict[str, Any], **_: Any) -> None:
            if region and params.get("Key") == key:
                builtins["AWS::Region"] = region

        def stop(**signing: Any) -> None:
            if str(signing["request"].url).partition("?")[0].endswith(key):
                raise _PreparedError(signing)

        events = self._client.meta.events
        events.register_last("before-endpoint-resolution.s3", choose_region, unique_id=f"region-{key}")
        events.register_first("before-sign.s3.GetObject", stop, unique_id=f"stop-{key}")
        try:
            await self._client.get_object(Bucket=self._bucket, Key=key)
        except _PreparedError as prepared:
            return prepared.signing
        finally:
            events.unregister("before-endpoint-resolution.s3", unique_id=f"region-{key}")
            events.unregister("before-sign.s3.GetObject", unique_id=f"stop-{key}")
        raise ConnectionConfigError(f"s3://{self._bucket}/ has no address that botocore would tell")

    async def _line(self, url: str) -> Line:
        http_session = self._client._endpoint.http_session
        client = HttpClient(
            max_requests=http_session._max_pool_connections, tls=_tls(http_session), proxy=_proxy(http_session, url)
        )
        # It is closed with the connections of the aiobotocore client.
        await http_session._exit_stack.enter_async_context(client)
        return Line(client=client, trust_hint=_TRUST_HINT)


def _tls(http_session: Any) -> Tls:
    verify = http_session._verify
    return Tls(
        verifies=bool(verify),
        authorities=get_cert_path(verify) or "",
        certificate=http_session._cert_file or "",
        key=http_session._key_file or "",
    )


def _proxy(http_session: Any, url: str) -> Proxy | None:
    proxies = http_session._proxy_config
    proxy_url = proxies.proxy_url_for(url)
    if not proxy_url:
        return None
    certificate = proxies.settings.get("proxy_client_cert") or ""
    file, key = (certificate, "") if isinstance(certificate, str) else certificate
    endpoint = _tls(http_session)
    authorities = proxies.settings.get("proxy_ca_bundle") or endpoint.authorities
    return Proxy(
        url=proxy_url,
        headers=proxies.proxy_headers_for(url),
        tls=Tls(verifies=endpoint.verifies, authorities=authorities, certificate=file, key=key),
    )


class _PreparedError(Exception):
    """Ends a call of botocore just before it signs; `signing` is what it would have signed."""

    def __init__(self, signing: dict[str, Any]) -> None:
        super().__init__()
        self.signing = signing


def client_api(client: Any, bucket: str) -> S3Api:
    """Return the requests to one bucket as an aiobotocore client would send them."""
    places = ClientPlaces(client, bucket)
    return S3Api(places.locate, places.keys)
