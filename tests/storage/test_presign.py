"""`transfer presign` and `Storage.presign`: addresses are used by plain HTTP clients, as by whoever is given one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from skyferry.errors import AccessDeniedError, ConnectionConfigError, ConnectionLostError, KeyRefusedError, RequestError
from skyferry.keys import refusal
from skyferry.storage import Presigned, PresignOptions, Storage
from tests.docs.pages import blocks
from tests.e2e.buckets import Bucket, S3Bucket
from tests.storage.conftest import Done, Fronts, quieten_airflow

Transfer = Callable[..., Done]
Connect = Callable[..., str]

ODD_KEYS = (
    "reports/may 2026.csv",
    "a+b&c=d%20e%2Fe;f,g",
    "ünï/日本語 🚀.txt",
    "what?#really",
    "//double//slashes/",
    "[x]*{y}~'\"<>|^`",
    "$web/@home:now!(1)",
)
EMAIL = "mover@skyferry.iam.gserviceaccount.com"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a function that defines an Airflow connection and returns its id."""

    def define(conn_id: str, **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return define


@pytest.fixture(params=["s3", "az"])
def answering(request: pytest.FixtureRequest, new_bucket: Callable[..., Bucket]) -> Bucket:
    """A bucket of an emulator that answers signed addresses."""
    return new_bucket(request.param)


@pytest.fixture(scope="module")
def google_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def google_connection(key: rsa.RSAPrivateKey, **extra: str) -> dict[str, Any]:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    key_file = {
        "type": "service_account",
        "project_id": "skyferry",
        "client_email": EMAIL,
        "private_key": pem,
        "token_uri": "http://127.0.0.1:1/token",
    }
    return {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": json.dumps(key_file)} | extra}


def send(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Send a request as it is written, by a client that knows nothing of stores."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def query(url: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query, keep_blank_values=True))


# --- Reading and writing through an address -----------------------------------------------------------------------


def test_whoever_has_the_address_reads_the_object(answering: Bucket, transfer: Transfer) -> None:
    answering.put("reports/may.csv", b"order,amount\n")
    done = transfer("presign", f"{answering.url}reports/may.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert send("GET", done.stdout.strip()) == (200, b"order,amount\n")


def test_whoever_has_the_address_writes_the_object_with_the_headers_it_asks_for(
    answering: Bucket, transfer: Transfer
) -> None:
    url = f"{answering.url}incoming/may.csv"
    signed = transfer("presign", url, "--method", "put", "--content-type", "text/csv", "--json").json
    assert signed["method"] == "PUT"
    assert signed["headers"]["Content-Type"] == "text/csv"
    status, answer = send("PUT", signed["url"], b"order,amount\n", signed["headers"])
    assert status in (200, 201), answer
    assert answering.content() == {"incoming/may.csv": b"order,amount\n"}
    told = transfer("presign", url, "--method", "put", "--content-type", "text/csv")
    assert [line.removeprefix("send the header ") for line in told.stderr.splitlines()] == [
        f"{name}: {value}" for name, value in signed["headers"].items()
    ]


def test_odd_names_are_encoded_so_that_plain_clients_reach_them(answering: Bucket, transfer: Transfer) -> None:
    kind = answering.url.partition(":")[0]
    keys = [key for key in ODD_KEYS if not refusal(key, kind)]
    assert len(keys) > 5
    for key in keys:
        answering.put(key, key.encode())
        url = transfer("presign", answering.url, "--key", key).stdout.strip()
        assert url.isascii()
        assert send("GET", url) == (200, key.encode()), key


async def test_every_name_of_the_corpus_can_be_read_by_its_address(
    answering: Bucket, fronts: Fronts, corpora: Path
) -> None:
    kind = answering.url.partition(":")[0]
    entries = json.loads((corpora / "object-keys" / "keys.json").read_text(encoding="utf-8"))["keys"]
    keys = sorted({key for entry in entries if (key := entry.get("key")) and not refusal(key, kind)})[:60]
    async with Storage() as storage:
        for key in keys:
            if any(element in (".", "..") for element in key.split("/")):
                with pytest.raises(KeyRefusedError, match="HTTP clients would ask for another object"):
                    await storage.presign(answering.url, key=key)
                continue
            signed = await storage.presign(answering.url, key=key)
            answering.put(key, b"x")
            assert send("GET", signed.url) == (200, b"x"), key
    assert len(answering.content()) > 20


def test_an_address_is_for_one_object_and_one_method(new_bucket: Any, transfer: Transfer) -> None:
    """Azurite checks signatures; moto takes any."""
    bucket = new_bucket("az")
    bucket.put("a.csv", b"a")
    bucket.put("b.csv", b"b")
    url = transfer("presign", f"{bucket.url}a.csv").stdout.strip()
    assert send("GET", url.replace("a.csv?", "b.csv?"))[0] == 403
    assert send("PUT", url, b"other", {"x-ms-blob-type": "BlockBlob"})[0] == 403
    assert send("DELETE", url)[0] == 403
    assert send("GET", url[:-12] + "AAAAAAAA%3D%3D")[0] == 403
    assert bucket.content() == {"a.csv": b"a", "b.csv": b"b"}


def test_an_address_that_has_expired_is_refused(new_bucket: Any, transfer: Transfer) -> None:
    bucket = new_bucket("az")
    bucket.put("a.csv", b"a")
    url = transfer("presign", f"{bucket.url}a.csv", "--expires", "1s").stdout.strip()
    ends_at = datetime.fromisoformat(query(url)["se"])
    assert ends_at < datetime.now(UTC) + timedelta(seconds=2)
    while datetime.now(UTC) < ends_at + timedelta(seconds=1):
        time.sleep(0.2)
    assert send("GET", url)[0] == 403


# --- Forms --------------------------------------------------------------------------------------------------------


def test_a_form_posts_a_file_to_the_one_name_it_was_made_for(new_bucket: Any, transfer: Transfer) -> None:
    bucket: S3Bucket = new_bucket("s3")
    done = transfer(
        "presign", f"{bucket.url}in/may.csv", "--method", "post", "--max-size-bytes", "1K", "--content-type", "text/csv"
    )
    assert done.stderr == ""
    form = done.json
    assert form["fields"]["key"] == "in/may.csv"
    answer = httpx.post(form["url"], data=form["fields"], files={"file": ("local.csv", b"order,amount\n")})
    assert answer.status_code in (200, 204), answer.text
    assert bucket.content() == {"in/may.csv": b"order,amount\n"}
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    for condition in (
        {"bucket": bucket.name},
        {"key": "in/may.csv"},
        {"Content-Type": "text/csv"},
        ["content-length-range", 0, 1024],
    ):
        assert condition in policy["conditions"]


def test_a_form_for_a_prefix_takes_the_name_of_the_file(new_bucket: Any, transfer: Transfer) -> None:
    bucket: S3Bucket = new_bucket("s3")
    form = transfer("presign", f"{bucket.url}in/", "--method", "post", "--starts-with").json
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    assert ["starts-with", "$key", "in/"] in policy["conditions"]
    assert form["fields"]["key"] == "in/${filename}"
    fields = form["fields"] | {"key": "in/june.csv"}
    assert httpx.post(form["url"], data=fields, files={"file": b"june"}).status_code in (200, 204)
    assert bucket.content() == {"in/june.csv": b"june"}


def test_a_form_is_signed_by_version_4_of_its_policy(new_bucket: Any, transfer: Transfer) -> None:
    """The emulator takes any form, so the signature is made anew by the vendor's recipe."""
    bucket: S3Bucket = new_bucket("s3")
    fields = transfer("presign", f"{bucket.url}a.csv", "--method", "post").json["fields"]
    assert fields["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert fields["x-amz-signature"] == amazon_signature(fields["x-amz-credential"], fields["policy"])


def amazon_signature(credential: str, text: str) -> str:
    """Return the signature of the tests' secret key: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    key = b"AWS4testing"
    for part in credential.split("/")[1:]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


# --- Credentials --------------------------------------------------------------------------------------------------


def test_s3_signs_by_version_4_and_for_the_time_that_was_asked(new_bucket: Any, transfer: Transfer) -> None:
    bucket = new_bucket("s3")
    signed = transfer("presign", f"{bucket.url}a.csv", "--expires", "12h", "--json").json
    values = query(signed["url"])
    assert (values["X-Amz-Algorithm"], values["X-Amz-Expires"]) == ("AWS4-HMAC-SHA256", "43200")
    began_at = datetime.strptime(values["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ends_at = datetime.fromisoformat(signed["expires_at"])
    assert timedelta(seconds=-60) < ends_at - began_at - timedelta(hours=12) <= timedelta(0)
    assert signed["caution"] == ""


@pytest.mark.parametrize("method", ["get", "put"])
async def test_s3_s_signature_holds_for_odd_names(method: Any, new_bucket: Any) -> None:
    """The emulator takes any signature, so it is made anew by the vendor's recipe."""
    bucket = new_bucket("s3")
    options = PresignOptions(method=method, content_type="text/csv" if method == "put" else "")
    async with Storage() as storage:
        for key in ODD_KEYS:
            signed = await storage.presign(bucket.url, options, key=key)
            values = query(signed.url)
            signature = values.pop("X-Amz-Signature")
            canonical = canonical_request(signed, f"/{bucket.name}/{key}", values)
            credential = values["X-Amz-Credential"]
            text = "\n".join(
                (
                    "AWS4-HMAC-SHA256",
                    values["X-Amz-Date"],
                    credential.partition("/")[2],
                    hashlib.sha256(canonical).hexdigest(),
                )
            )
            assert signature == amazon_signature(credential, text), key


@pytest.mark.parametrize(
    ("bucket", "beginning"),
    [
        ("shop-exports", "https://shop-exports.s3.eu-central-1.amazonaws.com/"),
        ("shop.exports", "https://s3.eu-central-1.amazonaws.com/shop.exports/"),
    ],
)
async def test_amazon_s_own_addresses_name_the_region(bucket: str, beginning: str, connect: Connect) -> None:
    """The address of all regions redirects to another host for new buckets, and the host is signed."""
    conn_id = connect(
        "aws_cloud", conn_type="aws", login="testing", password="testing", extra={"region_name": "eu-central-1"}
    )
    async with Storage(conn_id) as storage:
        signed = await storage.presign(f"s3://{bucket}/a.csv")
        form = await storage.presign(f"s3://{bucket}/a.csv", PresignOptions(method="post"))
    assert signed.url.startswith(f"{beginning}a.csv?")
    assert form.url.rstrip("/") == beginning.rstrip("/")


def test_temporary_credentials_are_told_of(
    new_bucket: Any, fronts: Fronts, transfer: Transfer, connect: Connect
) -> None:
    extra = {"endpoint_url": fronts.proxies["s3"].url, "region_name": "us-east-1", "aws_session_token": "a-token"}
    connect("aws_temporary", conn_type="aws", login="testing", password="testing", extra=extra)
    bucket = new_bucket("s3")
    bucket.put("a.csv", b"a")
    for options in ([], ["--method", "post"]):
        done = transfer("presign", f"{bucket.url}a.csv", "--conn", "aws_temporary", *options)
        assert "signed with temporary credentials and ends when they do" in done.stderr
        assert "a-token" in done.stdout
    done = transfer("presign", f"{bucket.url}a.csv", "--conn", "aws_temporary")
    assert send("GET", done.stdout.strip()) == (200, b"a")


@pytest.mark.parametrize("method", ["get", "put"])
async def test_google_s_signature_is_that_of_the_service_account(
    method: Any, google_key: rsa.RSAPrivateKey, connect: Connect
) -> None:
    """The emulator takes any signature, so it is compared with the public key, over what the vendor says is signed."""
    conn_id = connect("gcp_key", **google_connection(google_key))
    content_type = "text/csv" if method == "put" else ""
    options = PresignOptions(method=method, lifetime=timedelta(days=7), content_type=content_type)
    async with Storage(conn_id) as storage:
        for key in ODD_KEYS:
            signed = await storage.presign("gs://shop-archive/", options, key=key)
            verify_google(signed, key, google_key.public_key())
            with pytest.raises(InvalidSignature):
                verify_google(signed, key + "x", google_key.public_key())
    assert signed.headers == ({"Content-Type": "text/csv"} if content_type else {})
    assert (query(signed.url)["X-Goog-Expires"], signed.caution) == ("604800", "")


def verify_google(signed: Presigned, key: str, public_key: rsa.RSAPublicKey) -> None:
    """Raise unless the address is signed: https://cloud.google.com/storage/docs/authentication/canonical-requests."""
    values = query(signed.url)
    signature = binascii.unhexlify(values.pop("X-Goog-Signature"))
    assert values["X-Goog-SignedHeaders"] == ";".join(sorted({"host"} | {name.lower() for name in signed.headers}))
    email, scope = values["X-Goog-Credential"].split("/", 1)
    assert email == EMAIL
    canonical = canonical_request(signed, f"/shop-archive/{key}", values)
    text = "\n".join(("GOOG4-RSA-SHA256", values["X-Goog-Date"], scope, hashlib.sha256(canonical).hexdigest()))
    public_key.verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())


def canonical_request(signed: Presigned, path: str, values: dict[str, str]) -> bytes:
    """Return what version 4 signs, Google's as Amazon's."""
    headers = {"host": urllib.parse.urlsplit(signed.url).netloc}
    headers |= {name.lower(): value for name, value in signed.headers.items()}
    encoded = sorted(
        (urllib.parse.quote(name, safe=""), urllib.parse.quote(value, safe="")) for name, value in values.items()
    )
    lines = (
        signed.method,
        urllib.parse.quote(path, safe="/~"),
        "&".join(f"{name}={value}" for name, value in encoded),
        *(f"{name}:{value}" for name, value in sorted(headers.items())),
        "",
        ";".join(sorted(headers)),
        "UNSIGNED-PAYLOAD",
    )
    return "\n".join(lines).encode()


def test_google_s_emulator_answers_the_address(
    new_bucket: Any, fronts: Fronts, google_key: rsa.RSAPrivateKey, connect: Connect, transfer: Transfer
) -> None:
    bucket = new_bucket("gs")
    bucket.put("a b.csv", b"a")
    connect("gcp_key", **google_connection(google_key, endpoint_url=fronts.emulators["gs"]))
    done = transfer("presign", f"{bucket.url}a b.csv", "--conn", "gcp_key")
    assert done.stdout.startswith(fronts.emulators["gs"])
    assert send("GET", done.stdout.strip()) == (200, b"a")


class DelegatingService(ThreadingHTTPServer):
    """What of Azure gives out user delegation keys, over TLS, and refuses while it is told to."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Delegation)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.is_refusing = False
        self.asked: list[str] = []


class _Delegation(BaseHTTPRequestHandler):
    server: DelegatingService

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(f"{self.path} {self.headers['Authorization']} {asked}")
        start, expiry = (asked.split(f"<{name}>")[1].split("<")[0] for name in ("Start", "Expiry"))
        key = base64.b64encode(b"k" * 32).decode()
        body = (
            f"<UserDelegationKey><SignedOid>oid</SignedOid><SignedTid>tid</SignedTid><SignedStart>{start}</SignedStart>"
            f"<SignedExpiry>{expiry}</SignedExpiry><SignedService>b</SignedService>"
            f"<SignedVersion>2020-02-10</SignedVersion><Value>{key}</Value></UserDelegationKey>"
        )
        if self.server.is_refusing:
            body = "<Error><Code>AuthorizationPermissionMismatch</Code><Message>no</Message></Error>"
        self.send_response(403 if self.server.is_refusing else 200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


class Identity:
    """Stands for a sign-in with Microsoft, which no emulator has."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("a-bearer-token", int(time.time()) + 3600)


@pytest.fixture
def delegating(
    google_key: rsa.RSAPrivateKey, tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DelegatingService]:
    """A service that gives out keys, and the connection `wasb_identity` that signs in to it."""
    from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
    from azure.storage.blob import BlobServiceClient

    certificate = self_signed(google_key, tmp_path / "localhost.pem")
    connect("wasb_identity", conn_type="wasb", login="app", password="secret", extra={"tenant_id": "tid"})
    with DelegatingService(certificate) as server:
        service = BlobServiceClient(
            f"https://127.0.0.1:{server.server_port}/lakeaccount",
            credential=Identity(),
            connection_verify=str(certificate),
        )
        monkeypatch.setattr(WasbHook, "get_conn", lambda _: service)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def self_signed(key: rsa.RSAPrivateKey, file: Path) -> Path:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return file


async def test_without_the_account_s_key_azure_is_asked_for_one(delegating: DelegatingService) -> None:
    async with Storage("wasb_identity") as storage:
        signed = await storage.presign("az://lake/a b.csv", PresignOptions(lifetime=timedelta(days=7)))
    (asked,) = delegating.asked
    assert "/?restype=service&comp=userdelegationkey Bearer a-bearer-token" in asked
    values = query(signed.url)
    assert (values["skoid"], values["sktid"], values["sp"], values["spr"]) == ("oid", "tid", "r", "https")
    assert values["skt"] < datetime.now(UTC).isoformat() < values["se"] <= values["ske"]
    assert signed.url.startswith(f"https://127.0.0.1:{delegating.server_port}/lakeaccount/lake/a%20b.csv?")


async def test_an_identity_that_gets_no_key_is_told_the_role_it_lacks(delegating: DelegatingService) -> None:
    delegating.is_refusing = True
    async with Storage("wasb_identity") as storage:
        with pytest.raises(AccessDeniedError, match='AuthorizationPermissionMismatch.*"Storage Blob Delegator"'):
            await storage.presign("az://lake/a.csv")


async def test_what_holds_nothing_to_sign_with_says_what_to_name_instead(fronts: Fronts, connect: Connect) -> None:
    s3 = {"endpoint_url": fronts.emulators["s3"], "region_name": "us-east-1"}
    unsigned = {"config_kwargs": {"signature_version": "unsigned"}}
    host = f"{fronts.emulators['az']}/devstoreaccount1"
    connect("aws_nobody", conn_type="aws", extra=s3 | unsigned)
    connect("aws_empty", conn_type="aws", extra=s3)
    connect("wasb_sas", conn_type="wasb", login="devstoreaccount1", host=host, extra={"sas_token": "sig=a-secret"})
    for url, conn_id, message in (
        ("s3://shop/a.csv", "aws_nobody", '"aws_nobody" is anonymous and cannot sign an address for s3://shop/a.csv'),
        ("s3://shop/a.csv", "aws_empty", '"aws_empty" cannot sign an address for s3://shop/a.csv: NoCredentialsError'),
        ("az://lake/a.csv", "wasb_sas", '"wasb_sas" has a SAS token and cannot sign an address for az://lake/a.csv'),
        ("gs://lake/a.csv", "", '"google_cloud_default" stands for no service account and cannot sign'),
    ):
        async with Storage(conn_id) as storage:
            with pytest.raises(ConnectionConfigError) as caught:
                await storage.presign(url)
        assert message in str(caught.value)
        assert "--conn" in str(caught.value) or "check its keys" in str(caught.value)
        assert "a-secret" not in str(caught.value)


async def test_by_google_s_own_key_an_address_is_good_for_twelve_hours(
    google_key: rsa.RSAPrivateKey, connect: Connect
) -> None:
    extra = google_connection(google_key)["extra"] | {"impersonation_chain": "other@skyferry.iam.gserviceaccount.com"}
    connect("gcp_other", conn_type="google_cloud_platform", extra=extra)
    async with Storage("gcp_other") as storage:
        with pytest.raises(RequestError, match='"gcp_other" has no private key'):
            await storage.presign("gs://lake/a.csv", PresignOptions(lifetime=timedelta(hours=13)))
        with pytest.raises(ConnectionLostError, match='"gcp_other": no answer from Google about a signature for gs://'):
            await storage.presign("gs://lake/a.csv")


# --- Mistakes, and what is told where -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["file:///tmp/a.csv"], "only a store answers signed addresses"),
        (["s3://shop/"], "s3://shop/ names no object"),
        (["s3://shop/orders/"], "s3://shop/orders/ names no object"),
        (["s3://shop/*.csv"], "is a glob, and an address is for one object"),
        (["s3://shop/", "--key", "a/../b"], "HTTP clients would ask for another object"),
        (["s3://shop/a.csv", "--expires", "8d"], "cannot be good for 691,200 seconds; expected one second to 7 days"),
        (["s3://shop/a.csv", "--expires", "soon"], '"soon" is no length of time'),
        (["s3://shop/a.csv", "--method", "delete"], '"delete" is not known; expected get, put, post'),
        (["s3://shop/a.csv", "--max-size-bytes", "5"], "the method get takes no limit of size"),
        (["s3://shop/a.csv", "--method", "put", "--starts-with"], "the method put takes no limit of size"),
        (["s3://shop/a.csv", "--content-type", "text/csv"], "the method get takes no content type"),
        (["s3://shop/a.csv", "--method", "put", "--content-type", "a\r\nb: c"], "a content type is printable ASCII"),
        (["az://lake/a.csv", "--method", "post"], "forms are for S3 only; use the method put"),
        (["gs://lake/a.csv", "--method", "post"], "forms are for S3 only; use the method put"),
        (["s3://shop/", "--method", "post", "--key", "a${filename}"], "which S3 replaces in forms"),
        (["az://lake/", "--key", "a\\b"], "Azure turns into"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], message: str, fronts: Fronts, transfer: Transfer) -> None:
    done = transfer("presign", *arguments)
    assert (done.returncode, done.content) == (2, b"")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_object_s_name_that_looks_like_a_glob_is_given_as_a_key(new_bucket: Any, transfer: Transfer) -> None:
    bucket = new_bucket("az")
    bucket.put("a/[x]*.csv", b"x")
    assert send("GET", transfer("presign", f"{bucket.url}a/", "--key", "[x]*.csv").stdout.strip()) == (200, b"x")


def test_no_log_and_no_repr_holds_what_signs(
    new_bucket: Any,
    google_key: rsa.RSAPrivateKey,
    connect: Connect,
    transfer: Transfer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from botocore.auth import AUTH_TYPE_MAPS, S3SigV4QueryAuth

    # awscrt, where it is installed, signs in silence; botocore's own signer tells every step.
    monkeypatch.setitem(AUTH_TYPE_MAPS, "s3v4-query", S3SigV4QueryAuth)
    connect("gcp_key", **google_connection(google_key))
    places = (
        (new_bucket("s3").url, "X-Amz-Signature", ""),
        (new_bucket("az").url, "sig", ""),
        ("gs://shop/", "X-Goog-Signature", "gcp_key"),
    )
    for url, _, conn_id in places:  # what is imported sets up its logs
        assert transfer("presign", f"{url}a.csv", "--conn", conn_id).returncode == 0
    for name in ("botocore", "google", "azure", "aiobotocore"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [caplog.handler])
        monkeypatch.setattr(logger, "disabled", False)
        caplog.set_level(logging.DEBUG, logger=name)
    signatures = []
    for url, name, conn_id in places:
        signed = transfer("presign", f"{url}a.csv", "--conn", conn_id, "--json").json
        signatures.append(query(signed["url"])[name])
    form = transfer("presign", f"{places[0][0]}a.csv", "--method", "post").json
    signatures.append(form["fields"]["x-amz-signature"])
    put = transfer("presign", f"{places[0][0]}a.csv", "--method", "put").stdout
    signatures.append(query(put.strip())["X-Amz-Signature"])
    assert any(record.levelno == logging.DEBUG for record in caplog.records)
    for signature in signatures:
        assert len(signature) > 30
        assert signature not in caplog.text
        assert urllib.parse.quote(signature, safe="") not in caplog.text


def test_the_address_is_not_in_the_repr_of_the_answer() -> None:
    fields = {"policy": "a-secret"}
    answer = Presigned(method="POST", url="https://a-secret", fields=fields, expires_at=datetime.now(UTC))
    assert "a-secret" not in repr(answer)
    assert "a-secret" not in str([answer])


def test_a_process_of_its_own_writes_the_address_and_nothing_else(new_bucket: Any) -> None:
    """As a person has it: the signer is found by the installed package's metadata, and Airflow is imported for it."""
    bucket = new_bucket("az")
    bucket.put("a.csv", b"abc")
    done = subprocess.run(
        [sys.executable, "-c", "from skyferry.cli import main; main()", "presign", f"{bucket.url}a.csv"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert send("GET", done.stdout.removesuffix("\n")) == (200, b"abc")


def test_the_example_of_the_guide_prints_what_must_be_sent(fronts: Fronts, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("python", "presign")
    quieten_airflow()
    exec(compile(example.text, str(example), "exec"), {})
    assert capsys.readouterr().out == "PUT {'Content-Type': 'text/csv'}\n"
