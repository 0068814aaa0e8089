"""Receipts in DynamoDB, against moto: written behind the copy, found by key, and never the reason why a run fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_bridge.dynamodb_index import DynamoDbIndex
from airflow_bridge.receipts_access import open_connected_index
from airflow_bridge.stage_failure import StageFailed
from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from operators.consumption_report import ReportConsumptionOperator
from operators.transfer_consume import ConsumeQueueOperator
from operators.transfer_copy import CopyBatchOperator
from operators.transfer_plan import PlanTransferOperator
from operators.transfer_provision import ProvisionRouteOperator
from operators.transfer_report import ReportTransferOperator
from skyferry.defaults import load_defaults
from skyferry.errors import AccessDeniedError, RequestError
from skyferry.receipts_index.items import IndexPlace, item_of
from skyferry.receipts_index.reading import find_receipts, open_index
from skyferry.receipts_index.upkeep import IndexTarget, keep_index
from skyferry.records import Outcome, Receipt
from skyferry.routes import find_route
from skyferry.state import Run
from stack.running import Endpoint
from tests.airflow_home import connection_variables
from tests.declared_entry_points import declared_path
from tests.faults.proxy import Fault, FaultProxy, Forward, Request, Response, answer, fault_proxy_in_thread
from tests.killing import NEVER, killed_at

ACCOUNT = "123456789012"
_NUMBERS = itertools.count()

ROUTE = """
id: {id}
source: {{url: "{source}"}}
destination: {{url: "file://{root}/{out}/", create: true}}
limits: {{batch_objects: {batch_objects}}}
receipts_index: {{dynamodb: {table}}}
{more}
"""


Command = Callable[..., subprocess.CompletedProcess[str]]


class TaskInstance:
    """As much of a task instance as the operators ask for; one for the whole run."""

    def __init__(self) -> None:
        self.try_number = 1
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        return self.xcoms.get(key)


@dataclass
class Site:
    """A route between two folders whose receipts go to a table of moto, through a proxy."""

    proxy: FaultProxy
    endpoint: str
    root: Path
    table: str = field(default_factory=lambda: f"receipts-{os.getpid()}-{next(_NUMBERS)}")
    ti: TaskInstance = field(default_factory=TaskInstance)
    run_id: str = "manual__1"

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", **keys)

    def write(self, route: str = "orders", *, source: str = "", more: str = "", **other: Any) -> None:
        values = {"source": source or f"file://{self.root}/in/", "out": "out", "batch_objects": 2, **other}
        text = ROUTE.format(id=route, root=self.root, table=self.table, more=more, **values)
        (self.root / "config" / "routes").mkdir(parents=True, exist_ok=True)
        (self.root / "config" / "routes" / f"{route}.yaml").write_text(text)

    def put(self, *names: str) -> None:
        for name in names:
            path = self.root / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)

    def settle(self, action: str = "provision", route: str = "orders") -> dict[str, dict[str, Any]]:
        params = {"id": route, "action": action, "dry_run": False}
        found = ProvisionRouteOperator(task_id="provision").execute({"params": params, "ti": TaskInstance()})
        return {step["thing"]: step for step in found["steps"]}

    @property
    def context(self) -> Any:
        now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
        run = SimpleNamespace(conf={}, dag_id="transfer__orders", run_id=self.run_id, start_date=now, run_after=now)
        return {"dag_run": run, "ti": self.ti}

    def plan(self) -> list[dict[str, Any]]:
        return PlanTransferOperator(task_id="plan", route_id="orders").execute(self.context)

    def copy(self, batch: dict[str, Any]) -> None:
        CopyBatchOperator(task_id="copy", route_id="orders", batch=batch).execute(self.context)

    def report(self) -> dict[str, Any]:
        operator = ReportTransferOperator(task_id="report", route_id="orders")
        return operator.execute(self.context | {"task": operator})

    def transfer(self, run_id: str = "manual__1") -> dict[str, Any]:
        self.run_id, self.ti = run_id, TaskInstance()
        for batch in self.plan():
            self.copy(batch)
        return self.report()

    def found(self, prefix: str = "", route: str = "orders", **more: Any) -> list[tuple[str, str, str]]:
        """Run, key and outcome of what the index has."""
        one = find_route(route)
        index = open_index(one, open_connected_index)
        receipts = find_receipts(index, one, key_begins_with=prefix, **more)
        return [(each.run_id, each.receipt.key, each.receipt.outcome.value) for each in receipts]


@pytest.fixture
def site(moto: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with fault_proxy_in_thread(moto.url) as proxy:
        variables = connection_variables(moto=proxy.url, azurite="http://127.0.0.1:1", gcs="http://127.0.0.1:1")
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", variables["AIRFLOW_CONN_AWS_DEFAULT"])
        monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path / "config"))
        monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(tmp_path))
        monkeypatch.setenv("SKYFERRY_STATE_URL", f"file://{tmp_path}/state")
        site = Site(proxy, moto.url, tmp_path)
        site.write()
        site.put("a", "b", "dir/c")
        yield site


def is_write(request: Request) -> bool:
    return request.header("X-Amz-Target").endswith(".BatchWriteItem")


def hand_back(*, all_but: int) -> Fault:
    """Take only so many items of a batch, and hand back the others, as DynamoDB does when it has too much to do."""

    async def fault(request: Request, forward: Forward) -> Response:
        tables = json.loads(request.body)["RequestItems"]
        taken = {name: items[:all_but] for name, items in tables.items()}
        left = {name: items[all_but:] for name, items in tables.items() if items[all_but:]}
        if all_but:
            body = json.dumps({"RequestItems": taken}).encode()
            headers = tuple(pair for pair in request.headers if pair[0].lower() != "content-length")
            await forward(Request(request.method, request.target, headers, body))
        headers = (("Content-Type", "application/x-amz-json-1.0"),)
        return Response(200, headers, json.dumps({"UnprocessedItems": left}).encode())

    return fault


def test_provisioning_makes_the_table_and_removes_only_an_empty_one_of_its_own(site: Site) -> None:
    thing = f"DynamoDB table {site.table}"
    assert site.settle()[thing]["doing"] == "create"
    dynamodb = site.client("dynamodb")
    table = dynamodb.describe_table(TableName=site.table)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    tags = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    assert tags == [{"Key": "skyferry:route", "Value": "orders"}]
    backups = dynamodb.describe_continuous_backups(TableName=site.table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert site.settle()[thing]["doing"] == "keep"
    site.write("refunds")
    assert site.settle("deprovision")[thing]["why"] == "used by refunds too"
    assert site.settle("deprovision", "refunds")[thing]["why"] == "it was not created for this route"
    (site.root / "config" / "routes" / "refunds.yaml").unlink()
    site.transfer()
    assert site.settle("deprovision")[thing]["why"] == "it holds receipts; no receipt is ever removed"
    for item in dynamodb.scan(TableName=site.table)["Items"]:
        keys = {name: item[name] for name in ("route_destination", "key_time")}
        dynamodb.delete_item(TableName=site.table, Key=keys)
    assert site.settle("deprovision")[thing]["doing"] == "remove"
    assert site.table not in dynamodb.list_tables()["TableNames"]
    assert site.settle("deprovision")[thing]["doing"] == "keep"


def test_a_table_without_backups_is_told_and_one_for_something_else_is_refused(site: Site) -> None:
    unknown = answer(501, body=b'{"__type": "NotImplemented"}')
    site.proxy.inject(unknown, matches=lambda request: "ContinuousBackups" in request.header("X-Amz-Target"))
    thing = f"DynamoDB table {site.table}"
    assert "point-in-time recovery" in site.settle()[thing]["why"]
    assert site.settle()[thing]["doing"] == "keep"
    site.table += "-theirs"
    site.write()
    site.client("dynamodb").create_table(
        TableName=site.table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(StageFailed, match="has the keys id; expected route_destination and key_time"):
        site.settle()


def test_a_table_too_young_for_backups_gets_them_when_it_can(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_bridge.provision_tables._WAIT_SECONDS", 0.0)
    body = b'{"__type": "com.amazonaws.dynamodb.v20120810#ContinuousBackupsUnavailableException", "message": "not yet"}'
    is_update = "UpdateContinuousBackups"
    site.proxy.inject(answer(400, body=body), matches=lambda one: is_update in one.header("X-Amz-Target"), times=2)
    assert site.settle()[f"DynamoDB table {site.table}"]["doing"] == "create"
    backups = site.client("dynamodb").describe_continuous_backups(TableName=site.table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_table_is_known_by_its_mark_behind_however_many_tags_of_others(site: Site) -> None:
    site.settle()
    dynamodb, thing = site.client("dynamodb"), f"DynamoDB table {site.table}"
    arn = dynamodb.describe_table(TableName=site.table)["Table"]["TableArn"]
    dynamodb.untag_resource(ResourceArn=arn, TagKeys=["skyferry:route"])
    assert site.settle("deprovision")[thing]["why"] == "it was not created for this route"
    others = [{"Key": f"theirs-{number:02d}", "Value": "1"} for number in range(30)]
    dynamodb.tag_resource(ResourceArn=arn, Tags=[*others, {"Key": "skyferry:route", "Value": "orders"}])
    assert site.settle("deprovision")[thing]["doing"] == "remove"


def test_a_table_that_is_being_deleted_is_neither_kept_nor_deleted_again(site: Site) -> None:
    site.settle()

    async def going(request: Request, forward: Forward) -> Response:
        found = await forward(request)
        return Response(found.status, (), found.body.replace(b'"ACTIVE"', b'"DELETING"'))

    site.proxy.inject(going, matches=lambda request: request.header("X-Amz-Target").endswith(".DescribeTable"))
    with pytest.raises(StageFailed, match="is being deleted; run it again in a minute"):
        site.settle()
    assert site.settle("deprovision")[f"DynamoDB table {site.table}"]["why"] == "it is being deleted"


def test_each_receipt_of_each_run_is_found_by_its_key(site: Site) -> None:
    site.settle()
    told = site.transfer()
    assert (told["state"], told["objects_copied"], told["receipts_not_indexed"]) == ("success", 3, 0)
    assert site.found() == [("manual__1", key, "copied") for key in ("a", "b", "dir/c")]
    (site.root / "in" / "a").write_text("changed")
    site.transfer("manual__2")
    assert site.found("a") == [("manual__1", "a", "copied"), ("manual__2", "a", "copied")]
    assert site.found(run_id="manual__2") == [("manual__2", "a", "copied")]
    assert site.found("dir/") == [("manual__1", "dir/c", "copied")]
    assert site.found(since="2999-01-01T00:00:00.000+00:00") == []
    assert len(site.found(since="2026-01-01T00:00:00.000+00:00")) == 4
    site.proxy.clear()
    assert len(site.found()) == 4
    assert not any(request.header("X-Amz-Target").endswith(".Scan") for request in site.proxy.requests)


def test_a_scan_finds_the_destinations_a_route_had_and_no_other_route(site: Site) -> None:
    site.settle()
    site.transfer()
    site.write("refunds")
    assert site.found(route="refunds", scan=True) == []
    site.write(out="elsewhere")
    assert site.found() == []
    assert [key for _, key, _ in site.found("a", scan=True)] == ["a"]
    assert len(site.found(scan=True)) == 3


def test_items_that_are_handed_back_are_written_again(site: Site) -> None:
    site.settle()
    site.put(*(f"many/{number:03d}" for number in range(60)))
    site.write(more="data: many/", batch_objects=60)
    site.proxy.inject(hand_back(all_but=10), matches=is_write, times=5)
    told = site.transfer()
    assert (told["state"], told["receipts_not_indexed"], told["problems"]) == ("success", 0, [])
    assert len(site.found("many/")) == 60
    sizes = [
        len(json.loads(request.body)["RequestItems"][site.table])
        for request in site.proxy.requests
        if is_write(request)
    ]
    assert max(sizes) == 25
    assert len(sizes) > 3, "some were sent again"


def test_a_throttled_write_is_repeated(site: Site) -> None:
    site.settle()
    body = b'{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow"}'
    site.proxy.inject(answer(400, body=body), matches=is_write, times=1)
    assert site.transfer()["receipts_not_indexed"] == 0
    assert len(site.found()) == 3


@pytest.mark.parametrize("trouble", ["no table", "denied", "handed back for ever", "no connection"])
def test_an_index_that_cannot_be_written_is_a_finding_and_is_made_up_for(
    site: Site, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble != "no table":
        site.settle()
    if trouble == "denied":
        denied = b'{"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}'
        site.proxy.inject(answer(400, body=denied), matches=is_write)
    if trouble == "handed back for ever":
        monkeypatch.setattr("airflow_bridge.dynamodb_index._FIRST_WAIT_SECONDS", 0.0)
        site.proxy.inject(hand_back(all_but=0), matches=is_write)
    if trouble == "no connection":
        connection = os.environ["AIRFLOW_CONN_AWS_DEFAULT"]
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "http"}))
    told = site.transfer()
    assert (told["state"], told["objects_copied"], told["receipts_not_indexed"]) == ("success", 3, 3)
    says = {
        "no table": "ResourceNotFoundException",
        "denied": "it needs dynamodb:BatchWriteItem",
        "handed back for ever": "takes fewer receipts than there are",
        "no connection": "aws_default",
    }[trouble]
    assert told["problems"][0].startswith("3 receipts are not in the index, and are on record: ")
    assert says in told["problems"][0]
    kept = json.loads(next((site.root / "state").rglob("reports/00000.json")).read_text())
    assert kept["receipts_not_indexed"] == 3
    if trouble == "no connection":
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)
    site.proxy.clear()
    site.settle()
    assert site.found() == []
    done = open_connected_index(find_route("orders")).rebuild("manual__1")
    assert (done.written, done.left) == (3, 0)
    assert len(site.found()) == 3


def test_a_report_that_is_made_again_makes_up_for_what_is_missing_and_writes_nothing_twice(site: Site) -> None:
    told = site.transfer()
    assert told["receipts_not_indexed"] == 3
    site.settle()
    assert site.report()["receipts_not_indexed"] == 0
    assert len(site.found()) == 3
    site.proxy.clear()
    assert site.report()["receipts_not_indexed"] == 0
    assert not any(is_write(request) for request in site.proxy.requests)


def test_a_table_that_takes_too_long_is_left_and_the_rest_is_counted(site: Site) -> None:
    site.transfer()
    site.settle()
    route, use = find_route("orders"), state_use(load_defaults())
    assert route.receipts_index is not None
    place = IndexPlace(route="orders", destination=route.request().destination)
    target = IndexTarget(place=place, writer=DynamoDbIndex(route.receipts_index, conn_id="aws_default"))
    done = asyncio.run(
        keep_index(
            [target],
            run=Run(dag_id="transfer__orders", run_id="manual__1", route="orders", started_at=""),
            open_store=PreparedStores((use,), known_connections=(), max_objects_in_flight=2),
            state=use.location,
            state_conn_id="",
            max_seconds=-1.0,
        )
    )
    assert (done.written, done.left) == (0, 3)
    assert "writing them took longer than" in done.text
    assert site.report()["receipts_not_indexed"] == 0
    assert len(site.found()) == 3


def test_the_minute_of_a_task_is_one_for_all_its_indexes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.transfer()
    use, clock, asked = state_use(load_defaults()), SimpleNamespace(now=0.0), []

    class SlowTable:
        def write(self, items: Any) -> None:
            asked.append(len(items))
            clock.now += 61.0

    for module in ("writing", "upkeep"):
        monkeypatch.setattr(f"skyferry.receipts_index.{module}.time", SimpleNamespace(monotonic=lambda: clock.now))
    targets = [
        IndexTarget(place=IndexPlace(route=route, destination="file:///out/"), writer=SlowTable())
        for route in ("orders", "refunds", "returns")
    ]
    done = asyncio.run(
        keep_index(
            targets,
            run=Run(dag_id="transfer__orders", run_id="manual__1", route="orders", started_at=""),
            open_store=PreparedStores((use,), known_connections=(), max_objects_in_flight=2),
            state=use.location,
            state_conn_id="",
        )
    )
    assert asked == [2]
    assert "writing them took longer than 60 seconds" in done.text


@pytest.mark.parametrize("step", ["before write", "after write"])
def test_a_batch_that_is_killed_behind_its_receipts_is_in_the_index_in_the_end(site: Site, step: str) -> None:
    site.settle()
    first, *others = site.plan()
    given = {"batch": first, "request": site.ti.xcoms["request"], "route": "orders", "try_number": 1}
    file = site.root / "batch.json"
    file.write_text(json.dumps(given | {"dag_id": "transfer__orders", "run_id": "manual__1"}))
    assert killed_at("tests.plugins.killable_index", str(file), step=step)
    assert len(site.found()) == (0 if step == "before write" else 2)
    for batch in others:
        site.copy(batch)
    # No second attempt of the batch: Airflow had no try left. Its receipts count all the same.
    told = site.report()
    assert (told["state"], told["objects_copied"], told["receipts_not_indexed"]) == ("success", 3, 0)
    assert [key for _, key, _ in site.found()] == ["a", "b", "dir/c"]
    assert not killed_at("tests.plugins.killable_index", str(file), step=NEVER)
    assert len(site.found()) == 3, "a batch that runs again writes no item twice"


def test_only_runs_of_the_route_are_rebuilt(site: Site) -> None:
    site.settle()
    site.write("refunds")
    site.transfer()
    with pytest.raises(RequestError, match='no finished run "manual__9" of route "orders"'):
        open_connected_index(find_route("orders")).rebuild("manual__9")
    with pytest.raises(RequestError, match='no finished run "manual__1" of route "refunds"'):
        open_connected_index(find_route("refunds")).rebuild("manual__1")


def test_a_route_without_an_index_is_told_what_to_do(site: Site) -> None:
    path = site.root / "config" / "routes" / "orders.yaml"
    path.write_text(path.read_text().replace("receipts_index", "# receipts_index"))
    with pytest.raises(RequestError, match="has no index of receipts; add receipts_index"):
        open_index(find_route("orders"), open_connected_index)


def test_a_scan_that_is_not_allowed_says_what_it_needs(site: Site) -> None:
    site.settle()
    denied = answer(400, body=b'{"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}')
    site.proxy.inject(denied, matches=lambda request: request.header("X-Amz-Target").endswith(".Scan"))
    with pytest.raises(AccessDeniedError, match="it needs dynamodb:Scan"):
        site.found(scan=True)


def test_what_a_queue_tells_of_is_indexed_for_each_of_its_routes(site: Site) -> None:
    s3, sqs = site.client("s3"), site.client("sqs")
    bucket, name = f"{site.table}-shop", f"{site.table}-events"
    s3.create_bucket(Bucket=bucket)
    sqs.create_queue(QueueName=name)
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})
    s3.put_object(Bucket=bucket, Key="x/1.csv", Body=b"1")
    s3.put_object(Bucket=bucket, Key="x/2.csv", Body=b"2")
    queue_url = f"{site.proxy.url}/{ACCOUNT}/{name}"
    detect = f'detect: {{kind: sqs, queue_url: "{queue_url}", max_seconds: 30}}\nschedule: event'
    for route in ("orders", "all"):
        site.write(route, source=f"s3://{bucket}/x/", more=detect, out=route)
    keys = ("route_destination", "key_time")
    site.client("dynamodb").create_table(
        TableName=site.table,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[
            {"AttributeName": "route_destination", "KeyType": "HASH"},
            {"AttributeName": "key_time", "KeyType": "RANGE"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    names = {"route_ids": ["orders", "all"], "queue_url": queue_url}
    context = site.context
    context["dag_run"].dag_id = f"consume__{name}"
    denied = answer(400, body=b'{"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}')
    site.proxy.inject(denied, matches=is_write, times=2)
    ConsumeQueueOperator(task_id="consume", **names).execute(context)
    assert site.found() == site.found(route="all") == []
    reporter = ReportConsumptionOperator(task_id="report", **names)
    told = reporter.execute(context | {"task": reporter})
    assert (told["state"], told["receipts_not_indexed"]) == ("success", 0)
    expected = [("manual__1", "x/1.csv", "copied"), ("manual__1", "x/2.csv", "copied")]
    assert site.found("x/") == site.found("x/", route="all") == expected
    done = open_connected_index(find_route("all")).rebuild("manual__1")
    assert (done.written, done.left) == (2, 0)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`transfer receipts`, with the entry points this project declares whatever was installed before."""
    monkeypatch.setenv("PYTHONPATH", declared_path(tmp_path))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from skyferry.cli import main; main()", "receipts", "--id", "orders"]
        return subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)

    return run


def test_the_command_shows_the_history_of_keys(site: Site, command: Command) -> None:
    site.settle()
    site.put("evil|\x1b[31m%")
    site.transfer()
    shown = command("--key-begins-with", "dir/")
    assert shown.returncode == 0
    rows = [line.split()[2:] for line in shown.stdout.splitlines() if "dir/c" in line]
    assert rows == [["copied", "5", "B", "dir/c", "manual__1"]]
    everything = command("--key-begins-with", "", "--since", "1h")
    assert "evil|\\x1b[31m%" in everything.stdout
    assert "\x1b" not in everything.stdout
    told = json.loads(command("--key-begins-with", "evil", "--json").stdout)
    (one,) = told["receipts"]
    assert (told["route"], one["key"], one["run_id"]) == ("orders", "evil|\x1b[31m%", "manual__1")
    assert one["destination"] == f"file://{site.root}/out/"
    assert one["checksums"]
    assert json.loads(command("--scan", "--json", "--run", "manual__9").stdout)["receipts"] == []
    assert "no receipts were found" in command("--key-begins-with", "nothing").stderr


@pytest.mark.parametrize("as_json", ["False", "True"])
def test_whatever_airflow_logs_and_in_whatever_form_standard_output_is_the_answer_alone(
    site: Site, command: Command, monkeypatch: pytest.MonkeyPatch, as_json: str
) -> None:
    site.settle()
    site.transfer()
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "DEBUG")
    monkeypatch.setenv("AIRFLOW__LOGGING__JSON_LOGS", as_json)
    done = command("--key-begins-with", "a", "--json")
    assert [one["key"] for one in json.loads(done.stdout)["receipts"]] == ["a"]
    assert "botocore" in done.stderr, "at this level clients tell everything they do"


def test_the_command_rebuilds_and_says_how_far_it_came(site: Site, command: Command) -> None:
    site.transfer()
    failed = command("--rebuild", "manual__1")
    assert failed.returncode == 1
    assert "3 receipts are not in the index, and are on record: writing receipts" in failed.stderr
    site.settle()
    done = command("--rebuild", "manual__1", "--json")
    assert (done.returncode, json.loads(done.stdout)["written"]) == (0, 3)


def test_the_command_reads_the_whole_table_only_when_told(site: Site, command: Command) -> None:
    refused = command()
    assert refused.returncode == 2
    assert "--scan" in refused.stderr
    assert command("--rebuild", "manual__1", "--scan").returncode == 2
    assert site.proxy.requests == []


KEYS = st.text(st.sampled_from(list("ab/|%é\n\0\udc80")), max_size=8)
LONG = [("a" * 1023) + end for end in "12"] + ["é" * 512, "%" * 1024, "", "a"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(keys=LONG, prefix="a")
@example(keys=LONG, prefix="a" * 950)
@example(keys=LONG, prefix="a" * 1023 + "1")
@example(keys=LONG, prefix="%" * 400)
@given(keys=st.lists(KEYS, max_size=40, unique=True), prefix=KEYS)
def test_what_begins_so_is_what_a_plain_filter_finds(site: Site, keys: list[str], prefix: str) -> None:
    if not site.proxy.count("POST"):
        site.settle()
    run = Run(dag_id="transfer__orders", run_id=f"manual__{next(_NUMBERS)}", route="orders", started_at="")
    one = find_route("orders")
    place = IndexPlace(route="orders", destination=one.request().destination)
    receipts = [
        Receipt(
            key=key,
            destination_key=key,
            outcome=Outcome.COPIED,
            reason="new",
            size_bytes=1,
            source_etag="e",
            finished_at=datetime(2026, 5, 4, tzinfo=UTC).isoformat(timespec="milliseconds"),
        )
        for key in keys
    ]
    assert one.receipts_index is not None
    index = DynamoDbIndex(one.receipts_index, conn_id="aws_default")
    index.write([item_of(receipt, place=place, run=run) for receipt in receipts])
    found = [each.receipt for each in find_receipts(index, one, key_begins_with=prefix, run_id=run.run_id)]  # type: ignore[arg-type]
    expected = [receipt for receipt in receipts if receipt.key.startswith(prefix)]
    assert sorted(found, key=lambda each: each.key) == sorted(expected, key=lambda each: each.key)


def test_the_corpus_of_hostile_keys(site: Site, corpora: Path) -> None:
    site.settle()
    rows = json.loads((corpora / "object-keys" / "keys.json").read_text())["keys"]
    keys = {row["key"] for row in rows if row["key"] is not None}
    one = find_route("orders")
    place = IndexPlace(route="orders", destination=one.request().destination)
    run = Run(dag_id="transfer__orders", run_id="manual__1", route="orders", started_at="")
    assert one.receipts_index is not None
    index = DynamoDbIndex(one.receipts_index, conn_id="aws_default")
    values = {"outcome": Outcome.COPIED, "reason": "new", "size_bytes": 1, "source_etag": "e", "finished_at": "2026"}
    index.write([item_of(Receipt(key=key, destination_key=key, **values), place=place, run=run) for key in keys])  # type: ignore[arg-type]
    assert {key for _, key, _ in site.found()} == keys
    for key in sorted(keys)[:: len(keys) // 20]:
        assert {found for _, found, _ in site.found(key)} == {other for other in keys if other.startswith(key)}
