"""The doctor on Azure, Google Cloud Storage and local disks: what it predicts is what then fails."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.storage.blob import BlobServiceClient, generate_container_sas
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_bridge.flow_doctor import PUT, REMOVE, send_flow_probe
from airflow_bridge.route_doctor import examine_route
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.transfer_connections import StoreUse
from skyferry import attempts
from skyferry.doctor.findings import Diagnosis, Finding
from skyferry.doctor.flow_report import ProbeSent
from skyferry.errors import TransferError
from skyferry.provisioning.access_rights import rights_of
from skyferry.provisioning.route_needs import route_needs
from skyferry.report import Report
from skyferry.routes import Route
from skyferry.urls import parse_location
from stack.environment import AZURITE_ACCOUNT, AZURITE_KEY
from stack.running import Endpoint
from tests.airflow_home import azurite_connection_string
from tests.faults.gcs_front import cloud_storage
from tests.faults.proxy import FaultProxy, Forward, Request, Response, fault_proxy_in_thread
from tests.plugins.whole_transfer import transfer_whole

_NUMBERS = itertools.count()
TOKEN = "0123456789abcdef" * 2


@dataclass
class Site:
    """A route between two places, and the folder of its configuration."""

    folder: Path
    route: dict[str, Any]

    def examine(self) -> Diagnosis:
        self._write_route()
        return examine_route("orders", lambda coroutine: StageRunner().run(coroutine))

    def send(self, action: str) -> ProbeSent:
        self._write_route()
        return send_flow_probe("orders", TOKEN, action=action, run=lambda coroutine: StageRunner().run(coroutine))

    def _write_route(self) -> None:
        (self.folder / "routes").mkdir(exist_ok=True)
        (self.folder / "routes" / "orders.yaml").write_text(json.dumps(self.route))

    def transfer(self) -> Report:
        state = StoreUse(what="state", location=parse_location(f"file://{self.folder}/state"), conn_id="")
        report = transfer_whole(Route.model_validate(self.route), state, f"run-{next(_NUMBERS)}")
        report.raise_if_incomplete()
        return report

    def rights(self, conn_id: str) -> dict[str, Any]:
        needs = route_needs(
            Route.model_validate(self.route), state=parse_location(f"file://{self.folder}/state"), state_conn_id=""
        )
        return next(one.document for one in rights_of(needs) if one.conn_id == conn_id)


def wrong(found: Diagnosis) -> list[Finding]:
    return [one for one in found.findings if one.is_wrong]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(attempts, "_BACK_OFF", lambda state: 0.0)
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path))
    monkeypatch.setenv("SKYFERRY_STATE_URL", f"file://{tmp_path}/state")
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(tmp_path))
    return tmp_path


@dataclass
class AzureSite(Site):
    """Two containers, each with a connection whose SAS has the letters a test gives it."""

    address: str
    blobs: BlobServiceClient
    monkeypatch: pytest.MonkeyPatch

    def allow(self, conn_id: str, container: str, letters: str) -> None:
        sas = generate_container_sas(
            AZURITE_ACCOUNT,
            container,
            account_key=AZURITE_KEY,
            permission=letters,
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        connection = {
            "conn_type": "wasb",
            "login": AZURITE_ACCOUNT,
            "host": f"{self.address}/{AZURITE_ACCOUNT}",
            "extra": {"sas_token": sas},
        }
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    def names(self) -> list[str]:
        return [
            f"{container}/{one.name}"
            for container in (self.source, self.destination)
            for one in self.blobs.get_container_client(container).list_blobs(include=["snapshots", "uncommittedblobs"])
        ]

    @property
    def source(self) -> str:
        return urlsplit(self.route["source"]["url"]).netloc

    @property
    def destination(self) -> str:
        return urlsplit(self.route["destination"]["url"]).netloc

    def put(self, body: bytes) -> None:
        client = self.blobs.get_blob_client(self.source, "in/1.csv")
        client.upload_blob(body, overwrite=True, tags={"owner": "shop"})


@pytest.fixture
def azure(folder: Path, azurite: Endpoint, monkeypatch: pytest.MonkeyPatch) -> AzureSite:
    number = f"{os.getpid()}-{next(_NUMBERS)}"
    blobs = BlobServiceClient.from_connection_string(azurite_connection_string(azurite.url))
    route = {
        "id": "orders",
        "source": {"url": f"az://landing-{number}/in/", "conn_id": "wasb_landing"},
        "destination": {"url": f"az://lake-{number}/raw/", "conn_id": "wasb_lake"},
        "copy": {"keep_source": False},
    }
    site = AzureSite(folder, route, azurite.url, blobs, monkeypatch)
    for container in (site.source, site.destination):
        blobs.create_container(container)
    site.allow("wasb_landing", site.source, site.rights("wasb_landing")["or_sas"][0]["permissions"] + "t")
    site.allow("wasb_lake", site.destination, site.rights("wasb_lake")["or_sas"][0]["permissions"])
    site.put(b"1")
    return site


def test_with_the_letters_that_the_policy_shows_all_is_well_and_nothing_is_left(azure: AzureSite) -> None:
    before = azure.names()
    assert [one.text for one in wrong(azure.examine())] == []
    assert azure.names() == before
    assert azure.transfer().objects_copied == 1


@pytest.mark.parametrize(("letters", "missing"), [("rlcw", "d"), ("rld", "c or w")])
def test_who_may_not_write_or_delete_blobs_at_the_source_sends_no_probe(
    azure: AzureSite, letters: str, missing: str
) -> None:
    azure.allow("wasb_landing", azure.source, letters)
    before = azure.names()
    found = azure.send(PUT)
    assert [(one.where, one.right) for one in found.findings] == [("source", f"the letter {missing}")]
    assert (found.state, azure.names()) == ("failed", before)


def test_what_a_probe_lacks_is_more_than_a_route_that_only_reads_its_source(azure: AzureSite) -> None:
    azure.route["copy"]["keep_source"] = True
    azure.allow("wasb_landing", azure.source, "rlt")
    found = azure.send(PUT).findings
    assert {(one.where, one.then) for one in found} == {("source", "no probe can be sent")}
    assert all("the role Storage Blob Data Contributor on the container" in one.change for one in found)


def test_a_probe_goes_through_a_move_of_blobs_and_its_copy_is_removed(azure: AzureSite) -> None:
    azure.allow("wasb_landing", azure.source, "rlcwdt")
    assert azure.send(PUT).state == "success"
    assert azure.transfer().objects_copied == 2
    gone = azure.send(REMOVE)
    assert gone.removed == (gone.copy,)
    assert azure.names() == [f"{azure.destination}/raw/1.csv"]


AZURE_LETTERS = [
    ("source", "rldt", "l"),
    ("source", "rldt", "r"),
    ("source", "rldt", "d"),
    ("destination", "rlcwdt", "l"),
    ("destination", "rlcwdt", "r"),
    ("destination", "rlcwdt", "cw"),
]


@pytest.mark.parametrize(("where", "letters", "missing"), AZURE_LETTERS)
def test_a_letter_that_is_missing_is_named_and_a_transfer_fails(
    azure: AzureSite, where: str, letters: str, missing: str
) -> None:
    left = "".join(letter for letter in letters if letter not in missing)
    conn_id, container = ("wasb_landing", azure.source) if where == "source" else ("wasb_lake", azure.destination)
    azure.allow(conn_id, container, left)
    before = azure.names()
    found = wrong(azure.examine())
    assert {one.where for one in found} == {where}
    assert {one.right.removeprefix("the letter ") for one in found} <= {missing, " or ".join(missing), *missing}
    assert f'connection "{conn_id}"' in found[0].change
    assert azure.names() == before
    with pytest.raises(TransferError, match="denied|SAS"):
        azure.transfer()


def test_who_may_create_blobs_and_not_replace_them_copies_each_object_once(azure: AzureSite) -> None:
    azure.route["copy"]["keep_source"] = True
    azure.allow("wasb_lake", azure.destination, "rlcdt")
    before = azure.names()
    found = wrong(azure.examine())
    assert [(one.ability, one.right) for one in found] == [("replace", "the letter w")]
    assert azure.names() == before
    assert azure.transfer().objects_copied == 1
    azure.put(b"another")
    with pytest.raises(TransferError, match="denied"):
        azure.transfer()


def test_what_could_not_be_deleted_again_is_not_written(azure: AzureSite) -> None:
    azure.allow("wasb_lake", azure.destination, "rlcwt")
    before = azure.names()
    found = azure.examine()
    assert [one.right for one in wrong(found)] == ["the letter d"]
    states = {one.ability: one.state for one in found.findings if one.where == "destination"}
    assert (states["write"], states["replace"], states["write tags"]) == ("ok", "not checked", "not checked")
    assert azure.names() == before


GOOGLE = {
    ("GET", False): "storage.objects.list",
    ("GET", True): "storage.objects.get",
    ("POST", False): "storage.objects.create",
    ("DELETE", True): "storage.objects.delete",
}


@dataclass
class GoogleFront:
    """IAM in front of the emulator, which knows none: each request takes the permission that its vendor says.

    https://cloud.google.com/storage/docs/access-control/iam-json
    """

    withheld: str = ""

    def __post_init__(self) -> None:
        self._storage = cloud_storage()

    async def respond(self, request: Request, forward: Forward) -> Response:
        path = urlsplit(request.target).path
        needed = {GOOGLE.get((request.method, not path.endswith("/o")), "")}
        replaced = int(parse_qs(urlsplit(request.target).query).get("ifGenerationMatch", ["0"])[0])
        if request.method == "POST" and replaced > 1:  # 1 is asked for where there is nothing
            needed.add("storage.objects.delete")
        if self.withheld in needed:
            body = json.dumps({"error": {"code": 403, "message": "denied", "errors": [{"reason": "forbidden"}]}})
            return Response(403, [("Content-Type", "application/json")], body.encode())
        return await self._storage(request, forward)


@dataclass
class GoogleSite(Site):
    """Two buckets behind that front; permissions are withheld from the connection of one."""

    front: GoogleFront
    client: Any

    def names(self) -> list[str]:
        buckets = (urlsplit(self.route[side]["url"]).netloc for side in ("source", "destination"))
        return [f"{bucket}/{one.name}" for bucket in buckets for one in self.client.list_blobs(bucket, versions=True)]

    def put(self, body: bytes) -> None:
        self.client.bucket(urlsplit(self.route["source"]["url"]).netloc).blob("in/1.csv").upload_from_string(body)


@pytest.fixture
def google(folder: Path, fake_gcs: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleSite]:
    number, front = f"{os.getpid()}-{next(_NUMBERS)}", GoogleFront()
    route = {
        "id": "orders",
        "source": {"url": f"gs://landing-{number}/in/", "conn_id": "google_landing"},
        "destination": {"url": f"gs://lake-{number}/raw/", "conn_id": "google_lake"},
    }
    client = storage.Client(
        project="skyferry", credentials=AnonymousCredentials(), client_options={"api_endpoint": fake_gcs.url}
    )
    for side in ("source", "destination"):
        client.create_bucket(urlsplit(route[side]["url"]).netloc)  # type: ignore[index]
    with (
        fault_proxy_in_thread(fake_gcs.url, always=cloud_storage()) as plain,
        fault_proxy_in_thread(fake_gcs.url, always=front.respond) as guarded,
    ):
        connect_google(monkeypatch, "google_landing", plain)
        connect_google(monkeypatch, "google_lake", guarded)
        site = GoogleSite(folder, route, front, client)
        site.put(b"1")
        yield site


def connect_google(monkeypatch: pytest.MonkeyPatch, conn_id: str, proxy: FaultProxy) -> None:
    extra = {"is_anonymous": True, "project": "skyferry", "endpoint_url": proxy.url}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def test_google_with_all_permissions_is_well_and_nothing_is_left(google: GoogleSite) -> None:
    before = google.names()
    assert [one.text for one in wrong(google.examine())] == []
    assert google.names() == before
    assert google.transfer().objects_copied == 1


def test_a_probe_is_put_on_google_and_removed_with_its_copy(google: GoogleSite) -> None:
    google.front.withheld = "storage.objects.delete"
    before = google.names()
    refused = google.send(PUT)
    assert [(one.where, one.right) for one in refused.findings] == [("destination", "storage.objects.delete")]
    assert google.names() == before
    google.front.withheld = ""
    sent = google.send(PUT)
    assert google.transfer().objects_copied == 2
    assert google.send(REMOVE).removed == (sent.source, sent.copy)
    assert google.names() == [*before, before[0].replace("landing", "lake").replace("/in/", "/raw/")]


@pytest.mark.parametrize("permission", sorted({*GOOGLE.values()}))
def test_a_permission_that_is_missing_is_named_and_a_transfer_fails(google: GoogleSite, permission: str) -> None:
    assert permission in google.rights("google_lake")["bindings"][0]["or_permissions"]
    if permission == "storage.objects.get":
        google.route["copy"] = {"verify": "readback"}  # other copies are verified by the answer to the write
    if permission == "storage.objects.delete":
        google.transfer()
        google.put(b"another")
    google.front.withheld = permission
    before = google.names()
    found = wrong(google.examine())
    assert {(one.where, one.right) for one in found} == {("destination", permission)}
    assert "roles/storage.objectUser" in found[0].change
    assert google.names() == before
    with pytest.raises(TransferError, match="denied"):
        google.transfer()


def test_folders_are_tried_by_the_user_that_runs_the_workers(folder: Path) -> None:
    for name in ("in", "out", "state"):
        (folder / name).mkdir()
    (folder / "in" / "1.csv").write_bytes(b"1")
    places = {side: {"url": f"file://{folder}/{name}/"} for side, name in (("source", "in"), ("destination", "out"))}
    site = Site(folder, {"id": "orders", **places, "copy": {"keep_source": False}})
    assert wrong(site.examine()) == []
    files = [one for name in ("in", "out", "state") for one in (folder / name).rglob("*") if one.is_file()]
    assert files == [folder / "in" / "1.csv"]


NOBODY = """
import asyncio, concurrent.futures.thread, json, os, sys
from pathlib import Path
from skyferry.doctor.place_probes import probe_place
from skyferry.provisioning.route_needs import PlaceNeed
from skyferry.stores.local import LocalStore
from skyferry.urls import parse_location

async def find_out():
    await asyncio.to_thread(os.getcwd)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    folder = sys.argv[1]
    for what in ("source", "destination"):
        place = PlaceNeed(what=what, location=parse_location(f"file://{folder}"), conn_id="", deletes=True)
        for ability, outcome in (await probe_place(LocalStore(Path(folder)), place)).items():
            print(what, ability, outcome.state, sep=": ")

asyncio.run(find_out())
"""


def test_a_folder_of_somebody_else_may_be_read_and_not_written() -> None:
    """In a process that is nobody's, because root may do everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "1.csv").write_bytes(b"1")
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", NOBODY, folder], check=False, capture_output=True, text=True, timeout=120
        )
        assert not done.returncode, done.stderr
        Path(folder).chmod(0o755)
    assert done.stdout.splitlines() == [
        "source: list: ok",
        "source: read: ok",
        "source: delete: missing",
        "destination: list: ok",
        "destination: read: ok",
        "destination: write: missing",
        "destination: replace: not checked",
        "destination: delete: not checked",
    ]


def test_tags_are_sent_as_a_transfer_sends_them(azure: AzureSite, azurite: Endpoint) -> None:
    """Azurite takes tags that come with a blob without asking for their letter; Azure does not."""

    async def refuse_tags(request: Request, forward: Forward) -> Response:
        if request.method == "PUT" and request.header("x-ms-tags"):
            return Response(403, [("x-ms-error-code", "AuthorizationPermissionMismatch")], b"")
        return await forward(request)

    before = azure.names()
    with fault_proxy_in_thread(azurite.url, always=refuse_tags) as proxy:
        azure.address = proxy.url
        azure.allow("wasb_lake", azure.destination, "rlcwdt")
        found = wrong(azure.examine())
        assert [(one.ability, one.right) for one in found] == [("write tags", "the letter t")]
        assert azure.names() == before
        with pytest.raises(TransferError, match="denied"):
            azure.transfer()
