"""The commands of the guide work as they stand there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.docs.pages import page
from tests.local_airflow import LocalAirflow

pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_guide_do_what_it_says(airflow_services: LocalAirflow) -> None:
    script = "\n".join(block.text for block in page("docs/guide/rest.md").blocks if block.language == "bash")
    # Each answer on a line of its own, so that it can be told from the next.
    script = script.replace('"$@"; }', '"$@"; echo; }').replace('/health"', '/health"; echo')
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, "AIRFLOW__API__BASE_URL": airflow_services.url, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    health, routes, first, second, runs, statistics, rung = (json.loads(line) for line in done.stdout.splitlines())
    assert health["status"] == "healthy"
    assert "orders" in {route["id"] for route in routes["routes"]}
    assert (first["route"], first["run_id"]) == ("orders", second["run_id"])
    assert first["run_id"] in {run["run_id"] for run in runs["runs"]}
    assert "orders" in {group["name"] for group in statistics["groups"]}
    assert (rung["objects"], rung["rings"], rung["reason"]) == (1, [], "no route reads these objects")
