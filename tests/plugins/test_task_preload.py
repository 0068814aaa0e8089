"""What the scheduler imports ahead of its tasks; in processes of their own, because imports cannot be undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from airflow_bridge.task_preload import MODULES, PRELOAD_VARIABLE
from tests.airflow_home import PROJECT

_OWN = ("airflow_bridge", "operators", "route_dags", "sensors", "skyferry", "transfer_api", "triggers")
_START = f"""
import sys, threading, json
sys.path.insert(0, {str(PROJECT / "plugins")!r})
from airflow.jobs.job import Job
from airflow_bridge.task_preload import PreloadListener
class TaskRunnerMarker: pass
before = set(sys.modules)
"""
_OPENING_STORES = """
at_start = set(sys.modules)
import airflow_bridge.azure_access, airflow_bridge.gcs_access, airflow_bridge.s3_access
import airflow_bridge.lineage_datasets, airflow_bridge.transfer_lineage
print(json.dumps({"preloaded": sorted(at_start - before), "later": sorted(set(sys.modules) - at_start),
                  "threads": threading.active_count()}))
"""


def imported(component: str, *, parts: str, script: str) -> Any:
    """Tell the listener that a component starts; return what the script prints."""
    start = f"PreloadListener().on_starting(component={component})\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _START + start + script],
        env={**os.environ, PRELOAD_VARIABLE: parts},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_was_preloaded_leaves_the_stores_little_to_import_and_no_thread_that_a_fork_would_lose():
    found = imported("Job()", parts=" ".join(MODULES), script=_OPENING_STORES)
    assert not [name for name in found["preloaded"] if name.split(".")[0] in _OWN], "an edit would not count"
    others = [name for name in found["later"] if name.split(".")[0] not in _OWN]
    assert len(others) < 30, others
    assert found["threads"] == 1


def test_a_task_and_an_unset_variable_preload_nothing():
    script = 'print(json.dumps([sorted(set(sys.modules) - before), "aiobotocore" in sys.modules]))\n'
    assert imported("TaskRunnerMarker()", parts="s3 az", script=script) == [[], False]
    assert imported("Job()", parts="", script=script)[1] is False


def test_an_unknown_part_is_told_and_harmless():
    script = 'print(json.dumps("uvloop" in sys.modules))\n'
    assert imported("Job()", parts="s4", script=script) is True
