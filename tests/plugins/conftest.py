"""The bridge and the operators, without DAG runs."""

from __future__ import annotations

from tests.airflow_home import use_own_airflow

use_own_airflow()
