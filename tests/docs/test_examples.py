"""Every conf, connection, policy, report and YAML file the documentation shows is one that works."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from skyferry.config_folder import read_model
from skyferry.defaults import Defaults
from skyferry.history.airflow_access import find_access
from skyferry.report import Report
from skyferry.request import parameter_names, request_from_conf
from skyferry.routes import find_route, load_route
from tests.docs.pages import PROJECT, Block, blocks, page, pages

KINDS = {
    "bash": {""},
    "json": {"conf", "conf-of-route", "connection", "policy", "report", "transport"},
    "yaml": {"route", "defaults", "workflow", "access"},
    "python": {"dag", "presign", "storage"},
    "text": {"message", "tree"},
}
"""What a fenced block may be; each kind is tested here or beside."""

GENERATED = "docs/reference/"
"""Pages made from the models, whose examples the tests of the models check."""


@pytest.mark.parametrize(
    "block", [b for one in pages() if not one.name.startswith(GENERATED) for b in one.blocks], ids=str
)
def test_a_block_says_what_it_is(block: Block) -> None:
    assert block.kind in KINDS.get(block.language, set()), f"{block} is marked {block.language!r} {block.kind!r}"


@pytest.mark.parametrize("block", blocks("json", "conf"), ids=str)
def test_a_conf_is_a_request(block: Block) -> None:
    request_from_conf(json.loads(block.text))


@pytest.mark.parametrize("block", blocks("json", "conf-of-route"), ids=str)
def test_a_conf_that_names_a_route_is_a_request_with_its_values(block: Block) -> None:
    conf = json.loads(block.text)
    request_from_conf(find_route(conf["id"]).request().to_conf() | conf)


def test_confs_in_code_spans_have_known_names() -> None:
    seen = 0
    for one in pages():
        for span in one.code_spans:
            if re.fullmatch(r'\{"\w+": .*\}', span):
                names = set(json.loads(span))
            elif match := re.fullmatch(r'"(\w+)": (true|false|"\w+")', span):
                names = {match[1]} - {"use_instance_metadata", "sends_checksums"}
            else:
                continue
            seen += 1
            assert names <= {*parameter_names(), "identical"}, f"{one.name}: {span}"
    assert seen


@pytest.mark.parametrize("block", blocks("json", "report"), ids=str)
def test_a_report_has_every_field_and_adds_up(block: Block) -> None:
    report = json.loads(block.text)
    assert list(report) == [field.name for field in dataclasses.fields(Report)]
    Report(**report)
    ends = ("objects_copied", "objects_skipped", "objects_refused", "objects_failed")
    assert report["objects_planned"] == sum(report[name] for name in ends)
    assert sum(report["verified_by"].values()) == report["objects_copied"]


@pytest.mark.parametrize("block", blocks("json", "transport"), ids=str)
def test_a_lineage_transport_is_one(block: Block) -> None:
    from openlineage.client.transport.http import HttpConfig
    from openlineage.client.utils import import_from_string

    from airflow_bridge.detached_lineage import DetachedHttpTransport

    # tests/e2e/test_lineage.py sends through it, also to servers that do not answer.
    settings = json.loads(block.text)
    assert import_from_string(settings.pop("type")) is DetachedHttpTransport
    assert HttpConfig.from_dict(settings).timeout == 10


@pytest.mark.parametrize("block", blocks("json", "policy"), ids=str)
def test_a_policy_allows_single_actions_of_s3(block: Block) -> None:
    policy = json.loads(block.text)
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert all(re.fullmatch(r"s3:[A-Z][A-Za-z]+", action) for action in actions)
        is_of_bucket = actions == ["s3:ListBucket"]
        assert ("/" not in statement["Resource"]) == is_of_bucket


@pytest.mark.parametrize("block", blocks("yaml", "route"), ids=str)
def test_a_route_is_a_route(block: Block, tmp_path: Path) -> None:
    route_id = re.search(r"^id: (\S+)$", block.text, re.MULTILINE)
    assert route_id
    file = tmp_path / f"{route_id[1]}.yaml"
    file.write_text(block.text, encoding="utf-8")
    load_route(file)


@pytest.mark.parametrize("block", blocks("yaml", "defaults"), ids=str)
def test_defaults_are_defaults(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "defaults.yaml"
    file.write_text(block.text, encoding="utf-8")
    defaults, problems = read_model(file, Defaults)
    assert problems == []
    assert defaults is not None


@pytest.mark.parametrize("block", blocks("yaml", "access"), ids=str)
def test_a_file_that_says_where_airflow_is_does(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "airflow.yaml"
    file.write_text(block.text, encoding="utf-8")
    access = find_access({"TRANSFER_AIRFLOW_FILE": str(file)})
    assert access.url.startswith("https://")


@pytest.mark.parametrize("block", blocks("python", "dag"), ids=str)
def test_a_dag_file_is_parsed_and_starts_what_there_is(block: Block, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    file = tmp_path / "documented.py"
    file.write_text(block.text, encoding="utf-8")
    bag = DagBag(str(file))
    assert bag.import_errors == {}
    assert bag.dags
    routes = []
    for dag in bag.dags.values():
        json.dumps(DagSerialization.serialize_dag(dag))
        routes += [task.trigger_dag_id.removeprefix("transfer__") for task in dag.tasks if task.task_id == "transfer"]
        for task in dag.tasks:
            if task.task_id == "consume":
                routes += task.partial_kwargs["route_ids"]
        routes += re.findall(r"Asset\(.transfer__(\w+)\.arrived.\)", block.text)
    assert routes
    for route_id in routes:
        find_route(route_id)


@pytest.mark.parametrize("block", blocks("yaml", "workflow"), ids=str)
def test_a_workflow_runs_what_there_is(block: Block) -> None:
    workflow = yaml.safe_load(block.text)
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    dag_ids = [match[1] for step in steps if (match := re.search(r"dags test transfer__(\w+)", step))]
    assert dag_ids
    for route_id in dag_ids:
        find_route(route_id)


def test_the_state_folder_is_drawn_with_the_names_the_code_writes() -> None:
    drawn = next(block for block in blocks("text", "tree") if block.page == "docs/architecture.md").text
    code = (PROJECT / "include/skyferry/stages.py").read_text(encoding="utf-8")
    for name in re.findall(r"/(manifest|skipped|plan\.json|receipts|receipts/carried|reports)\b", drawn):
        assert re.search(rf"[}}/\"]{re.escape(name)}[/\"]", code), name
    assert len(re.findall(r"^\s+/", drawn, re.MULTILINE)) == 7


# Connections: every documented form is opened by the code that opens it in a run. Nothing is requested of a cloud.


@pytest.mark.parametrize("block", blocks("json", "connection"), ids=str)
def test_a_documented_connection_is_accepted(
    block: Block, connection: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    filled = _fill(json.loads(block.text), tmp_path)
    _open(connection(json.dumps(filled)))


AZURE_CREDENTIALS = {
    "connection_string": "SharedKeyCredentialPolicy",
    "tenant_id": "ClientSecretCredential",
    "shared_access_key": "SharedKeyCredentialPolicy",
    "sas_token": "AzureSasCredential",
    "password": "SharedKeyCredentialPolicy",
    "account_key": "SharedKeyCredentialPolicy",
    "managed_identity_client_id": "DefaultAzureCredential",
}
"""Field of a `wasb` connection to what it makes, in the order in which the guide says that fields are tried."""


def test_the_guide_tries_azure_s_fields_in_the_order_of_the_hook(
    connection: Callable[[str], Any], tmp_path: Path
) -> None:
    guide = page("docs/guide/connections.md").text
    order = re.search(r"takes the first of these that it holds: ([^.]*)\.", guide)
    assert order
    assert re.findall(r"`(\w+)`", order[1]) == list(AZURE_CREDENTIALS)
    values = {"connection_string": "<DefaultEndpointsProtocol=https;AccountName=...;AccountKey=...>"}
    values |= {"tenant_id": "<tenant id>", "shared_access_key": "<account key>", "sas_token": "<SAS token>"}
    values |= {"account_key": "<account key>", "managed_identity_client_id": "<client id>"}
    for field, expected in AZURE_CREDENTIALS.items():
        later = list(AZURE_CREDENTIALS)[list(AZURE_CREDENTIALS).index(field) :]
        extra = {name: values[name] for name in later if name in values}
        login = "<client id>" if field == "tenant_id" else "lakeaccount"
        stated = {
            "conn_type": "wasb",
            "host": "https://lakeaccount.blob.core.windows.net",
            "login": login,
            "extra": extra,
        }
        if "password" in later:
            stated["password"] = "<account key>"
        access = _open(connection(json.dumps(_fill(stated, tmp_path))))
        assert type(access._chosen.credential).__name__ == expected, field


@pytest.mark.parametrize("conn_type", ["wasb", "google_cloud_platform"])
def test_a_connection_that_holds_nothing_is_refused(
    conn_type: str, connection: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from skyferry.errors import ConnectionConfigError

    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(ConnectionConfigError, match="has no credentials"):
        _open(connection(json.dumps({"conn_type": conn_type, "host": "https://lakeaccount.blob.core.windows.net"})))


def _open(found: Any) -> Any:
    match found.conn_type:
        case "aws":
            from airflow_bridge.s3_access import S3Access

            return S3Access(found, max_objects_in_flight=4)
        case "wasb":
            from airflow_bridge.azure_access import AzureAccess

            access = AzureAccess(found, max_objects_in_flight=4)
            assert access.account_name in {"lakeaccount", "devstoreaccount1"}
            return access
        case "google_cloud_platform":
            from airflow_bridge.gcs_access import GcsAccess

            return GcsAccess(found, max_objects_in_flight=4)
    raise AssertionError(f"no store takes a connection of the type {found.conn_type}")


def _fill(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Put something that has the right form where the documentation has `<...>`, and a key file where it names one."""
    account_key = base64.b64encode(b"k" * 64).decode()
    texts = {
        "<account key>": account_key,
        "<SAS token>": "sv=2025-01-05&sr=c&sp=rl&sig=c2ln",
        "<tenant id>": "00000000-0000-0000-0000-000000000001",
        "<client id>": "00000000-0000-0000-0000-000000000002",
        "<JSON text of the key>": json.dumps(_service_account()),
        "<DefaultEndpointsProtocol=https;AccountName=...;AccountKey=...>": (
            f"DefaultEndpointsProtocol=https;AccountName=lakeaccount;AccountKey={account_key}"
        ),
    }
    filled = json.loads(json.dumps(values))
    for place in (filled, filled.get("extra", {})):
        for name, value in place.items():
            if isinstance(value, str) and value.startswith("<"):
                place[name] = texts.get(value, "placeholder")
    if "key_path" in filled.get("extra", {}):
        file = folder / "key.json"
        file.write_text(json.dumps(_service_account()), encoding="utf-8")
        filled["extra"]["key_path"] = str(file)
    return filled


def _service_account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": "my-project",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "client_email": "skyferry@my-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
