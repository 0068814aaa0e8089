"""The acts that nobody starts: what arrives is timed and checked, and the demo's route is gone afterwards."""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import arrivals
from demo.arrivals import ArrivalStage
from demo.display import Display, Row
from demo.files import DemoError, Original, digested
from demo.scenario import ARRIVALS, EVENTS_QUEUE
from demo.vendor_buckets import S3Bucket
from skyferry.route_registration import check_route
from skyferry.routes import route_ids
from skyferry.state import Run
from stack.running import Endpoint

DROPPED, NOTIFIED = ARRIVALS


class Copying:
    """Stands for Airflow: while a DAG is switched on, it copies what it finds with boto3, and leaves receipts."""

    def __init__(self, copy: Callable[[], list[str]], state: Path) -> None:
        self._copy = copy
        self._state = state
        self._is_on = threading.Event()
        self.routes_seen: list[str] = []
        self.paused: list[str] = []

    def prepare_dag(self, dag_id: str) -> None:
        self.routes_seen = route_ids()
        self._is_on.set()
        threading.Thread(target=self._work, args=(dag_id,), daemon=True).start()

    def _work(self, dag_id: str) -> None:
        folder = self._state / Run(dag_id=dag_id, run_id="1", route="", started_at="").folder / "plan-0001/receipts"
        folder.mkdir(parents=True)
        done: set[str] = set()
        while self._is_on.is_set():
            for key in set(self._copy()) - done:
                done.add(key)
                row = {"key": key, "outcome": "copied", "verified_by": "md5", "finished_at": "2026"}
                (folder / f"{len(done)}.ndjson").write_text(json.dumps(row) + "\n")
            time.sleep(0.05)

    def pause(self, dag_id: str) -> None:
        self._is_on.clear()
        self.paused.append(dag_id)

    def dag_page(self, dag_id: str) -> str:
        return f"http://airflow/{dag_id}"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path / "config"))


class Yard:
    """A stage on moto, with the files that are to arrive."""

    def __init__(self, root: Path, moto: Endpoint, spoil: bytes = b"") -> None:
        name = f"arrivals-{secrets.token_hex(4)}"
        self.bucket, self.events = (S3Bucket(f"{name}-{end}", endpoint_url=moto.url) for end in ("out", "in"))
        self.events.create()
        self.folder = root / "dropped"
        self.runs = Copying(lambda: self._copy(spoil), root / "state")
        self.output = io.StringIO()
        self.originals: dict[str, Original] = {}
        for key in ("a.txt", "b.txt", "c.txt"):
            (root / key).write_text(key * 10)
            self.originals[key] = digested(root / key)
        self.stage = ArrivalStage(
            display=Display(Console(file=self.output, width=200)),
            runs=self.runs,  # type: ignore[arg-type]
            buckets={"s3-dropped": self.bucket, "azure-events": self.bucket},
            events=self.events,
            folder=self.folder,
            state=root / "state",
        )

    def _copy(self, spoil: bytes) -> list[str]:
        """Copy what the folder and the bucket of events hold; return the keys."""
        found = {path.name: path.read_bytes() for path in self.folder.glob("*.txt")}
        found |= {key: b"".join(self.events.read(key)) for key in self.events.objects()}
        whole = {key: body for key, body in found.items() if len(body) == self.originals[key].size_bytes}
        for key, body in whole.items():
            self.bucket._client.put_object(Bucket=self.bucket._name, Key=key, Body=body + spoil)
        return list(whole)


@pytest.mark.parametrize("arrival", ARRIVALS, ids=lambda each: each.id)
def test_what_arrives_is_timed_and_checked(arrival: Any, tmp_path: Path, moto: Endpoint) -> None:
    yard = Yard(tmp_path, moto)
    row = yard.stage.play(arrival, yard.originals)
    assert isinstance(row, Row)
    assert row.is_good, yard.output.getvalue()
    assert (row.objects, row.verified_by, row.checked) == ("3 arrived", "3 md5", "3 md5, 3 read")
    assert row.seconds > 0
    assert "from put to copy: " in yard.output.getvalue()
    assert yard.runs.routes_seen == [arrival.id]
    assert (route_ids(), yard.runs.paused) == ([], [arrival.dag_id])


def test_other_content_is_found_out(tmp_path: Path, moto: Endpoint) -> None:
    yard = Yard(tmp_path, moto, spoil=b"!")
    row = yard.stage.play(DROPPED, yard.originals)
    assert not row.is_good
    assert "expected 50" in yard.output.getvalue()


def test_what_does_not_arrive_ends_the_demo_and_leaves_no_route(
    tmp_path: Path, moto: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "_ARRIVE_DEADLINE_SECONDS", 0.5)
    yard = Yard(tmp_path, moto)
    yard.runs._copy = list
    with pytest.raises(
        DemoError, match=r"is not there after .* seconds; the runs: http://airflow/transfer__demo_dropped"
    ):
        yard.stage.play(DROPPED, yard.originals)
    assert (route_ids(), yard.runs.paused) == ([], [DROPPED.dag_id])


def test_a_bucket_tells_its_queue(tmp_path: Path, moto: Endpoint) -> None:
    yard = Yard(tmp_path, moto)
    url = yard.events.send_events_to(EVENTS_QUEUE)
    yard.events.put("a.txt", tmp_path / "a.txt", progress=lambda sent: None)
    found = yard.events._queues.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert int(found["Attributes"]["ApproximateNumberOfMessages"]) >= 1


def test_the_routes_of_the_demo_are_routes() -> None:
    urls = {
        "dropped": "file:///x/",
        "events": "s3://told/",
        "s3-dropped": "s3://copies/",
        "azure-events": "az://copies/",
    }
    for arrival in ARRIVALS:
        text = json.dumps(arrival.route(urls, queue_url=f"http://127.0.0.1:5000/123456789012/{EVENTS_QUEUE}"))
        route, problems = check_route(arrival.id, text)
        assert (route is not None, problems) == (True, [])
        assert route is not None
        assert route.schedule == "event"
    assert (DROPPED.dag_id, NOTIFIED.dag_id) == ("transfer__demo_dropped", f"consume__{EVENTS_QUEUE}")
