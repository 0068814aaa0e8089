"""How fast events are acted on: seconds from put to commit, and messages a second.

    python -m bench.events              # everything; about fifteen minutes on two cores
    python -m bench.events --quick      # 20 objects and 1,000 messages, for a first look
    python -m bench.events --only latency        # the other half of this day's report stays

Latency: a stack of its own with two routes that have `schedule: event`, one fed by a queue, one by listings; 200
objects each, one a second. A consumer stays while more comes within its `wait_seconds`, so such a stream is mostly one
run; objects that come further apart are measured too, where each takes a ring and a run of its own. Throughput: a queue
with 10,000 messages and one consumer, then two. Emulators, Airflow and what measures share the machine, so its load is
written down too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.storage.blob import ContainerClient
from rich.console import Console

from bench.event_latency import Copied, put_and_wait, summary_of
from bench.event_stack import NEVER, EventStack, event_stack, tell_queue
from bench.event_throughput import throughputs
from bench.memory import RESULTS
from stack.environment import airflow_settings

BUCKET, CONTAINER, QUEUE = "bench-in", "bench-out", "bench-events"
_SETTINGS = (
    "AIRFLOW__SCHEDULER__",
    "AIRFLOW__WORKERS__",
    "AIRFLOW__TRIGGERER__",
    "AIRFLOW__CORE__PARALLELISM",
)

_DETECTS: dict[str, dict[str, Any]] = {
    "queue": {"kind": "sqs", "queue_url": f"{{queue:{QUEUE}}}", "poll_seconds": 1},
    "listing": {"kind": "objects", "poll_seconds": 1},
}
_DAGS = {"queue": f"consume__{QUEUE}", "listing": "transfer__listing"}
_APART_SECONDS = 15.0
"""Longer than a consumer waits for more, and than a run takes."""
_CASES = (("queue", 1.0), ("queue", _APART_SECONDS), ("listing", 1.0))


def main() -> int:
    """Run the cases, print and keep the report."""
    parser = argparse.ArgumentParser(description="Seconds from put to commit, and messages a second.")
    parser.add_argument("--quick", action="store_true", help="20 objects and 1,000 messages, for a first look")
    parser.add_argument("--only", choices=("latency", "throughput"))
    options = parser.parse_args()
    console = Console()
    file = RESULTS / f"events-{datetime.now(UTC).date()}.json"
    report = measured_before(file) if options.only and not options.quick else {}
    report |= {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine()}
    with tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder:
        if options.only != "throughput":
            report["latency"] = latencies(Path(folder), console, objects=20 if options.quick else 200)
        if options.only != "latency":
            console.print("messages a second of one consumer, and of two")
            report["throughput"] = throughputs(Path(folder), messages=1_000 if options.quick else 10_000)
    report["load_at_end"] = os.getloadavg()
    text = markdown(report)
    console.print(text, markup=False, soft_wrap=True)
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(text, encoding="utf-8")
    return 0


def measured_before(file: Path) -> dict[str, Any]:
    """Return the report of this day, whose other half `--only` leaves as it is; empty when there is none."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def latencies(folder: Path, console: Console, *, objects: int) -> list[dict[str, Any]]:
    """Return the figures of each way to notice objects."""
    routes = {
        name: {
            "source": {"url": f"s3://{BUCKET}/{name}/"},
            "destination": {"url": f"az://{CONTAINER}/{name}/"},
            "detect": detect,
            "schedule": "event",
            "backstop": NEVER,
        }
        for name, detect in _DETECTS.items()
    }
    with event_stack(folder, routes, [QUEUE]) as stack:
        _make_places(stack)
        rows = []
        for name in _DETECTS:
            # The first runs after a start are slower than any later one: imports, and the first call of everything.
            _arrive(stack, name, "warm", count=3, every_seconds=1.0)
        for name, every_seconds in _CASES:
            count = objects if every_seconds == 1.0 else max(objects // 16, 3)
            console.print(f"{name}: {count} objects, one every {every_seconds:g} s")
            _wait_until_idle(stack, _DAGS[name])
            before = len(stack.runs(_DAGS[name]))
            copied = _arrive(stack, name, f"every-{every_seconds:g}", count=count, every_seconds=every_seconds)
            figures = summary_of(stack, _DAGS[name], copied, skip_runs=before)
            rows.append({"detect": _DETECTS[name], "every_seconds": every_seconds, **figures})
        return rows


def _arrive(stack: EventStack, name: str, turn: str, *, count: int, every_seconds: float) -> list[Copied]:
    return put_and_wait(
        stack,
        bucket=BUCKET,
        prefix=f"{name}/{turn}/",
        container=CONTAINER,
        count=count,
        every_seconds=every_seconds,
        patience=120,
    )


def _wait_until_idle(stack: EventStack, dag_id: str) -> None:
    """Wait until no run is under way, nor is made within two seconds: what is measured begins with a ring."""
    quiet = 0
    while quiet < 3:
        quiet = 0 if any(run["state"] in ("queued", "running") for run in stack.runs(dag_id)) else quiet + 1
        time.sleep(1)


def _make_places(stack: EventStack) -> None:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    stack.client("sqs").create_queue(QueueName=QUEUE)
    tell_queue(s3, BUCKET, QUEUE, prefix="queue/")
    ContainerClient.from_connection_string(stack.azurite_connection, CONTAINER).create_container()


def _machine() -> dict[str, Any]:
    settings = {name: value for name, value in airflow_settings().items() if name.startswith(_SETTINGS)}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg(),
        "settings": settings,
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the report for people."""
    machine = report["machine"]
    loads = ", ".join(f"{load[0]:.1f}" for load in (machine["load_at_start"], report["load_at_end"]))
    made = f"Python {machine['python']}, {machine['cores']} shared cores, emulators and Airflow on the same machine"
    lines = [
        f"# Events, measured {report['measured_at'][:10]}",
        "",
        f"{made}; load before and after: {loads}. Made by `python -m bench.events`.",
    ]
    if "latency" in report:
        lines += ["", "## Seconds from put to verified commit", ""]
        lines += ["| detect | objects | s apart | runs | median | p95 | max | ring | start | plan | copy |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
        lines += [_latency_row(row) for row in report["latency"]]
        lines += ["", "The steps are medians and are explained in `bench/event_latency.py`."]
    if "throughput" in report:
        lines += ["", "## Messages a second", ""]
        lines += ["| consumers | messages | seconds | messages/s | CPU s | peak MB by tenth of the time |"]
        lines += ["|---:|---:|---:|---:|---:|---|"]
        lines += [_throughput_row(row) for row in report["throughput"]]
        lines += ["", "Each message tells of one object of 1 KiB; see `bench/event_throughput.py`."]
    return "\n".join(lines) + "\n"


def _latency_row(row: dict[str, Any]) -> str:
    totals = (f"{row['seconds'][name]:.2f}" for name in ("median", "p95", "max"))
    steps = (f"{row['steps'][name]['median']:.2f}" for name in ("ring", "start", "plan", "copy"))
    cells = (row["detect"]["kind"], str(row["objects"]), f"{row['every_seconds']:g}", str(row["runs"]), *totals, *steps)
    return f"| {' | '.join(cells)} |"


def _throughput_row(row: dict[str, Any]) -> str:
    cpu = sum(consumer["cpu_seconds"] for consumer in row["consumers"])
    memory = ", ".join(f"{tenth / 1e6:.0f}" for tenth in row["memory"]["peak_bytes_by_tenth"])
    cells = (row["slots"], f"{row['messages']:,}", row["seconds"], row["messages_per_second"], f"{cpu:.0f}", memory)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
