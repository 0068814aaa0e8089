"""Registers Skyferry with Airflow: the REST API, the Transfers page, and what is imported ahead of tasks.

The operators need no registration: Airflow puts this folder on the import path, and DAG files import them by name.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_bridge.task_preload import PreloadListener

_PAGE_ICON = "transfer/v1/page/icon.svg"


class SkyferryPlugin(AirflowPlugin):
    """What Airflow lists under its plugins."""

    name = "skyferry"
    listeners = [PreloadListener()]  # noqa: RUF012 - as Airflow declares it
    external_views = [  # noqa: RUF012 - Airflow takes what it refuses out of this list
        {
            "name": "Transfers",
            "href": "transfer/v1/page/",
            "destination": "nav",
            "url_route": "transfers",
            "icon": _PAGE_ICON,
            "icon_dark_mode": _PAGE_ICON,
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The REST API; made when the API server asks, because every worker loads this file and none needs it."""
        from transfer_api.api_application import URL_PREFIX, build_api

        return [{"app": build_api(), "url_prefix": URL_PREFIX, "name": "Skyferry"}]
