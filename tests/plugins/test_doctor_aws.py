"""The doctor against moto with IAM enforced: what it predicts is what then fails, and it leaves nothing behind."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_bridge.flow_doctor import PUT, REMOVE, send_flow_probe
from airflow_bridge.route_doctor import examine_route
from airflow_bridge.stage_failure import StageFailed
from airflow_bridge.stage_runner import StageRunner
from operators.transfer_doctor import EXAMINE, ExamineRouteOperator
from skyferry import attempts
from skyferry.doctor.findings import Diagnosis, Finding
from skyferry.doctor.flow_report import ProbeSent
from skyferry.errors import TransferError
from skyferry.keys import PROBE_PREFIX
from skyferry.receipts_index.items import HASH_KEY, RANGE_KEY
from skyferry.routes import Route
from stack.components import component
from stack.running import running
from tests.faults.proxy import Fault, Forward, Request, Response, drop_reply, fault_proxy_in_thread
from tests.plugins.guarded_aws import IDLE, ROUTE, STATE, Guarded, furnished, move, needed, policy_of

QUEUE = "orders"
IDLE_HERE = ("s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObjectTagging")
"""Actions that moto does not ask for, or asks for in buckets with versions only."""

CALLED_OTHERWISE = {
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
}
"""Actions that moto knows by the name of the request."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with running(component("moto"), tmp_path_factory.mktemp("guarded")) as moto:
        yield furnished(moto)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: Guarded) -> Path:
    """A configuration with the route, and three objects at its source."""
    monkeypatch.setattr(attempts, "_BACK_OFF", lambda state: 0.0)
    extra = {"endpoint_url": guarded.endpoint, "region_name": "us-east-1"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps({"conn_type": "aws", **guarded.keys, "extra": extra}))
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path))
    (tmp_path / "routes").mkdir()
    (tmp_path / "defaults.yaml").write_text(f'state_url: "{STATE}"\nstate_conn_id: aws_shop\n')
    write_route(tmp_path, ROUTE)
    s3 = guarded.client("s3")
    for bucket in ("shop", "lake", "platform-state"):
        for one in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=one["Key"])
    s3.put_object(Bucket="shop", Key="orders/1.csv", Body=b"12", Tagging="a=b")
    return tmp_path


def write_route(folder: Path, route: dict[str, Any]) -> None:
    (folder / "routes" / "orders.yaml").write_text(json.dumps(route))


def examine(guarded: Guarded, policy: dict[str, Any]) -> Diagnosis:
    guarded.allow(policy)
    guarded.enforce(on=True)
    try:
        return examine_freely()
    finally:
        guarded.enforce(on=False)


def examine_freely() -> Diagnosis:
    return examine_route("orders", lambda coroutine: StageRunner().run(coroutine))


def everything(guarded: Guarded) -> dict[str, Any]:
    """All that the three buckets hold, unfinished uploads included."""
    s3 = guarded.client("s3")
    return {
        bucket: (
            [(one["Key"], one["ETag"]) for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])],
            s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []),
        )
        for bucket in ("shop", "lake", "platform-state")
    }


def full_policy() -> dict[str, Any]:
    return policy_of(Route.model_validate(ROUTE))


def without(sid: str, action: str) -> dict[str, Any]:
    policy = full_policy()
    for statement in policy["Statement"]:
        if statement["Sid"] == sid:
            statement["Action"].remove(action)
    return policy


def wrong(found: Diagnosis) -> list[Finding]:
    return [one for one in found.findings if one.is_wrong]


def test_with_exactly_the_policy_all_is_well_and_nothing_is_left(guarded: Guarded) -> None:
    before = everything(guarded)
    found = examine(guarded, full_policy())
    assert [one.text + one.why for one in wrong(found)] == []
    unknown = {(one.where, one.right) for one in found.findings if one.state != "ok"}
    assert {right for _, right in unknown} == {"s3:GetObjectVersion", "s3:GetObjectVersionTagging"}
    assert everything(guarded) == before


def test_it_tries_every_right_of_the_policy_on_objects_and_no_other(guarded: Guarded) -> None:
    found = examine(guarded, full_policy())
    tried = {(one.where.title(), one.right) for one in found.findings}
    policy = policy_of(Route.model_validate(ROUTE))
    allowed = {
        (statement["Sid"].removeprefix("Objects").removeprefix("List"), action)
        for statement in policy["Statement"]
        for action in statement["Action"]
    }
    assert tried == {pair for pair in allowed if pair[1] != "s3:HeadBucket"}


@pytest.mark.parametrize(("sid", "action"), needed())
def test_what_it_predicts_is_what_then_fails_and_the_statement_it_shows_helps(
    guarded: Guarded, sid: str, action: str
) -> None:
    policy = without(sid, action)
    before = everything(guarded)
    found = examine(guarded, policy)
    assert everything(guarded) == before
    first = wrong(found)[0]
    assert {one.right for one in wrong(found)} == {action}
    assert first.where == sid.removeprefix("Objects").removeprefix("List").lower()
    assert first.then, first
    with pytest.raises(TransferError, match="denied"):
        move(guarded, policy, f"without-{sid}-{action}").raise_if_incomplete()
    policy["Statement"].append({"Sid": "Added", **(first.statement or {})})
    assert examine(guarded, policy).state == "success"
    move(guarded, policy, f"with-{sid}-{action}").raise_if_incomplete()


@pytest.mark.parametrize(
    ("sid", "action"),
    [
        (statement["Sid"], action)
        for statement in full_policy()["Statement"]
        for action in statement["Action"]
        if action in IDLE and action not in IDLE_HERE and (statement["Sid"], action) not in needed()
    ],
)
def test_it_also_finds_what_a_small_move_does_not_need(guarded: Guarded, sid: str, action: str) -> None:
    before = everything(guarded)
    found = examine(guarded, without(sid, action))
    assert {one.right for one in wrong(found)} == {action}
    assert everything(guarded) == before, "it may write only what it may delete"


def test_rights_to_read_versions_are_tried_where_there_are_some(guarded: Guarded) -> None:
    s3 = guarded.client("s3")
    s3.put_bucket_versioning(Bucket="shop", VersioningConfiguration={"Status": "Enabled"})
    try:
        s3.put_object(Bucket="shop", Key="orders/1.csv", Body=b"12", Tagging="a=b")
        assert wrong(examine(guarded, full_policy())) == []
        found = examine(guarded, without("ObjectsSource", "s3:GetObjectVersion"))
        # moto asks for the same right where the tags of a version are read.
        assert wrong(found)[0].right == "s3:GetObjectVersion"
        with pytest.raises(TransferError, match="denied"):
            move(guarded, without("ObjectsSource", "s3:GetObjectVersion"), "no-version").raise_if_incomplete()
    finally:
        s3.put_bucket_versioning(Bucket="shop", VersioningConfiguration={"Status": "Suspended"})


def test_another_prefix_is_told_from_the_route_s(guarded: Guarded) -> None:
    elsewhere = Route.model_validate({**ROUTE, "destination": {"url": "s3://lake/other/", "conn_id": "aws_shop"}})
    found = wrong(examine(guarded, policy_of(elsewhere)))
    assert {one.where for one in found} == {"destination"}
    assert all((one.statement or {})["Resource"] == "arn:aws:s3:::lake/raw/*" for one in found)


def test_what_a_doctor_that_died_has_left_is_removed_by_the_next_and_copied_by_nobody(guarded: Guarded) -> None:
    s3, left = guarded.client("s3"), f"{PROBE_PREFIX}{'0' * 32}"
    places = (("lake", "raw/"), ("platform-state", "skyferry/"))
    for bucket, prefix in places:
        s3.put_object(Bucket=bucket, Key=f"{prefix}{left}", Body=b"a probe")
        s3.put_object(Bucket=bucket, Key=f"{prefix}{PROBE_PREFIX}mine", Body=b"of somebody else")
    s3.put_object(Bucket="shop", Key=f"orders/{left}", Body=b"a probe")
    assert wrong(examine(guarded, full_policy())) == []
    for bucket, prefix in places:
        names = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
        assert names == [f"{prefix}{PROBE_PREFIX}mine"]
    report = move(guarded, full_policy(), "beside-a-probe")
    assert report.objects_copied == 3
    assert f"raw/{left}" not in [one["Key"] for one in s3.list_objects_v2(Bucket="lake")["Contents"]]


def test_a_bucket_that_is_missing_is_one_finding_and_the_others_go_on(guarded: Guarded, folder: Path) -> None:
    missing = {**ROUTE, "destination": {"url": "s3://no-such-lake/raw/", "conn_id": "aws_shop"}}
    write_route(folder, missing)
    policy = policy_of(Route.model_validate(missing))
    found = examine(guarded, policy)
    assert [(one.where, one.ability, one.state) for one in wrong(found)] == [("destination", "list", "failed")]
    assert "no bucket s3://no-such-lake/" in wrong(found)[0].text
    assert all(one.state == "ok" for one in found.findings if one.where == "state" and "Version" not in one.right)
    write_route(folder, {**ROUTE, "destination": {**missing["destination"], "create": True}})
    assert wrong(examine(guarded, policy)) == []


def test_credentials_nobody_knows_are_no_missing_right(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(json.dumps({"conn_type": "aws", "login": "AKIANOBODY", "password": "x"}))
    connection["extra"] = {"endpoint_url": guarded.endpoint, "region_name": "us-east-1"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(connection))
    found = examine(guarded, full_policy())
    assert {(one.ability, one.state) for one in wrong(found)} == {("list", "failed")}
    assert "InvalidAccessKeyId" in wrong(found)[0].why


KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


@contextmanager
def behind(guarded: Guarded, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> Iterator[None]:
    """Put something between the route's connection and moto."""
    with fault_proxy_in_thread(guarded.endpoint, always=fault) as proxy:
        extra = {"endpoint_url": proxy.url, "region_name": "us-east-1"}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps({"conn_type": "aws", **guarded.keys, "extra": extra}))
        yield


def denied() -> Response:
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    return Response(403, [("Content-Type", "application/xml")], body)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_key_that_may_not_be_used_is_told_from_objects_that_may_not_be_read_or_written(
    guarded: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Moto asks nobody's leave to use a key; S3 refuses the request that needs it."""

    async def key_is_closed(request: Request, forward: Forward) -> Response:
        path, _, query = request.target.partition("?")
        is_object = path.count("/") > 1 and "tagging" not in query and "uploads" not in query
        if method == "PUT":
            is_object = is_object and request.header("If-None-Match") == "*" and path.startswith("/lake/")
        else:
            is_object = is_object and path.startswith("/shop/")
        if request.method == method and is_object:
            return denied()
        return await forward(request)

    s3 = guarded.client("s3")
    for bucket in ("shop", "lake"):
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    try:
        s3.put_object(Bucket="shop", Key="orders/1.csv", Body=b"12")
        write_route(folder, {**ROUTE, "provision": {"source_kms_key": KEY, "destination_kms_key": KEY}})
        assert wrong(examine(guarded, full_policy())) == []
        with behind(guarded, monkeypatch, key_is_closed):  # whose signatures moto would not take
            (found,) = wrong(examine_freely())
        assert (found.where, found.ability) == ("source" if method == "GET" else "destination", "use key")
        actions = ["kms:Decrypt"] if method == "GET" else ["kms:GenerateDataKey", "kms:Decrypt"]
        assert found.statement == {"Effect": "Allow", "Action": actions, "Resource": KEY}
    finally:
        for bucket in ("shop", "lake"):
            s3.delete_bucket_encryption(Bucket=bucket)


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_a_doctor_that_is_stopped_removes_what_it_has_written(
    guarded: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    runner, seen = StageRunner(), itertools.count(1)

    async def stop_at_a_write(request: Request, forward: Forward) -> Response:
        answered = await forward(request)
        if request.method == "PUT" and "/lake/" in request.target and next(seen) == writes:
            runner.stop()
        return answered

    before = everything(guarded)
    monkeypatch.setattr("operators.transfer_doctor.StageRunner", lambda: runner)
    context = {"params": {"id": "orders", "action": EXAMINE}, "ti": TaskInstance()}
    with behind(guarded, monkeypatch, stop_at_a_write), pytest.raises(StageFailed, match="the task was stopped"):
        ExamineRouteOperator(task_id="doctor").execute(context)
    assert everything(guarded) == before


class TaskInstance:
    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def test_the_task_fails_with_a_result_and_says_what_to_change(guarded: Guarded, folder: Path) -> None:
    guarded.allow(without("ObjectsDestination", "s3:PutObject"))
    guarded.enforce(on=True)
    ti = TaskInstance()
    try:
        with pytest.raises(StageFailed, match="s3:PutObject is missing, so no object can be copied; add to the policy"):
            ExamineRouteOperator(task_id="doctor").execute({"params": {"id": "orders", "action": EXAMINE}, "ti": ti})
    finally:
        guarded.enforce(on=False)
    assert ti.xcoms["return_value"]["state"] == "failed"
    with pytest.raises(StageFailed, match='no route "ordres"; did you mean "orders"'):
        ExamineRouteOperator(task_id="doctor").execute({"params": {"id": "ordres", "action": EXAMINE}, "ti": ti})
    assert "ordres" in ti.xcoms["return_value"]["problem"]


@pytest.fixture
def queue_url(guarded: Guarded, folder: Path) -> Iterator[str]:
    """A queue with a dead-letter queue and a message, that the route consumes."""
    sqs = guarded.client("sqs")
    dead = sqs.create_queue(QueueName=f"{QUEUE}-dead-letter")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    url = sqs.create_queue(QueueName=QUEUE, Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="of the user")
    detect = {"kind": "sqs", "queue_url": url, "conn_id": "aws_shop"}
    write_route(folder, {**ROUTE, "detect": detect, "schedule": "event"})
    yield url
    for one in (url, dead):
        sqs.delete_queue(QueueUrl=one)


def queue_policy(url: str, *, leave_out: str = "") -> dict[str, Any]:
    route = Route.model_validate({**ROUTE, "detect": {"kind": "sqs", "queue_url": url}, "schedule": "event"})
    policy = policy_of(route)
    for statement in policy["Statement"]:
        actions = [action for action in statement["Action"] if action != leave_out]
        statement["Action"] = [CALLED_OTHERWISE.get(action, action) for action in actions]
        if "sqs" in statement["Resource"]:
            statement["Resource"] = "*"  # moto asks for the rights of SQS without naming the queue
    return policy


def test_a_queue_is_tried_and_its_messages_stay(guarded: Guarded, queue_url: str) -> None:
    found = examine(guarded, queue_policy(queue_url))
    assert wrong(found) == []
    states = {one.right: one.state for one in found.findings if one.where == "events"}
    assert states == {
        "sqs:GetQueueAttributes": "ok",
        "sqs:ReceiveMessage": "ok",
        "sqs:ChangeMessageVisibility": "ok",
        "sqs:DeleteMessage": "ok",
        "sqs:GetQueueUrl": "ok",
        "sqs:SendMessage": "not checked",
    }
    sqs = guarded.client("sqs")
    (message,) = sqs.receive_message(QueueUrl=queue_url)["Messages"]
    assert message["Body"] == "of the user"
    dead = sqs.get_queue_url(QueueName=f"{QUEUE}-dead-letter")["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=dead)


@pytest.mark.parametrize(
    "action",
    [
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueUrl",
    ],
)
def test_a_right_that_is_missing_with_a_queue_is_named(guarded: Guarded, queue_url: str, action: str) -> None:
    (found,) = wrong(examine(guarded, queue_policy(queue_url, leave_out=action)))
    assert (found.where, found.right, found.state) == ("events", action, "missing")
    assert (found.statement or {})["Action"] == [action]
    assert (found.statement or {})["Resource"].startswith("arn:aws:sqs:")


@pytest.mark.parametrize("leave_out", ["", "sqs:GetQueueAttributes"])
def test_messages_that_would_become_dead_letters_are_not_received(
    guarded: Guarded, queue_url: str, leave_out: str
) -> None:
    sqs = guarded.client("sqs")
    redrive = json.loads(
        sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]["RedrivePolicy"]
    )
    redrive["maxReceiveCount"] = 1
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": json.dumps(redrive)})
    found = examine(guarded, queue_policy(queue_url, leave_out=leave_out))
    (receiving,) = (one for one in found.findings if one.right == "sqs:ReceiveMessage")
    assert (receiving.state, found.state) == ("not checked", "failed" if leave_out else "success")
    (message,) = sqs.receive_message(QueueUrl=queue_url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_a_queue_that_is_missing_is_one_finding(guarded: Guarded, folder: Path) -> None:
    url = f"{guarded.endpoint}/123456789012/no-such-queue"
    detect = {"kind": "sqs", "queue_url": url, "conn_id": "aws_shop"}
    write_route(folder, {**ROUTE, "detect": detect, "schedule": "event"})
    (found,) = wrong(examine(guarded, queue_policy(url)))
    assert (found.ability, found.state) == ("look", "failed")
    assert f"there is no queue {url}" in found.text


def test_credentials_nobody_knows_are_no_missing_right_with_a_queue_or_a_table_either(
    guarded: Guarded, folder: Path, queue_url: str, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in the words of AWS; moto answers in those of S3, which clients of other services do not read."""

    async def nobody(request: Request, forward: Forward) -> Response:
        service = request.header("X-Amz-Target").partition(".")[0]
        codes = {"AmazonSQS": (403, "InvalidClientTokenId"), "DynamoDB_20120810": (400, "UnrecognizedClientException")}
        if service not in codes:
            return await forward(request)
        status, code = codes[service]
        return Response(status, (), json.dumps({"__type": f"com.amazon.coral.service#{code}"}).encode())

    detect = {"kind": "sqs", "queue_url": queue_url, "conn_id": "aws_shop"}
    write_route(folder, {**INDEXED, "detect": detect, "schedule": "event"})
    with behind(guarded, monkeypatch, nobody):
        found = wrong(examine_freely())
    assert {(one.where, one.state) for one in found} == {("events", "failed"), ("index", "failed")}
    assert {one.ability for one in found if one.where == "events"} == {"look"}
    assert [one.statement for one in found if one.statement] == []


@pytest.fixture
def table(guarded: Guarded, folder: Path) -> Iterator[Any]:
    """The table of an index of receipts, and a route that writes to it."""
    dynamodb = guarded.client("dynamodb")
    dynamodb.create_table(
        TableName="receipts",
        KeySchema=[{"AttributeName": HASH_KEY, "KeyType": "HASH"}, {"AttributeName": RANGE_KEY, "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in (HASH_KEY, RANGE_KEY)],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName="receipts", Item={HASH_KEY: {"S": "orders"}, RANGE_KEY: {"S": "1"}})
    write_route(folder, INDEXED)
    yield dynamodb
    dynamodb.delete_table(TableName="receipts")


INDEXED = {**ROUTE, "receipts_index": {"dynamodb": "receipts", "conn_id": "aws_shop", "region": "us-east-1"}}


def index_policy(*, leave_out: str = "") -> dict[str, Any]:
    policy = policy_of(Route.model_validate(INDEXED))
    for statement in policy["Statement"]:
        if statement["Sid"] == "ReceiptsIndex":
            statement["Action"] = [action for action in statement["Action"] if action != leave_out]
            statement["Resource"] = "*"  # moto asks for the rights of DynamoDB without naming the table
    return policy


def test_the_table_of_an_index_is_tried_and_holds_what_it_held(guarded: Guarded, table: Any) -> None:
    found = examine(guarded, index_policy())
    assert wrong(found) == []
    (statement,) = (one for one in index_policy()["Statement"] if one["Sid"] == "ReceiptsIndex")
    assert {one.right for one in found.findings if one.where == "index"} == set(statement["Action"])
    assert table.scan(TableName="receipts")["Items"] == [{HASH_KEY: {"S": "orders"}, RANGE_KEY: {"S": "1"}}]


@pytest.mark.parametrize("action", ["dynamodb:BatchWriteItem", "dynamodb:Query", "dynamodb:DescribeTable"])
def test_a_right_that_is_missing_with_the_table_is_named(guarded: Guarded, table: Any, action: str) -> None:
    (found,) = wrong(examine(guarded, index_policy(leave_out=action)))
    assert (found.where, found.right, found.state) == ("index", action, "missing")
    resource = "arn:aws:dynamodb:us-east-1:*:table/receipts"
    assert found.statement == {"Effect": "Allow", "Action": [action], "Resource": resource}


def test_a_table_that_is_missing_is_no_missing_right(guarded: Guarded, folder: Path) -> None:
    write_route(folder, INDEXED)
    found = wrong(examine(guarded, index_policy()))
    assert {(one.where, one.state) for one in found} == {("index", "failed")}
    assert "ResourceNotFoundException" in found[0].text


TOKEN = "0123456789abcdef" * 2
KEEPING = {**ROUTE, "copy": {"keep_source": True}}
"""A route that may neither write nor delete at its source."""


def send(guarded: Guarded, action: str, *rights: str) -> ProbeSent:
    """Put or remove a probe with the policy of the route and more rights at its source."""
    policy = policy_of(Route.model_validate(KEEPING))
    for action_name in rights:
        policy["Statement"].append({"Effect": "Allow", "Action": action_name, "Resource": "arn:aws:s3:::shop/orders/*"})
    guarded.allow(policy)
    guarded.enforce(on=True)
    try:
        return send_flow_probe("orders", TOKEN, action=action, run=lambda coroutine: StageRunner().run(coroutine))
    finally:
        guarded.enforce(on=False)


@pytest.mark.parametrize(
    ("rights", "missing"),
    [((), {"s3:PutObject", "s3:DeleteObject"}), (("s3:PutObject",), {"s3:DeleteObject"})],
)
def test_who_may_not_write_or_delete_at_the_source_sends_no_probe(
    guarded: Guarded, folder: Path, rights: tuple[str, ...], missing: set[str]
) -> None:
    write_route(folder, KEEPING)
    before = everything(guarded)
    found = send(guarded, PUT, *rights)
    source = [one for one in found.findings if one.where == "source"]
    assert {one.right for one in source} == missing
    assert all("add to the policy" in one.change for one in source)
    assert (found.state, found.written_at) == ("failed", "")
    assert everything(guarded) == before


def test_a_probe_is_put_and_removed_and_its_copy_with_it(guarded: Guarded, folder: Path) -> None:
    write_route(folder, KEEPING)
    before = everything(guarded)
    rights = ("s3:PutObject", "s3:DeleteObject")
    found = send(guarded, PUT, *rights)
    assert (found.state, found.findings, found.source) == ("success", (), f"s3://shop/{found.key}")
    s3, copy = guarded.client("s3"), found.copy.removeprefix("s3://lake/")
    s3.copy_object(Bucket="lake", Key=copy, CopySource={"Bucket": "shop", "Key": found.key})
    gone = send(guarded, REMOVE, *rights)
    assert gone.removed == (found.source, found.copy)
    assert everything(guarded) == before
    assert send(guarded, REMOVE, *rights).removed == ()


@pytest.mark.parametrize("is_reached_again", [True, False])
def test_a_probe_whose_put_was_never_answered_is_removed_or_named(
    guarded: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_reached_again: bool
) -> None:
    write_route(folder, KEEPING)
    before, is_put = everything(guarded), False

    async def lose_answers(request: Request, forward: Forward) -> Response:
        nonlocal is_put
        if "/shop/" in request.target and "skyferry-flow-" in request.target:
            is_put = is_put or request.method == "PUT"
            if request.method == "PUT" or not is_reached_again:
                return await drop_reply()(request, forward)
        return await forward(request)

    with behind(guarded, monkeypatch, lose_answers):
        found = send_flow_probe("orders", TOKEN, action=PUT, run=lambda coroutine: StageRunner().run(coroutine))
    assert is_put
    assert (found.state, found.written_at) == ("failed", "")
    assert "the probe was not put: " in found.problem
    if is_reached_again:
        assert (found.removed, found.left) == ((found.source,), ())
        assert everything(guarded) == before
    else:
        assert [text.startswith(f"{found.source}: ") for text in found.left] == [True]


def test_what_is_not_the_probe_is_left_and_named(guarded: Guarded, folder: Path) -> None:
    write_route(folder, KEEPING)
    rights = ("s3:PutObject", "s3:DeleteObject")
    found = send(guarded, PUT, *rights)
    s3, copy = guarded.client("s3"), found.copy.removeprefix("s3://lake/")
    s3.put_object(Bucket="lake", Key=copy, Body=b"of somebody else")
    gone = send(guarded, REMOVE, *rights)
    assert (gone.state, gone.removed) == ("failed", (found.source,))
    assert "something else than the probe" in gone.left[0]
    assert s3.get_object(Bucket="lake", Key=copy)["Body"].read() == b"of somebody else"
