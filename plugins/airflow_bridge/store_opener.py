"""Turns the connections of a transfer into stores: the one place where credentials meet the library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from airflow.sdk import Connection

from airflow_bridge.transfer_connections import StoreUse, find_connection
from skyferry.stores.base import Store
from skyferry.urls import Location


class _Access(Protocol):
    """The buckets one connection opens."""

    def open(self, bucket: str) -> AbstractAsyncContextManager[Store]: ...


class PreparedStores:
    """Opens the stores of one transfer; a `skyferry.state.StoreOpener`.

    Airflow answers questions about connections synchronously, which would block an event loop; so all are asked when
    this is made, before the loop starts. No store is contacted until one is opened.

    Args:
        uses: The places that will be opened; each connection is looked up once.
        known_connections: Connection ids to suggest for one that does not exist.
        max_objects_in_flight: Size of each connection pool.

    Raises:
        ConnectionConfigError: A connection does not exist, is of the wrong type or holds no usable credentials.
    """

    def __init__(
        self, uses: Iterable[StoreUse], *, known_connections: Iterable[str], max_objects_in_flight: int
    ) -> None:
        known = list(known_connections)
        self._accesses: dict[tuple[str, str], _Access] = {}
        for use in uses:
            place = (use.location.kind, use.conn_id)
            if use.location.kind != "file" and place not in self._accesses:
                connection = find_connection(use, known=known)
                self._accesses[place] = _access(use.location.kind, connection, max_objects_in_flight)

    def __call__(self, location: Location, conn_id: str) -> AbstractAsyncContextManager[Store]:
        """Return a context that yields the store and closes it."""
        if location.kind == "file":
            return _open_folder(Path(location.bucket))
        return self._accesses[location.kind, conn_id].open(location.bucket)

    def account_name(self, use: StoreUse) -> str:
        """Return the account a place's connection belongs to, for the stores that put it into names; else nothing."""
        return str(getattr(self._accesses.get((use.location.kind, use.conn_id)), "account_name", ""))


def _access(kind: str, connection: Connection, max_objects_in_flight: int) -> _Access:
    # Imported here, because each pulls in a vendor's client: seconds, and hundreds of megabytes, for one of three.
    if kind == "s3":
        from airflow_bridge.s3_access import S3Access

        return S3Access(connection, max_objects_in_flight=max_objects_in_flight)
    if kind == "az":
        from airflow_bridge.azure_access import AzureAccess

        return AzureAccess(connection, max_objects_in_flight=max_objects_in_flight)
    from airflow_bridge.gcs_access import GcsAccess

    return GcsAccess(connection, max_objects_in_flight=max_objects_in_flight)


@asynccontextmanager
async def _open_folder(root: Path) -> AsyncIterator[Store]:
    from skyferry.stores.local import LocalStore

    yield LocalStore(root)
