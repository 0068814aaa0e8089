"""What Airflow sees when a store misbehaves: retries where they help, a red run where they do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.airflow_home import PROJECT
from tests.faults.proxy import answer, delay, fault_proxy_in_thread


def s3_connection(endpoint: str) -> str:
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    return json.dumps({"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra})


@pytest.fixture
def faulty_s3(emulators, monkeypatch):
    """Put a fault proxy in front of S3."""
    with fault_proxy_in_thread(emulators.s3) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3_connection(proxy.url))
        yield proxy


def fast_attempts(monkeypatch) -> None:
    """Let the attempts inside a task follow each other at once."""
    from tenacity.wait import wait_none

    import skyferry.attempts

    monkeypatch.setattr(skyferry.attempts, "_BACK_OFF", wait_none())


def test_one_object_that_cannot_be_read_fails_the_run_and_costs_the_others_nothing(
    airflow, buckets, faulty_s3, monkeypatch
):
    fast_attempts(monkeypatch)
    source, destination = buckets.new("s3"), buckets.new("az")
    for number in range(5):
        source.put(f"{number}.csv", b"x" * number)
    faulty_s3.inject(answer(500), method="GET", target_contains="/3.csv")
    started = time.monotonic()
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert time.monotonic() - started < 240, "`dags test` must not wait five minutes for each retry"
    assert ended.state == "failed"
    assert set(destination.content()) == {"0.csv", "1.csv", "2.csv", "4.csv"}
    assert (ended.report["objects_copied"], ended.report["objects_failed"]) == (4, 1)
    assert ended.report["retries"] > 0
    assert ended.log.count("action=retry") == 3, "the policy is asked after each of the three attempts"
    assert "Traceback" not in ended.log


def test_a_store_that_recovers_is_retried_by_airflow_and_nothing_is_copied_twice(
    airflow, buckets, faulty_s3, monkeypatch
):
    fast_attempts(monkeypatch)
    source, destination = buckets.new("s3"), buckets.new("gs")
    source.put("good.csv", b"1")
    source.put("late.csv", b"2")
    # As many answers as the first task attempt asks for; the second one gets through.
    faulty_s3.inject(answer(500), method="GET", target_contains="/late.csv", times=5)
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert ended.state == "success"
    assert destination.content() == {"good.csv": b"1", "late.csv": b"2"}
    assert ended.report["objects_copied"] == 2
    assert ended.log.count("action=retry") == 1


def test_a_permanent_error_is_tried_once(airflow, buckets, faulty_s3):
    source, destination = buckets.new("s3"), buckets.new("az")
    source.put("a.csv", b"1")
    faulty_s3.inject(answer(403), method="GET", target_contains="/a.csv")
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert ended.state == "failed"
    assert "action=retry" not in ended.log
    assert ended.report["objects_failed"] == 1


def test_a_task_that_is_stopped_ends_soon_and_leaves_no_half_object(buckets, emulators, airflow_database):
    source, destination = buckets.new("s3"), buckets.new("file")
    for number in range(3):
        source.put(f"{number}.csv", b"x" * 1000)
    with fault_proxy_in_thread(emulators.s3) as proxy:
        proxy.inject(delay(60), method="GET", target_contains=".csv")
        environment = {**os.environ, "AIRFLOW_CONN_AWS_DEFAULT": s3_connection(proxy.url), "SKYFERRY_RETRIES": "0"}
        conf = json.dumps({"source": source.url, "destination": destination.url})
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "dags", "test", "transfer", "-c", conf],
            env=environment,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 240
        while not proxy.count("GET", ".csv") and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    assert "the task was stopped" in output
    assert "Traceback" not in output
    assert destination.content() == {}, "neither objects nor temporary files"
