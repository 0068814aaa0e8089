"""What has a target but no rival: planning many keys, parsing many routes, and what Airflow adds to a transfer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.dag_run_overhead import FAILED_OVERHEAD, dag_run_seconds, overhead_rows
from bench.experiments import Scale
from bench.process_cost import ProcessCost, run_program
from demo.files import DemoError

MAX_PLAN_BYTES = 300 * 10**6
MAX_PARSE_SECONDS = 1.0
ROUTES = 100
PROJECT = Path(__file__).parents[1]
_PARSES = 5


def single_figures(scale: Scale, *, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure them and return a row for each."""
    return [*_plan_rows(scale, say), _parse_row(say), *_overhead_rows(scale, say)]


def _overhead_rows(scale: Scale, say: Callable[[str], None]) -> list[dict[str, Any]]:
    say("one small object as a DAG run, on a local stack of its own")
    with tempfile.TemporaryDirectory(prefix="skyferry-stack-", ignore_cleanup_errors=True) as folder:
        try:
            return overhead_rows(dag_run_seconds(Path(folder), runs=scale.runs, say=say))
        except (RuntimeError, DemoError, subprocess.TimeoutExpired) as error:
            say(f"  failed: {error}")
            return [FAILED_OVERHEAD]


def _plan_rows(scale: Scale, say: Callable[[str], None]) -> list[dict[str, Any]]:
    costs: dict[int, ProcessCost] = {}
    for keys in scale.planned_keys:
        costs[keys] = run_program([sys.executable, "-m", "bench.plan_case", str(keys)], environment=os.environ)
        told = costs[keys].told
        say(f"plan of {keys:,} keys against {keys:,}: {told['seconds']:.1f} s, {told['above_idle_bytes'] / 1e6:.0f} MB")
    rows = []
    for keys, cost in costs.items():
        name = f"plan of {keys:,} keys against {keys:,} keys"
        megabytes, seconds = cost.told["above_idle_bytes"] / 1e6, cost.told["seconds"]
        rows.append(_row(f"{name}: memory above idle, MB", megabytes, MAX_PLAN_BYTES / 1e6))
        rows.append(_row(f"{name}: microseconds a key", seconds / keys * 1e6, None))
    return rows


def _parse_row(say: Callable[[str], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="skyferry-routes-") as folder:
        write_routes(Path(folder))
        environment = {
            **os.environ,
            "SKYFERRY_CONFIG": folder,
            "AIRFLOW_HOME": f"{folder}/airflow",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        cost = run_program([sys.executable, "-m", "bench.parse_case", str(_PARSES)], environment=environment)
    if cost.told["dags"] != ROUTES:
        raise ValueError(f"{cost.told['dags']} of {ROUTES} routes became DAGs")
    say(f"{ROUTES} routes parsed in {cost.told['seconds']:.2f} s")
    return _row(f"parse of {ROUTES} route files, CPU seconds", cost.told["seconds"], MAX_PARSE_SECONDS)


def write_routes(folder: Path) -> None:
    """Write route files that use what a route commonly uses."""
    routes = folder / "routes"
    routes.mkdir()
    for number in range(ROUTES):
        route = {
            "id": f"route-{number:03d}",
            "source": {"url": f"s3://bench-source/{number:03d}/"},
            "destination": {"url": f"az://bench-destination/{number:03d}/"},
            "schedule": "0 * * * *",
        }
        # JSON is YAML.
        (routes / f"route-{number:03d}.yaml").write_text(json.dumps(route, indent=2) + "\n")


def _row(name: str, value: float, limit: float | None) -> dict[str, Any]:
    target = "stated" if limit is None else f"<= {limit:g}"
    met = None if limit is None else value <= limit
    return {
        "name": name,
        "ours": float(f"{value:.4g}"),
        "rival": limit,
        "rival_name": "" if limit is None else "limit",
        "ratio": None if limit is None else float(f"{value / limit:.3g}"),
        "target": target,
        "met": met,
    }
