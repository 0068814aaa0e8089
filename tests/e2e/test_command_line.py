"""`airflow dags test` as it is typed, in a process of its own: every DAG once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

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


@pytest.fixture
def shop(emulators):
    """The bucket the example routes read."""
    from tests.e2e.buckets import S3Bucket

    bucket = S3Bucket("shop-exports", emulators.s3)
    if not bucket.exists():
        bucket.create()
    bucket.put("orders/2026/may.csv", b"id,total\n1,20\n")
    bucket.put("orders/readme.txt", b"not a CSV file")


def test_transfer(airflow_database, buckets):
    source, destination = buckets.new("s3"), buckets.new("az", create=False)
    source.put("orders/may.csv", b"1")
    conf = {"source": source.url, "destination": f"{destination.url}raw/", "create_destination": True}
    done = dags_test("transfer", "-c", json.dumps(conf))
    assert done.returncode == 0, done.stdout
    assert "1 of 1 objects copied (1 bytes)" in done.stdout
    assert SECRET not in done.stdout
    assert destination.content() == {"raw/orders/may.csv": b"1"}


@pytest.mark.parametrize("route_id", route_ids())
def test_a_route(airflow_database, shop, route_id, tmp_path):
    # The outbox of the checkout is not the tests' to fill.
    conf = {"source": f"file://{os.environ['SKYFERRY_LOCAL_ROOTS']}/outbox/"} if route_id == "outbox_to_s3" else {}
    if conf:
        os.makedirs(conf["source"].removeprefix("file://"), exist_ok=True)
        with open(conf["source"].removeprefix("file://") + "parcel.bin", "wb") as file:
            file.write(b"parcel")
    done = dags_test(f"transfer__{route_id}", "-c", json.dumps(conf))
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
