"""`airflow dags test` as it is typed, in a process of its own: every DAG once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skyferry.routes import route_ids
from tests.airflow_home import PROJECT
from tests.e2e.conftest import SECRET


def dags_test(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", *arguments],
        env={**os.environ, **variables},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def is_end_of_report(event: dict) -> bool:
    return event["eventType"] == "COMPLETE" and event["job"]["name"] == "transfer.report"


@pytest.fixture
def shop(emulators):
    """The bucket the example routes read."""
    from tests.e2e.buckets import S3Bucket

    bucket = S3Bucket("shop-exports", emulators.s3)
    if not bucket.exists():
        bucket.create()
    bucket.put("orders/2026/may.csv", b"id,total\n1,20\n")
    bucket.put("orders/readme.txt", b"not a CSV file")


def test_transfer_and_its_lineage(airflow_database, buckets, tmp_path):
    source, destination = buckets.new("s3"), buckets.new("az", create=False)
    source.put("orders/may.csv", b"1")
    conf = {"source": source.url, "destination": f"{destination.url}raw/", "create_destination": True}
    events = tmp_path / "lineage.ndjson"
    transport = json.dumps({"type": "file", "log_file_path": str(events), "append": True})
    variables = {"AIRFLOW__OPENLINEAGE__DISABLED": "False", "AIRFLOW__OPENLINEAGE__TRANSPORT": transport}
    done = dags_test("transfer", "-c", json.dumps(conf), **variables)
    assert done.returncode == 0, done.stdout
    assert "1 of 1 objects copied (1 bytes)" in done.stdout
    assert SECRET not in done.stdout
    assert destination.content() == {"raw/orders/may.csv": b"1"}
    assert SECRET not in events.read_text()
    [event] = [event for event in map(json.loads, events.read_text().splitlines()) if is_end_of_report(event)]
    [read], [written] = event["inputs"], event["outputs"]
    assert (read["namespace"], read["name"]) == (f"s3://{source.name}", "/")
    assert written["namespace"] == f"wasbs://{destination.name}@devstoreaccount1.dfs.core.windows.net"
    assert written["name"] == "raw"
    statistics = written["outputFacets"]["outputStatistics"]
    assert (statistics["size"], statistics["fileCount"]) == (1, 1)


@pytest.fixture
def upload(emulators):
    """The bucket that the watch folder's files come to."""
    from tests.e2e.buckets import S3Bucket

    bucket = S3Bucket("skyferry-watch", emulators.s3)
    if not bucket.exists():
        bucket.create()
    bucket.put("incoming/may.csv", b"id,total\n1,20\n")


@pytest.fixture
def configuration(tmp_path):
    """The configuration of the checkout, whose `exchange` is a folder of the tests with a file in each inbox."""
    exchange = Path(os.environ["SKYFERRY_LOCAL_ROOTS"]) / f"exchange-{tmp_path.name}"
    for inbox in ("outbox", "Watch"):
        (exchange / inbox).mkdir(parents=True)
        (exchange / inbox / "parcel.bin").write_bytes(b"parcel")
    folder = shutil.copytree(PROJECT / "include" / "config", tmp_path / "config")
    for file in (folder / "routes").glob("*.yaml"):
        file.write_text(file.read_text().replace("file:./exchange/", f"file://{exchange}/"))
    return folder


@pytest.mark.parametrize("route_id", route_ids())
def test_a_route(airflow_database, shop, upload, configuration, route_id):
    done = dags_test(f"transfer__{route_id}", SKYFERRY_CONFIG=str(configuration))
    assert done.returncode == 0, done.stdout
    assert "objects copied" in done.stdout
    assert "state              success" in done.stdout


def test_a_wrong_conf_is_one_line_and_exit_code_1(airflow_database):
    done = dags_test("transfer", "-c", '{"source": "s3://shop/", "destination": "az://lake/", "copy": "maybe"}')
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert done.stdout.strip().splitlines()[-1] == (
        'the transfer was not started: copy is "maybe"; expected true or false'
    )
