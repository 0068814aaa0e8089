"""What Airflow adds to a transfer: one object of 1 KiB as DAG runs on a local stack of its own, step by step.

From the trigger to the end of the task that copies; the commit is a little before that.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from demo.runs import DAG_ID, AirflowRuns
from stack.components import STACK, component
from stack.environment import PASSWORD, USER
from stack.health import free_port
from stack.layout import STATE_VARIABLE, Layout, wanted_layout

MAX_SECONDS = 3.0
_BUCKET = "bench-overhead"
_POLL_SECONDS = 0.25
_RUN_DEADLINE_SECONDS = 300.0
_STACK_DEADLINE_SECONDS = 900.0


def dag_run_seconds(folder: Path, *, runs: int, say: Callable[[str], None]) -> dict[str, float]:
    """Return the median seconds by step; the last entry, `trigger to commit`, is the whole.

    Args:
        folder: For the stack's state.
        runs: How many count; one more comes before them, so that everything is warm.

    Raises:
        RuntimeError: The stack did not start, or a run failed.
    """
    with local_stack(folder) as layout:
        put_object(layout)
        airflow = AirflowRuns(layout.url(component("api-server")), user=USER, password=PASSWORD, logs=layout.logs)
        airflow.prepare_dag()
        found = [run_once(airflow, number) for number in range(runs + 1)][1:]
    for steps in found:
        say("  " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in steps.items()))
    return {step: statistics.median(steps[step] for steps in found) for step in found[0]}


@contextmanager
def local_stack(folder: Path) -> Iterator[Layout]:
    """Start a local stack on free ports with its state in a folder, and stop it in the end."""
    ports = {each.port_variable: str(free_port()) for each in STACK if each.listens}
    environment = {**os.environ, **ports, STATE_VARIABLE: str(folder)}
    stack = [sys.executable, "-m", "stack"]
    done = subprocess.run(
        [*stack, "up"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_STACK_DEADLINE_SECONDS,
        check=False,
    )
    try:
        if done.returncode:
            raise RuntimeError(f"the local stack did not start: {done.stderr[-1000:]}")
        yield wanted_layout(environment)
    finally:
        subprocess.run([*stack, "down"], env=environment, capture_output=True, timeout=120, check=False)


def put_object(layout: Layout) -> None:
    """Put the object where the runs find it."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=layout.url(component("moto")),
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - moto takes any
    )
    client.create_bucket(Bucket=_BUCKET)
    client.put_object(Bucket=_BUCKET, Key="objects/one", Body=b"x" * 1024)


def run_once(airflow: AirflowRuns, number: int) -> dict[str, float]:
    """Run the transfer to a prefix of its own and return the seconds of its steps."""
    conf = {
        "source": f"s3://{_BUCKET}/objects/",
        "destination": f"az://{_BUCKET}/run-{number}/",
        "create_destination": True,
    }
    run_id = airflow.start(f"bench-{number}", conf)
    deadline = time.monotonic() + _RUN_DEADLINE_SECONDS
    while not (status := airflow.status(run_id)).is_over:
        if time.monotonic() > deadline:
            raise RuntimeError(f"run {number} of {DAG_ID} is not over after {_RUN_DEADLINE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    if status.state != "success":
        raise RuntimeError(f"run {number} of {DAG_ID} failed: {status.text}; {airflow.log_files(run_id, status)}")
    triggered_at, times = airflow.times(run_id)
    return seconds_by_step(triggered_at, times)


def seconds_by_step(triggered_at: datetime, times: Mapping[str, tuple[datetime, datetime]]) -> dict[str, float]:
    """Return how long each step took, given when the run was triggered and when its tasks began and ended."""
    plan_start, plan_end = times["plan"]
    copy_start, copy_end = times["copy"]
    moments = {
        "trigger until plan begins": (triggered_at, plan_start),
        "plan": (plan_start, plan_end),
        "until copy begins": (plan_end, copy_start),
        "copy": (copy_start, copy_end),
        "trigger to commit": (triggered_at, copy_end),
    }
    return {step: (end - start).total_seconds() for step, (start, end) in moments.items()}


def overhead_rows(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the rows of the report: the whole against its limit, and each step as it is."""
    rows: list[dict[str, Any]] = []
    for step, value in seconds.items():
        is_whole = step == "trigger to commit"
        rows.append(
            {
                "name": f"one small object as a DAG run: {step}, seconds",
                "ours": round(value, 2),
                "rival": MAX_SECONDS if is_whole else None,
                "rival_name": "limit" if is_whole else "",
                "ratio": round(value / MAX_SECONDS, 3) if is_whole else None,
                "target": f"<= {MAX_SECONDS:g}" if is_whole else "stated",
                "met": value <= MAX_SECONDS if is_whole else None,
            }
        )
    return rows


FAILED_OVERHEAD: dict[str, Any] = {
    "name": "one small object as a DAG run: trigger to commit, seconds",
    "ours": None,
    "rival": MAX_SECONDS,
    "rival_name": "limit",
    "ratio": None,
    "target": f"<= {MAX_SECONDS:g}",
    "met": False,
}
"""The row of a benchmark whose stack did not start or whose runs failed."""
