"""Decides which Airflow connection a transfer may use for which place, and looks it up.

A connection of a route is good for that route's own places only: whoever may start a transfer could otherwise read
everything the connection opens by writing another URL into the request.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from skyferry.errors import ConnectionConfigError
from skyferry.urls import Location

CONNECTION_TYPES = {"s3": "aws", "az": "wasb", "gs": "google_cloud_platform"}
"""Kind of store to the type its Airflow connections have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """A place a transfer reads or writes, and the connection that opens it.

    Attributes:
        what: The place's part in the transfer: `source`, `destination`, `state`.
        conn_id: Empty for local folders.
    """

    what: str
    location: Location
    conn_id: str

    def is_below(self, other: StoreUse) -> bool:
        """Tell whether this place lies inside another one, opened with the same connection."""
        return (
            (self.location.kind, self.location.bucket, self.conn_id)
            == (other.location.kind, other.location.bucket, other.conn_id)
            and self.location.prefix.startswith(other.location.prefix)
        )  # fmt: skip


def check_connection_allowed(use: StoreUse, *, allowed: Iterable[str], route_uses: Iterable[StoreUse]) -> None:
    """Refuse a connection that neither the defaults nor the route allow for this place.

    Args:
        allowed: The `connections` of the defaults.
        route_uses: The places of the route the request names, as its file has them.

    Raises:
        ConnectionConfigError: Name another connection, or add this one to the defaults.
    """
    names = sorted(allowed)
    if use.location.kind == "file" or use.conn_id in names:
        return
    if any(use.is_below(route_use) for route_use in route_uses):
        return
    raise ConnectionConfigError(
        f'{use.what}_conn_id "{use.conn_id}" may not be used for {use.location.url}: allowed for requests are '
        + ", ".join(names),
        hint="use one of them, name a route that has this connection for this place, or add it to `connections` in "
        "include/config/defaults.yaml",
    )


def find_connection(use: StoreUse, *, known: Iterable[str]) -> Connection:
    """Return the connection of a place.

    Costs a request to Airflow, which blocks: call it outside the event loop.

    Args:
        known: Connection ids to suggest when this one does not exist.

    Raises:
        ConnectionConfigError: There is no such connection, or it is for another kind of store.
    """
    return find_connection_of_type(
        use.conn_id,
        expected=CONNECTION_TYPES[use.location.kind],
        named_by=f"{use.what} {use.location.url}",
        known=known,
    )


def find_connection_of_type(conn_id: str, *, expected: str, named_by: str, known: Iterable[str]) -> Connection:
    """Return a connection; as `find_connection`, for what is no store.

    Args:
        expected: The type it must have.
        named_by: What names it, for errors.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if (variable := _variable(conn_id)) in os.environ:
            # Airflow warns in its log of a variable it cannot read, and then looks on as if there were none.
            raise ConnectionConfigError(
                f'Airflow cannot read connection "{conn_id}", which {named_by} names, from the variable {variable}',
                hint=f'correct it; expected JSON such as {{"conn_type": "{expected}", ...}}, or a URI',
            ) from None
        raise ConnectionConfigError(
            f'there is no Airflow connection "{conn_id}", which {named_by} names',
            hint=_unknown_hint(conn_id, expected, list(known)),
        ) from None
    if connection.conn_type != expected:
        raise ConnectionConfigError(
            f'connection "{conn_id}", which {named_by} names, has the type '
            f'"{connection.conn_type}"; expected "{expected}"',
            hint="name another connection, or change its type in Airflow (Admin > Connections)",
        )
    return connection


def _variable(conn_id: str) -> str:
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def _unknown_hint(conn_id: str, expected: str, known: list[str]) -> str:
    creation = (
        f'create it with the type "{expected}" in Airflow (Admin > Connections) or as the variable {_variable(conn_id)}'
    )
    close = [name for name in difflib.get_close_matches(conn_id, known, n=1) if name != conn_id]
    return f'did you mean "{close[0]}"? Otherwise {creation}' if close else creation
