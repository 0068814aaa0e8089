"""What Celery workers and Postgres give: two workers over one, and how soon the runs of many routes begin.

    make bench-celery                                        # the figures that count, half an hour
    python -m bench.cluster --objects 200 --minutes 1        # for a first look; nothing is written

Everything runs on this machine: Postgres (which waits for the disk), Redis, the services of Airflow, the workers, and
the sink behind a delay line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.contenders import Work
from bench.grounds import Ground, Grounds, ask_sink
from bench.memory import RESULTS
from stack.environment import azurite_connection_string
from tests.celery_airflow import celery_airflow

OBJECTS = 2000
OBJECT_BYTES = 4096
BATCHES = 8
IN_FLIGHT = 4
DELAY_SECONDS = 0.04
TARGET = 1.8
ROUTES = (1, 10, 100)
MINUTES = 5
_LATENCY_ROUTE = "latency"
_PATIENCE_SECONDS = 1800.0
_POLL_SECONDS = 1.0
# One task at a time on each worker, so that a second worker is what doubles them.
_ONE_TASK = {"AIRFLOW__CELERY__WORKER_CONCURRENCY": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """A run that its route's schedule asked for."""

    state: str
    due_at: datetime
    ended_at: datetime | None
    plan_began_at: datetime | None


def main() -> int:
    """Measure, print and keep the report; 1 when two workers are not fast enough."""
    parser = argparse.ArgumentParser(description="Celery workers and many routes on Postgres.")
    parser.add_argument("--objects", type=int, default=OBJECTS)
    parser.add_argument("--minutes", type=int, default=MINUTES)
    parser.add_argument(
        "--routes", type=int, nargs="*", default=ROUTES, help="how many are active, one after the other"
    )
    options = parser.parse_args()
    load = os.getloadavg()
    workers = measure_workers(options.objects)
    print(json.dumps(workers), flush=True)
    routes = []
    for count in options.routes:
        routes.append(measure_routes(count, minutes=options.minutes))
        print(json.dumps(routes[-1]), flush=True)
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "load_at_start": load},
        "load_at_end": os.getloadavg(),
        "workers": workers,
        "routes": routes,
    }
    if (options.objects, options.minutes, tuple(options.routes)) == (OBJECTS, MINUTES, ROUTES):
        file = RESULTS / f"celery-{datetime.now(UTC).date()}.json"
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    return 0 if workers["ratio"] >= TARGET else 1


def measure_workers(objects: int) -> dict[str, Any]:
    """Return the seconds of one transfer on one worker, of the same on two, and the ratio."""
    with (
        tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder,
        Grounds(Path(folder), delay_seconds=DELAY_SECONDS) as grounds,
    ):
        work = Work(source="s3", destination="az", count=objects, size_bytes=OBJECT_BYTES)
        ground = grounds.slow_sink()
        grounds.fill(ground, work)
        seconds = [_copy_seconds(ground, work, workers=count, folder=Path(folder) / str(count)) for count in (1, 2)]
    return {
        "objects": objects,
        "batches": BATCHES,
        "objects_in_flight": IN_FLIGHT,
        "delay_seconds": DELAY_SECONDS,
        "one_worker_seconds": round(seconds[0], 2),
        "two_workers_seconds": round(seconds[1], 2),
        "ratio": round(seconds[0] / seconds[1], 2),
    }


def _copy_seconds(ground: Ground, work: Work, *, workers: int, folder: Path) -> float:
    """Return the seconds from the beginning of the first copy task to the end of the last one."""
    folder.mkdir()
    ask_sink(ground, "empty", bucket="destination")
    route = {
        "id": _LATENCY_ROUTE,
        "source": {"url": f"s3://{work.bucket}/objects/"},
        "destination": {"url": "az://destination/", "create": True},
        "limits": {"batch_objects": -(-work.count // BATCHES), "max_objects_in_flight": IN_FLIGHT},
    }
    names = [f"worker-{number}" for number in range(workers)]
    environment = {**_sink_connections(ground), **_ONE_TASK}
    routes = {_LATENCY_ROUTE: json.dumps(route)}
    with (
        celery_airflow(folder, workers=names, routes=routes, environment=environment, is_durable=True) as cluster,
        closing(cluster.client()) as client,
    ):
        run_path = _start(client, f"transfer__{_LATENCY_ROUTE}")
        _wait(lambda: client.get(run_path).raise_for_status().json()["state"] in ("success", "failed"))
        run = client.get(run_path).raise_for_status().json()
        if run["state"] != "success":
            raise RuntimeError(f"the transfer on {workers} workers failed")
        copies = [task for task in _tasks(client, run_path) if task["task_id"] == "copy"]
        return (max(map(_end, copies)) - min(map(_begin, copies))).total_seconds()


def _sink_connections(ground: Ground) -> dict[str, str]:
    s3 = {"endpoint_url": ground.place.endpoints["s3"], "region_name": "us-east-1"}
    azure = {"connection_string": azurite_connection_string(ground.place.endpoints["az"])}
    return {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
            {"conn_type": "aws", "login": "testing", "password": "testing", "extra": s3}
        ),
        "AIRFLOW_CONN_WASB_DEFAULT": json.dumps({"conn_type": "wasb", "extra": azure}),
    }


def measure_routes(count: int, *, minutes: int) -> dict[str, Any]:
    """Return what becomes of the runs of so many routes, each of which is to run every minute.

    A route looks at a folder of one file, which only its first run copies: what is measured is Airflow, not copying.
    """
    route = {"schedule": "* * * * *", "destination": {"url": "file://{exchange}/out/ID/", "create": True}}
    ids = [f"route_{number:03d}" for number in range(count)]
    routes = {
        route_id: json.dumps({**route, "id": route_id, "source": {"url": "file://{exchange}/in/"}}).replace(
            "ID", route_id
        )
        for route_id in ids
    }
    with tempfile.TemporaryDirectory(prefix="skyferry-bench-") as name:
        folder = Path(name)
        (folder / "exchange" / "in").mkdir(parents=True)
        (folder / "exchange" / "in" / "one.csv").write_bytes(b"x" * 1024)
        with (
            celery_airflow(folder, workers=["one", "two"], routes=routes, is_durable=True) as cluster,
            closing(cluster.client()) as client,
        ):
            began = datetime.now(UTC)
            time.sleep(minutes * 60)
            until = datetime.now(UTC)
            runs = _due_runs(client, ids, began)
            return {"routes": count, "minutes": minutes, **figures(runs, until=until, minutes=minutes)}


def _due_runs(client: httpx.Client, ids: Sequence[str], began: datetime) -> list[DueRun]:
    """Return the runs that were due since some moment."""
    found = []
    for route_id in ids:
        path = f"/api/v2/dags/transfer__{route_id}/dagRuns"
        page = client.get(path, params={"limit": 100, "order_by": "run_after"}).raise_for_status().json()
        for run in page["dag_runs"]:
            if _time(run["run_after"]) < began:
                continue
            plans = [task for task in _tasks(client, f"{path}/{run['dag_run_id']}") if task["task_id"] == "plan"]
            found.append(
                DueRun(
                    state=run["state"],
                    due_at=_time(run["run_after"]),
                    ended_at=_time(run["end_date"]) if run["end_date"] else None,
                    plan_began_at=_begin(plans[0]) if plans else None,
                )
            )
    return found


def figures(runs: Sequence[DueRun], *, until: datetime, minutes: int) -> dict[str, Any]:
    """Return how many of the runs were over by some moment, and how late those began."""
    over = [run for run in runs if run.ended_at is not None and run.ended_at <= until]
    delays = sorted((run.plan_began_at - run.due_at).total_seconds() for run in over if run.plan_began_at is not None)
    return {
        "runs_per_minute": round(len(over) / minutes, 1),
        "runs_failed": sum(run.state == "failed" for run in over),
        "runs_not_over": len(runs) - len(over),
        "delay_median_seconds": round(statistics.median(delays), 2) if delays else None,
        "delay_p95_seconds": round(delays[math.ceil(0.95 * len(delays)) - 1], 2) if delays else None,
    }


def _start(client: httpx.Client, dag_id: str) -> str:
    """Start a run and return its path below the REST API."""
    answer = client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None}).raise_for_status()
    return f"/api/v2/dags/{dag_id}/dagRuns/{answer.json()['dag_run_id']}"


def _tasks(client: httpx.Client, run_path: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = (
        client.get(f"{run_path}/taskInstances", params={"limit": 100}).raise_for_status().json()["task_instances"]
    )
    return [task for task in found if task["start_date"] and task["end_date"]]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _begin(task: Mapping[str, Any]) -> datetime:
    return _time(task["start_date"])


def _end(task: Mapping[str, Any]) -> datetime:
    return _time(task["end_date"])


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the transfer is not over after {_PATIENCE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report for people."""
    machine, workers = report["machine"], report["workers"]
    loads = ", ".join(f"{load[0]:.1f}" for load in (machine["load_at_start"], report["load_at_end"]))
    lines = [
        f"# Celery and many routes, measured {report['measured_at'][:10]}",
        "",
        f"Python {machine['python']}, {machine['cores']} cores for Postgres, Redis, Airflow and workers;",
        f"load before and after: {loads}. Made by `make bench-celery`.",
        "",
        "## Two workers over one",
        "",
        f"{workers['objects']:,} objects in {workers['batches']} batches, one task a worker,",
        f"{workers['objects_in_flight']} objects in flight, {workers['delay_seconds'] * 1000:.0f} ms a request;",
        "from the beginning of the first copy task to the end of the last one.",
        "",
        "| one worker, s | two workers, s | ratio | target |",
        "|---:|---:|---:|---:|",
        f"| {workers['one_worker_seconds']} | {workers['two_workers_seconds']} | {workers['ratio']} | {TARGET} |",
        "",
        "## Routes that run every minute",
        "",
        "Two workers. The delay is from when a run was due to the beginning of its plan.",
        "",
        "| routes | runs a minute | failed | not over | delay, median s | delay, p95 s |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['routes']} | {row['runs_per_minute']} | {row['runs_failed']} | {row['runs_not_over']}"
        f" | {row['delay_median_seconds']} | {row['delay_p95_seconds']} |"
        for row in report["routes"]
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    raise SystemExit(main())
