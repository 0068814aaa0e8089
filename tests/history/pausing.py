"""Keeps the DAG `transfer` from starting runs, so that one can be looked at before it begins."""

from __future__ import annotations

from airflow_client.client.models.dag_patch_body import DAGPatchBody

from skyferry.history.airflow_api import AirflowApi


def pause(api: AirflowApi) -> None:
    api._dags.patch_dag("transfer", DAGPatchBody(is_paused=True))
