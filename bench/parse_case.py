"""Parses the DAG folder as Airflow's DAG processor does, several times, and prints the median of the CPU seconds.

    python -m bench.parse_case TIMES

Airflow itself is imported before the clock starts, as it is in the processor.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def main() -> None:
    """Parse and print the seconds and the number of route DAGs."""
    from airflow.dag_processing.dagbag import DagBag

    seconds, dags = [], 0
    for _ in range(int(sys.argv[1])):
        started = time.process_time()
        bag = DagBag(str(PROJECT / "dags"))
        seconds.append(time.process_time() - started)
        if bag.import_errors:
            raise ValueError(f"the DAG files do not parse: {bag.import_errors}")
        dags = sum(dag_id.startswith("transfer__") for dag_id in bag.dags)
    print(json.dumps({"seconds": statistics.median(seconds), "dags": dags}))


if __name__ == "__main__":
    main()
