"""Peak memory of the copying process: one object of 1 GiB, and 5,000 small ones, for several pairs of stores.

    python -m bench.memory            # everything; about twelve minutes on two cores
    python -m bench.memory --quick    # 256 MiB and 1,000 objects

Each case runs the copy stage in a process of its own, after that process has imported what an idle Airflow task of
this project has imported. What counts is the highest resident memory of the process (VmHWM) above the resident memory
it had then (VmRSS). The source is moto or a local folder; the emulators are processes of their own and do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stack.components import component
from stack.environment import connections
from stack.layout import wanted_layout
from stack.running import running

LIMIT_BYTES = 300 * 10**6
"""What the project promises."""

PAIRS = (("file", "s3"), ("s3", "az"), ("s3", "gs"), ("s3", "file"), ("s3", "s3"))
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the cases, print and keep the report; 1 when a case is over the limit."""
    parser = argparse.ArgumentParser(description="Peak memory of the copying process.")
    parser.add_argument("--quick", action="store_true", help="smaller objects, for a first look")
    quick = parser.parse_args().quick
    large_bytes, small_objects = (2**28, 1_000) if quick else (2**30, 5_000)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder, emulators(Path(folder)) as environment:
        rows = []
        for source, destination in PAIRS:
            for name, count, size_bytes in (("large", 1, large_bytes), ("small", small_objects, 16 * 1024)):
                console.print(f"{source} -> {destination}: {count:,} x {size_bytes:,} bytes")
                case = {"source": source, "destination": destination, "count": count, "size_bytes": size_bytes}
                rows.append({"name": f"{source} -> {destination} {name}", **run_case(case, folder, environment)})
    console.print(table(rows))
    if not quick:
        keep(rows)
    return 0 if all(row["met"] for row in rows) else 1


@contextmanager
def emulators(folder: Path) -> Iterator[dict[str, str]]:
    """Start the emulators on free ports and yield the environment in which a case finds them."""
    with ExitStack() as stack:
        ports = {}
        for name in ("moto", "azurite", "fake-gcs-server"):
            endpoint = stack.enter_context(running(component(name), folder / name))
            ports[component(name).port_variable] = str(endpoint.port)
        environment = {**os.environ, **ports}
        environment |= connections(wanted_layout(environment))
        environment |= {"AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__UNIT_TEST_MODE": "False"}
        plugins = Path(__file__).parents[1] / "plugins"
        environment["PYTHONPATH"] = f"{plugins}{os.pathsep}{environment.get('PYTHONPATH', '')}"
        yield environment


def run_case(case: dict[str, Any], folder: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run one case in its own processes and return its measurements."""
    place = Path(folder) / secrets.token_hex(4)
    arguments = [json.dumps(case), str(place)]
    subprocess.run([sys.executable, "-m", "bench.memory_case", "fill", *arguments], env=environment, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory_case", "copy", *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    above = measured["peak_bytes"] - measured["idle_bytes"]
    return {**measured, "above_idle_bytes": above, "limit_bytes": LIMIT_BYTES, "met": above <= LIMIT_BYTES}


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the report for people."""
    shown = Table("case", "idle MB", "peak MB", "above idle MB", "seconds", "CPU s", "within 300 MB")
    for row in rows:
        megabytes = (f"{row[name] / 1e6:,.0f}" for name in ("idle_bytes", "peak_bytes", "above_idle_bytes"))
        times = (f"{row['seconds']:.1f}", f"{row['cpu_seconds']:.1f}")
        shown.add_row(row["name"], *megabytes, *times, "yes" if row["met"] else "NO")
    return shown


def keep(rows: list[dict[str, Any]]) -> None:
    """Write the report with the day's date beside the others."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    report = {"measured_at": now.isoformat(timespec="seconds"), "machine": machine, "rows": rows}
    (RESULTS / f"memory-{now.date()}.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
