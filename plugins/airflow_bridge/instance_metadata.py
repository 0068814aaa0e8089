"""Whether credentials may come from the cloud machine's own metadata address (169.254.169.254 and the like).

By default they may not: on a machine that has a role, an empty connection would otherwise silently act with the rights
of the machine, and elsewhere every task would wait for an address that never answers. A connection whose extra holds
`"use_instance_metadata": true` says that this is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skyferry.errors import ConnectionConfigError

EXTRA_FIELD = "use_instance_metadata"


def uses_instance_metadata(extra: Mapping[str, Any]) -> bool:
    """Tell whether a connection asks for the machine's own credentials."""
    return extra.get(EXTRA_FIELD) in (True, "true", "True")


def no_credentials_error(conn_id: str, *, give: str) -> ConnectionConfigError:
    """Return the error for a connection that holds no credentials and may not use the machine's.

    Args:
        give: Which fields would hold some.
    """
    return ConnectionConfigError(
        f'connection "{conn_id}" has no credentials: expected {give}',
        hint=f'add them in Airflow (Admin > Connections), or set the extra "{EXTRA_FIELD}": true to use the rights of '
        "the machine the task runs on",
    )
