"""How a program gets the stores its URLs name: local folders at once, all others by somebody's connections.

The library knows no connections. Whoever does (the Airflow bridge) says so as an entry point of the group
`skyferry.store_openers`, a function as `ConnectedOpener` describes it. It is loaded when the first store that needs a
connection is opened, because that may import an application. docs/adr/0021-verbs-use-airflows-connections.md says why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from skyferry.bandwidth import Bandwidth
from skyferry.errors import ConnectionConfigError
from skyferry.paced_store import PacedStores
from skyferry.request import DEFAULT_CONN_IDS
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.urls import Location

OPENERS_GROUP = "skyferry.store_openers"


class ConnectedOpener(Protocol):
    """Opens one bucket with the credentials a connection id stands for."""

    def __call__(self, location: Location, conn_id: str, *, max_requests: int) -> AbstractAsyncContextManager[Store]:
        """Return a context that yields the store and closes it.

        Args:
            max_requests: How many may run at the same time.

        Raises:
            ConnectionConfigError: There is no such connection, or it is of no use for this store.
        """


def open_with(conn_id: str, *, max_in_flight: int, opener: ConnectedOpener | None = None) -> PacedStores:
    """Return what opens stores with one connection, each of them at the pace it takes.

    Args:
        conn_id: Empty for the default connection of each kind of store.
        opener: By default the installed one, looked for when the first store needs it.
    """
    default_conn_id = conn_id

    @asynccontextmanager
    async def open_store(location: Location, conn_id: str) -> AsyncIterator[Store]:
        if location.kind == "file":
            yield LocalStore(Path(location.bucket))
            return
        chosen = conn_id or default_conn_id or DEFAULT_CONN_IDS[location.kind]
        connected = opener or cast("ConnectedOpener", installed(OPENERS_GROUP, location.url))
        async with connected(location, chosen, max_requests=max_in_flight) as store:
            yield store

    return PacedStores(
        open_store, max_in_flight=max_in_flight, max_requests_per_second=None, bandwidth=Bandwidth.parse(""), share=1.0
    )


def installed(group: str, place: str) -> object:
    """Return the function that is registered under an entry point group.

    Args:
        place: What it is needed for, for messages.

    Raises:
        ConnectionConfigError: There is none, or it cannot be imported here.
    """
    found = sorted(entry_points(group=group), key=lambda each: each.name)
    if not found:
        raise ConnectionConfigError(
            f"{place} cannot be opened: nothing that knows connections is installed beside this command",
            hint="install the project in this environment (`make install`, or `pip install -e .`); local folders need "
            "no connection",
        )
    try:
        return cast("object", found[0].load())
    except ImportError as error:
        raise ConnectionConfigError(
            f"{place} cannot be opened: its connection is Airflow's, and {error.name or 'Airflow'} cannot be "
            "imported here",
            hint="run the command with the Python that Airflow is installed for; local folders need no connection",
        ) from error
