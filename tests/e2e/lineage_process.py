"""Runs DAGs in a process of its own, whose lineage is on; the tests' process keeps it off.

    python -m tests.e2e.lineage_process <file.json>

The file holds a list of {"dag_id", "conf", "dags_folder", "logical_date"}; how they ended is written beside it.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path


def main(file: str) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    ended = []
    bags: dict[str, DagBag] = {}
    for asked in json.loads(Path(file).read_text()):
        folder = asked["dags_folder"]
        if folder not in bags:
            bags[folder] = DagBag(folder)
            assert bags[folder].import_errors == {}
            sync_bag_to_db(bags[folder], "dags-folder", None)
        started = time.monotonic()
        # A run's id is made of `run_after`; asked for again, the run is cleared.
        date = datetime.fromisoformat(asked["logical_date"]) if "logical_date" in asked else datetime.now(UTC)
        dag_run = bags[folder].dags[asked["dag_id"]].test(run_after=date, logical_date=date, run_conf=asked["conf"])
        seconds = time.monotonic() - started
        ended.append({"run_id": dag_run.run_id, "state": str(dag_run.state), "seconds": seconds})
    Path(file).with_suffix(".ended").write_text(json.dumps(ended))


if __name__ == "__main__":
    main(sys.argv[1])
