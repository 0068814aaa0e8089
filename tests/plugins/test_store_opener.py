"""Connections become stores: with every way to sign in that can be tried against an emulator."""

from __future__ import annotations

import json
import os
import socket
import threading
import traceback
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from skyferry.errors import AccessDeniedError, ConnectionConfigError, ConnectionLostError, TransferError
from skyferry.stores.s3_session import ClientPlaces
from skyferry.urls import parse_location
from tests.airflow_home import azurite_connection_string
from tests.conftest import AZURITE_ACCOUNT, AZURITE_KEY

TOKEN = "ya29.sentinel-access-token"


@pytest.fixture(autouse=True)
def no_credentials_from_the_machine(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_")) or name == "STORAGE_EMULATOR_HOST":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    # Set here, so that what the code under test sets is undone with it.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def connect(monkeypatch):
    def define(conn_id: str, **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return define


def use_of(url: str, conn_id: str) -> StoreUse:
    return StoreUse(what="source", location=parse_location(url), conn_id=conn_id)


def prepare(*uses: StoreUse) -> PreparedStores:
    return PreparedStores(uses, known_connections=["aws_default"], max_objects_in_flight=16)


async def make_bucket_and_look(url: str, conn_id: str) -> None:
    """Create a bucket and list it: two requests that must be signed."""
    use = use_of(url, conn_id)
    async with prepare(use)(use.location, conn_id) as store:
        await store.create_bucket()
        await store.check_bucket()
        assert [info async for info in store.list_objects()] == []
        assert store.url() == url


def aws(endpoint: str, **extra: object) -> dict[str, object]:
    return {"conn_type": "aws", "login": "testing", "password": "a-secret-key-of-mine"} | {
        "extra": {"endpoint_url": endpoint, "region_name": "eu-central-1"} | extra
    }


async def test_s3_with_keys(moto, connect):
    connect("aws_keys", **aws(moto.url))
    await make_bucket_and_look("s3://by-keys/", "aws_keys")


async def test_s3_with_an_assumed_role(moto, connect):
    role = {"role_arn": "arn:aws:iam::123456789012:role/mover", "service_config": {"sts": {"endpoint_url": moto.url}}}
    connect("aws_role", **aws(moto.url, **role))
    await make_bucket_and_look("s3://by-role/", "aws_role")
    use = use_of("s3://by-role/", "aws_role")
    async with prepare(use)(use.location, "aws_role") as store:
        assert (await store.api.keys()).token


async def test_s3_keeps_the_connection_s_settings_and_sets_the_engine_s(moto, connect):
    settings = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 9}, "read_timeout": 1, "proxies": {}}
    connect("aws_tuned", **aws(moto.url, config_kwargs=settings, verify=False))
    use = use_of("s3://tuned/", "aws_tuned")
    access = prepare(use)._accesses["s3", "aws_tuned"]
    async with access._clients.open(service="S3", place="s3://tuned/") as client:
        config = client.meta.config
        assert config.s3["addressing_style"] == "path"
        assert config.retries["total_max_attempts"] == 1
        assert (config.connect_timeout, config.read_timeout) == (10, 60)
        assert config.max_pool_connections == 16
        assert config.request_checksum_calculation == config.response_checksum_validation == "when_required"
        assert client.meta.region_name == "eu-central-1"
        place = await ClientPlaces(client, "tuned").locate("")
    assert (place.base_url, place.region) == (f"{moto.url}/tuned", "eu-central-1")


async def test_s3_without_keys_says_so_and_asks_no_metadata_address(moto, connect):
    connect("aws_empty", conn_type="aws", extra={"endpoint_url": moto.url})
    use = use_of("s3://anything/", "aws_empty")
    async with prepare(use)(use.location, "aws_empty") as store:
        with pytest.raises(AccessDeniedError, match="no credentials"):
            await store.check_bucket()


def test_the_metadata_address_is_used_only_when_the_connection_says_so(moto, connect, monkeypatch):
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    connect("aws_machine", conn_type="aws", extra={"use_instance_metadata": True})
    prepare(use_of("s3://anything/", "aws_machine"))
    assert "AWS_EC2_METADATA_DISABLED" not in os.environ
    connect("aws_other", **aws(moto.url))
    prepare(use_of("s3://anything/", "aws_other"))
    assert os.environ["AWS_EC2_METADATA_DISABLED"] == "true"


def account_sas() -> str:
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    return generate_account_sas(
        AZURITE_ACCOUNT,
        account_key=AZURITE_KEY,
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(read=True, write=True, list=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def azure_connections(azurite: str) -> dict[str, dict[str, object]]:
    host = f"{azurite}/{AZURITE_ACCOUNT}"
    plain = {"conn_type": "wasb", "login": AZURITE_ACCOUNT, "host": host}
    return {
        "connection_string": {"conn_type": "wasb", "extra": {"connection_string": azurite_connection_string(azurite)}},
        "password": plain | {"password": AZURITE_KEY},
        "account_key": plain | {"extra": {"account_key": AZURITE_KEY}},
        "shared_access_key": plain | {"extra": {"shared_access_key": AZURITE_KEY}},
        "sas_token": plain | {"extra": {"sas_token": account_sas()}},
    }


@pytest.mark.parametrize("how", ["connection_string", "password", "account_key", "shared_access_key", "sas_token"])
async def test_azure(azurite, connect, how):
    connect("wasb_tried", **azure_connections(azurite.url)[how])
    await make_bucket_and_look(f"az://by-{how.replace('_', '-')}/", "wasb_tried")


async def test_azure_sends_access_tokens_over_tls_only(azurite, connect):
    principal = {"tenant_id": "00000000-0000-0000-0000-000000000000"}
    connect("wasb_clear", conn_type="wasb", login="app", password="secret", host=azurite.url, extra=principal)
    use = use_of("az://lake/", "wasb_clear")
    with pytest.raises(ConnectionConfigError, match='"wasb_clear" gives no Azure Blob client: ValueError'):
        async with prepare(use)(use.location, "wasb_clear"):
            pass


def test_azure_knows_its_account(azurite, connect):
    connect("wasb_tried", **azure_connections(azurite.url)["connection_string"])
    use = use_of("az://lake/", "wasb_tried")
    assert prepare(use).account_name(use) == AZURITE_ACCOUNT


def test_azure_without_credentials_does_not_ask_the_machine(connect):
    connect("wasb_empty", conn_type="wasb", login="someaccount")
    with pytest.raises(ConnectionConfigError, match='"wasb_empty" has no credentials.*use_instance_metadata'):
        prepare(use_of("az://lake/", "wasb_empty"))


def test_a_broken_connection_string_is_an_error_without_the_key(connect):
    connect("wasb_broken", conn_type="wasb", extra={"connection_string": f"AccountKey={AZURITE_KEY}"})
    with pytest.raises(ConnectionConfigError) as caught:
        prepare(use_of("az://lake/", "wasb_broken"))
    assert "wasb_broken" in str(caught.value)
    assert AZURITE_KEY not in "".join(traceback.format_exception(caught.value))


class TokenService(ThreadingHTTPServer):
    """Google's token endpoint: answers each request with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), TokenRequest)
        self.status = 200
        self.requests: list[dict[str, list[str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token"


class TokenRequest(BaseHTTPRequestHandler):
    server: TokenService

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(urllib.parse.parse_qs(body.decode()))
        answer = (
            {"access_token": TOKEN, "expires_in": 3600} if self.server.status == 200 else {"error": "invalid_grant"}
        )
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def token_service() -> Iterator[TokenService]:
    with TokenService() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def google_key(private_key: str, token_uri: str) -> dict[str, object]:
    keyfile = {
        "type": "service_account",
        "project_id": "skyferry",
        "client_email": "mover@skyferry.iam.gserviceaccount.com",
        "private_key": private_key,
        "token_uri": token_uri,
    }
    return {"keyfile_dict": json.dumps(keyfile), "project": "skyferry"}


async def test_google_anonymously(fake_gcs, connect):
    connect(
        "gcp_anonymous",
        conn_type="google_cloud_platform",
        extra={"is_anonymous": True, "project": "skyferry", "endpoint_url": fake_gcs.url},
    )
    await make_bucket_and_look("gs://by-nobody/", "gcp_anonymous")


async def test_google_with_a_key_fetches_one_token_for_many_requests(fake_gcs, connect, token_service, private_key):
    extra = google_key(private_key, token_service.url) | {"endpoint_url": fake_gcs.url}
    connect("gcp_key", conn_type="google_cloud_platform", extra=extra)
    await make_bucket_and_look("gs://by-key/", "gcp_key")
    assert len(token_service.requests) == 1
    assert token_service.requests[0]["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


async def test_google_masks_the_token(fake_gcs, connect, token_service, private_key):
    from airflow.sdk.log import redact

    extra = google_key(private_key, token_service.url) | {"endpoint_url": fake_gcs.url}
    connect("gcp_key", conn_type="google_cloud_platform", extra=extra)
    await make_bucket_and_look("gs://by-masked-key/", "gcp_key")
    assert TOKEN not in str(redact(f"Authorization: Bearer {TOKEN}"))


async def test_google_refusing_the_key_is_access_denied(fake_gcs, connect, token_service, private_key):
    token_service.status = 401
    connect("gcp_key", conn_type="google_cloud_platform", extra=google_key(private_key, token_service.url))
    with pytest.raises(AccessDeniedError, match='"gcp_key" gets no token from Google'):
        await make_bucket_and_look("gs://refused/", "gcp_key")


async def test_a_token_service_that_is_away_is_worth_another_attempt(connect, private_key):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    extra = google_key(private_key, f"http://127.0.0.1:{port}/token")
    connect("gcp_key", conn_type="google_cloud_platform", extra=extra)
    with pytest.raises(ConnectionLostError, match='"gcp_key"'):
        await make_bucket_and_look("gs://away/", "gcp_key")


async def test_google_s_own_variable_names_the_emulator(fake_gcs, connect, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url.removeprefix("http://"))
    connect("gcp_bare", conn_type="google_cloud_platform", extra={"is_anonymous": True, "project": "skyferry"})
    await make_bucket_and_look("gs://by-variable/", "gcp_bare")


def test_google_without_credentials_does_not_ask_the_machine(connect):
    connect("gcp_empty", conn_type="google_cloud_platform", extra={})
    with pytest.raises(ConnectionConfigError, match='"gcp_empty" has no credentials'):
        prepare(use_of("gs://lake/", "gcp_empty"))


def test_a_broken_google_key_is_an_error_without_the_key(connect):
    connect("gcp_broken", conn_type="google_cloud_platform", extra={"keyfile_dict": '{"private_key": "sentinel"}'})
    with pytest.raises(ConnectionConfigError) as caught:
        prepare(use_of("gs://lake/", "gcp_broken"))
    assert "sentinel" not in "".join(traceback.format_exception(caught.value))


async def test_a_local_folder_needs_no_connection(tmp_path):
    use = use_of(f"file://{tmp_path}/", "")
    async with prepare(use)(use.location, "") as store:
        await store.check_bucket()
        assert store.kind == "file"


def test_an_unknown_connection_is_named_with_the_nearest_one():
    with pytest.raises(ConnectionConfigError, match='no Airflow connection "aws_defualt".*did you mean "aws_default"'):
        prepare(use_of("s3://shop/", "aws_defualt"))


def test_a_variable_that_cannot_be_read_is_not_called_missing(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_TYPO", '{"conn_type": "aws", ')
    with pytest.raises(
        ConnectionConfigError, match='cannot read connection "typo".* from the variable AIRFLOW_CONN_TYPO'
    ):
        prepare(use_of("s3://shop/", "typo"))


def test_a_connection_of_another_type_is_named_with_both_types(connect):
    connect("mixed_up", conn_type="http", host="example.com")
    with pytest.raises(ConnectionConfigError, match='"mixed_up".* has the type "http"; expected "wasb"'):
        prepare(use_of("az://lake/", "mixed_up"))


def test_each_connection_is_looked_up_once(moto, connect, monkeypatch):
    import airflow_bridge.transfer_connections as connections

    lookups: list[str] = []
    original = connections.BaseHook.get_connection

    class CountingHook:
        @staticmethod
        def get_connection(conn_id: str):
            lookups.append(conn_id)
            return original(conn_id)

    monkeypatch.setattr(connections, "BaseHook", CountingHook)
    connect("aws_keys", **aws(moto.url))
    prepare(use_of("s3://one/", "aws_keys"), use_of("s3://two/", "aws_keys"), use_of("s3://one/x/", "aws_keys"))
    assert lookups == ["aws_keys"]


async def test_a_signed_s3_request_is_not_sent_on_to_another_host(connect):
    """The aiohttp default would: whoever answers for the endpoint could send it to the machine's metadata address."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    class Redirecting(Elsewhere):
        def do_HEAD(self) -> None:
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}/taken")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as endpoint:
            for server in (elsewhere, endpoint):
                threading.Thread(target=server.serve_forever, daemon=True).start()
            extra = {"endpoint_url": f"http://127.0.0.1:{endpoint.server_port}", "region_name": "us-east-1"}
            connect("redirected", conn_type="aws", login="key", password="secret", extra=extra)
            use = use_of("s3://bucket/", "redirected")
            with pytest.raises(TransferError):
                async with prepare(use)(use.location, "redirected") as store:
                    await store.check_bucket()
            endpoint.shutdown()
        elsewhere.shutdown()
    assert asked == []
