"""The DAG folder, parsed once."""

from __future__ import annotations

import pytest

from tests.airflow_home import PROJECT, use_own_airflow

use_own_airflow()


@pytest.fixture(scope="session")
def dag_bag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(PROJECT / "dags"))
