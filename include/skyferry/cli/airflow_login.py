"""How commands reach Airflow; its client is imported only by commands that need it, because that takes a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi


def connect() -> AirflowApi:
    """Return the Airflow that the environment, a file or the local stack names.

    Raises:
        AirflowAccessError: None is known, or it refuses the login.
        AirflowUnreachableError: It does not answer.
    """
    from skyferry.history.airflow_access import find_access
    from skyferry.history.airflow_api import AirflowApi

    return AirflowApi(find_access())
