"""Metrics of whole DAG runs, as they arrive at a StatsD server."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.pages import page


class StatsdServer:
    """Takes datagrams; loopback loses none as long as they fit into the socket's buffer."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.5)
        self.port = self._socket.getsockname()[1]

    def received(self) -> dict[str, str]:
        """Return what has arrived by name, of ours only."""
        found: dict[str, str] = {}
        while True:
            try:
                name, _, value = self._socket.recv(65_536).decode().partition(":")
            except TimeoutError:
                return found
            if ".skyferry." in name:
                assert name not in found, "each is counted once"
                found[name] = value

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def statsd(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdServer]:
    """A server that is told of what tasks in this process do, as Airflow's task runner sets it up for its tasks."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    server = StatsdServer()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.port))
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    yield server
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    server.close()


def test_a_run_is_counted_by_pair_and_outcome(airflow: Any, buckets: Any, statsd: StatsdServer) -> None:
    source, destination = buckets.new("s3"), buckets.new("file")
    source.put("a", b"12345")
    source.put("b", b"678")
    source.put("x/", b"a marker with content, which no folder can hold")
    conf = {"source": source.url, "destination": destination.url}
    failed = airflow.run(conf)
    assert failed.state == "failed"
    received = statsd.received()
    seconds = received.pop("airflow.skyferry.seconds.s3_to_file.failed")
    assert re.fullmatch(r"[0-9.]+\|ms", seconds)
    assert float(seconds.split("|")[0]) == pytest.approx(failed.report["duration_seconds"] * 1000, abs=1)
    assert received == {
        "airflow.skyferry.objects.s3_to_file.copied": "2|c",
        "airflow.skyferry.objects.s3_to_file.refused": "1|c",
        "airflow.skyferry.bytes.s3_to_file": "8|c",
    }
    source.client.delete_object(Bucket=source.name, Key="x/")
    assert airflow.run(conf).state == "success"
    received = statsd.received()
    assert received.pop("airflow.skyferry.seconds.s3_to_file.success")
    assert received == {"airflow.skyferry.objects.s3_to_file.skipped": "2|c"}


def test_a_dry_run_is_not_counted(airflow: Any, buckets: Any, statsd: StatsdServer) -> None:
    source, destination = buckets.new("file"), buckets.new("file")
    source.put("a", b"1")
    assert airflow.run({"source": source.url, "destination": destination.url, "dry_run": True}).state == "success"
    assert statsd.received() == {}


def test_the_guide_names_them() -> None:
    guide = page("docs/guide/monitoring.md").code_spans
    assert {name for name in guide if name.startswith("skyferry.")} == {
        "skyferry.objects.<pair>.<outcome>",
        "skyferry.bytes.<pair>",
        "skyferry.retries.<pair>.<cause>",
        "skyferry.seconds.<pair>.<state>",
    }
