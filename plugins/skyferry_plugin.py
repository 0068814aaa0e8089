"""Registers Skyferry with Airflow.

The operators need no registration: Airflow puts this folder on the import path, and DAG files import them by name.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class SkyferryPlugin(AirflowPlugin):
    """What Airflow lists under its plugins."""

    name = "skyferry"
