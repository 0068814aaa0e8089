"""What nobody starts: a file is dropped into a folder, an object is put into S3, and each is copied by itself.

Each act is a route of the demo's own with `schedule: event`, registered for as long as the act lasts. What counts is
the time from the end of the put to the moment at which the vendor's own client finds the copy.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo.checks import Check, check_bucket, sampled_keys, shortened
from demo.display import Display, Row
from demo.files import DemoError, Original
from demo.runs import AirflowRuns
from demo.scenario import EVENTS_QUEUE, Arrival
from demo.vendor_buckets import S3Bucket, VendorBucket
from skyferry.errors import UnknownRouteError
from skyferry.route_registration import register_route, remove_route

OBJECTS: Final = 3
_ARRIVE_DEADLINE_SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalStage:
    """Where the acts are played.

    Args:
        buckets: By the names the scenario has for them.
        events: The bucket that tells the queue of what is put into it.
        folder: Watched; below a local root of the stack.
        state: The folder in which the stack's runs keep their records.
    """

    display: Display
    runs: AirflowRuns
    buckets: Mapping[str, VendorBucket]
    events: S3Bucket
    folder: Path
    state: Path

    def play(self, arrival: Arrival, originals: Mapping[str, Original]) -> Row:
        """Put a few objects, one after the other, and wait for each; return what became of them."""
        chosen = {key: originals[key] for key in sampled_keys(_small(originals), OBJECTS)[:OBJECTS]}
        destination = self.buckets[arrival.destination]
        destination.create()
        with self._route(arrival):
            seconds = [self._put_and_wait(arrival, key, original, destination) for key, original in chosen.items()]
        self.display.say(f"  from put to copy: {', '.join(f'{one:.1f}' for one in seconds)} seconds")
        check = check_bucket(destination, chosen, progress=lambda done, objects: None)
        verified = verified_by(self.state, arrival.dag_id, chosen)
        if sum(verified.values()) != len(chosen):
            check.problems.append(f"{sum(verified.values()):,} copies have a receipt; expected {len(chosen):,}")
        self.display.complain(shortened(check.problems))
        return _row(arrival, chosen, seconds, verified, check)

    @contextlib.contextmanager
    def _route(self, arrival: Arrival) -> Iterator[None]:
        """Have a route for the time of the block, switched on."""
        queue_url = self.events.send_events_to(EVENTS_QUEUE) if arrival.source == "events" else ""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        urls = {name: bucket.url for name, bucket in self.buckets.items()}
        route = arrival.route(
            urls | {"dropped": f"file://{self.folder}/", "events": self.events.url}, queue_url=queue_url
        )
        register_route(arrival.id, json.dumps(route, indent=2), replace_existing=True)
        try:
            with self.display.activity("waiting for Airflow to know the new route"):
                self.runs.prepare_dag(arrival.dag_id)
            yield
        finally:
            self.runs.pause(arrival.dag_id)
            with contextlib.suppress(UnknownRouteError):
                remove_route(arrival.id)

    def _put_and_wait(self, arrival: Arrival, key: str, original: Original, destination: VendorBucket) -> float:
        with self.display.activity(f"{arrival.verb} {key}, and waiting for it in {destination.url}"):
            self._put(arrival, key, original)
            put_at = time.monotonic()
            _wait_until(
                lambda: destination.has(key), what=f"{destination.url}{key}", dag=self.runs.dag_page(arrival.dag_id)
            )
            return time.monotonic() - put_at

    def _put(self, arrival: Arrival, key: str, original: Original) -> None:
        if arrival.source == "events":
            self.events.put(key, original.path, progress=lambda sent: None)
            return
        target = self.folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original.path, target)


def _small(originals: Mapping[str, Original]) -> dict[str, int]:
    return {key: each.size_bytes for key, each in originals.items() if 0 < each.size_bytes < 2**20}


def _wait_until(is_so: Callable[[], bool], *, what: str, dag: str) -> None:
    deadline = time.monotonic() + _ARRIVE_DEADLINE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} is not there after {_ARRIVE_DEADLINE_SECONDS:.0f} seconds; the runs: {dag}")
        time.sleep(_LOOK_SECONDS)


def verified_by(state: Path, dag_id: str, keys: Mapping[str, Original]) -> Counter[str]:
    """Return what proved the copies, from the receipts of all runs of a DAG; the last receipt of a key counts."""
    last: dict[str, dict[str, Any]] = {}
    for path in state.glob(f"{dag_id}/**/receipts/**/*.ndjson"):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if row["outcome"] == "copied" and row["key"] in keys:
                last[row["key"]] = max(row, last.get(row["key"], row), key=lambda one: str(one["finished_at"]))
    return Counter(row["verified_by"] for row in last.values())


def _row(
    arrival: Arrival, chosen: Mapping[str, Original], seconds: Sequence[float], verified: Counter[str], check: Check
) -> Row:
    return Row(
        title=arrival.title,
        objects=f"{len(chosen):,} arrived",
        size_bytes=sum(original.size_bytes for original in chosen.values()),
        verified_by=", ".join(f"{count:,} {way}" for way, count in verified.items()) or "-",
        seconds=statistics.median(seconds),
        checked=f"{len(check.problems):,} problems" if check.problems else check.text,
        is_good=not check.problems,
    )
