"""How long `transfer statistic` and its REST twin take over 1,000, 3,000 and 10,000 finished runs, and in what memory.

    python -m bench.history             # about five minutes on two cores
    python -m bench.history --runs 1000 # for a first look; nothing is written

A real Airflow on SQLite is started with one route, and three real runs of it are made: one that copies, one that finds
everything there, one that fails. Their rows are then copied until there are as many runs as wanted
(`bench.history_fill`); of each twenty, twelve copied, seven found nothing new and one failed.

Cold is without a cache, warm is the same command again. Scheduler and DAG processor run meanwhile, on the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console

from bench.history_fill import HistoryFiller
from bench.memory import RESULTS
from bench.process_cost import run_program
from skyferry.history.airflow_access import AirflowAccess
from skyferry.history.airflow_api import AirflowApi
from skyferry.history.run_control import start_run
from stack.layout import STATE_VARIABLE
from tests.local_airflow import LocalAirflow, local_airflow

SIZES = (1_000, 3_000, 10_000)
ROUTE = """\
id: orders
source: {url: "file://{exchange}/orders/"}
destination: {url: "file://{exchange}/lake/", create: true}
"""
COPIED, IDLE, FAILED = 12, 7, 1
"""Of each twenty runs."""

_DEADLINE_SECONDS = 300


def main() -> int:
    """Measure, print and keep the report."""
    parser = argparse.ArgumentParser(description="Seconds and memory of the statistics of many runs.")
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES, help="numbers of runs, from few to many")
    options = parser.parse_args()
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder,
        local_airflow(Path(folder) / "stack", routes={"orders": ROUTE}) as airflow,
    ):
        report: dict[str, Any] = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg()},
            "figures": [],
        }
        turn = make_turn(airflow)
        made = len(set(turn))
        for runs in options.runs:
            console.print(f"making {runs:,} runs and reading them")
            HistoryFiller(airflow.layout.airflow_home / "airflow.db").copy_runs(turn, count=runs - made)
            made = runs
            load = round(os.getloadavg()[0], 1)
            report["figures"] += [{"runs": runs, "load": load, **row} for row in measure(airflow, Path(folder))]
    text = markdown(report)
    console.print(text, markup=False, soft_wrap=True)
    if tuple(options.runs) == SIZES:
        file = RESULTS / f"history-{datetime.now(UTC).date()}.json"
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(text, encoding="utf-8")
    return 0


def make_turn(airflow: LocalAirflow) -> list[str]:
    """Make three real runs, and return the ids of those to be copied, in turn."""
    orders = airflow.exchange / "orders"
    orders.mkdir()
    for number in range(5):
        (orders / f"{number}.txt").write_text(f"order {number}")
    api = AirflowApi(AirflowAccess(url=airflow.url, user=airflow.user, password=airflow.password))
    copied, idle = _run(api, {"id": "orders"}), _run(api, {"id": "orders"})
    (orders / "0.txt").write_text("another order")
    failed = _run(api, {"id": "orders", "on_conflict": "fail"})
    return [copied] * COPIED + [idle] * IDLE + [failed] * FAILED


def _run(api: AirflowApi, conf: dict[str, Any]) -> str:
    run = start_run(api, conf)
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not run.is_finished:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{run.run_id} is {run.state} after {_DEADLINE_SECONDS} s")
        time.sleep(0.5)
        run = api.run(run.dag_id, run.run_id)
    return run.run_id


def measure(airflow: LocalAirflow, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each question: command line and REST, cold and warm."""
    for cache in (folder / "cache", airflow.layout.airflow_home / "cache"):
        shutil.rmtree(cache, ignore_errors=True)
    environment = {**os.environ, STATE_VARIABLE: str(airflow.layout.state), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-c", "from skyferry.cli import main; main()", "statistic", "--by", "day"]
    rows = []
    for name in ("cold", "warm"):
        cost = run_program(command, environment=environment)
        rows.append(_row(f"transfer statistic, {name}", cost.wall_seconds, cost.cpu_seconds, None, cost.peak_bytes))
    login = {"username": airflow.user, "password": airflow.password}
    server = _server(airflow)
    with httpx.Client(base_url=airflow.url, trust_env=False, timeout=900) as client:
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        for name in ("cold", "warm"):
            before, cpu = _peak_bytes(server), _cpu_seconds(server)
            started = time.monotonic()
            answer = client.get(
                "/transfer/v1/statistics",
                params={"since": "52w", "by": "day"},
                headers={"Authorization": f"Bearer {token}"},
            )
            answer.raise_for_status()
            seconds = time.monotonic() - started
            row = _row(
                f"/transfer/v1/statistics, {name}", seconds, _cpu_seconds(server) - cpu, before, _peak_bytes(server)
            )
            rows.append(row)
    return rows


def _row(name: str, seconds: float, cpu_seconds: float, before: int | None, peak: int) -> dict[str, Any]:
    return {
        "question": name,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_bytes_before": before,
        "peak_bytes": peak,
    }


def _server(airflow: LocalAirflow) -> psutil.Process:
    """Return the process that listens for the API server."""
    port = airflow.layout.ports["AIRFLOW_PORT"]
    pids = {
        one.pid
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port
    }
    return psutil.Process(min(pid for pid in pids if pid))


def _peak_bytes(process: psutil.Process) -> int:
    """Return the most memory a process ever had: psutil does not know it."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("the kernel does not tell the peak of a process")


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def markdown(report: dict[str, Any]) -> str:
    """Return the report for people."""
    machine = report["machine"]
    lines = [
        f"# History of many runs, measured {report['measured_at'][:10]}",
        "",
        f"Python {machine['python']}, {machine['cores']} shared cores, Airflow on SQLite beside it.",
        "Made by `python -m bench.history`.",
        "",
        f"Of each {COPIED + IDLE + FAILED} runs {COPIED} copied something, {IDLE} found nothing new, {FAILED} failed.",
        "",
        "| runs | load | question | seconds | CPU s | peak MB before | peak MB |",
        "|---:|---:|---|---:|---:|---:|---:|",
    ]
    for row in report["figures"]:
        before = f"{row['peak_bytes_before'] / 1e6:.0f}" if row["peak_bytes_before"] else "-"
        peak = f"{row['peak_bytes'] / 1e6:.0f}"
        cells = (f"{row['runs']:,}", row["load"], row["question"], row["seconds"], row["cpu_seconds"], before, peak)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
