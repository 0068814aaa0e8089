"""Finds receipts in the index of a route.

The library knows no connections. Whoever does (the Airflow bridge) says so as an entry point of the group
`skyferry.receipts_indexes`, a function as `IndexOpener` describes it: as for stores, see `skyferry.storage.opening`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from skyferry.errors import RequestError
from skyferry.receipts_index.indexing import Indexing
from skyferry.receipts_index.items import IndexedReceipt, IndexPlace, Item, range_prefix, receipt_of
from skyferry.storage.opening import installed

if TYPE_CHECKING:
    from skyferry.routes import Route

OPENERS_GROUP = "skyferry.receipts_indexes"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexQuery:
    """What is looked for.

    Attributes:
        hash_key: Empty to read the whole table.
        range_begins_with: What the range keys begin with.
        equal: Attribute to the value it has.
        since: What `finished_at` is not before; empty for any.
    """

    hash_key: str
    range_begins_with: str
    equal: tuple[tuple[str, str], ...]
    since: str


class RouteIndex(Protocol):
    """The index of one route."""

    def find(self, query: IndexQuery) -> Iterator[Item]:
        """Yield items, page by page as they come; those of one hash key in the order of their range keys. Blocks.

        Raises:
            TransferError: The table cannot be read.
        """

    def rebuild(self, run_id: str) -> Indexing:
        """Write all receipts of a run again, from its records; blocks.

        Raises:
            RequestError: The run has left no report, or was not this route's.
            TransferError: Its records cannot be read.
        """


class IndexOpener(Protocol):
    """Opens the index of a route with the credentials its connection id stands for."""

    def __call__(self, route: Route) -> RouteIndex:
        """Return the index; nothing is requested of it yet.

        Raises:
            ConnectionConfigError: There is no such connection, or it is of no use.
        """


def open_index(route: Route, opener: IndexOpener | None = None) -> RouteIndex:
    """Return the index of a route.

    Args:
        opener: By default the installed one.

    Raises:
        RequestError: The route has no index.
        ConnectionConfigError: Its connection is of no use, or nothing that knows connections is installed.
    """
    if route.receipts_index is None:
        raise RequestError(
            f'route "{route.id}" has no index of receipts',
            hint="add receipts_index: {dynamodb: TABLE} to its file, and create the table with: transfer provision",
        )
    table = f"DynamoDB table {route.receipts_index.dynamodb}"
    connected = opener or cast("IndexOpener", installed(OPENERS_GROUP, table))
    return connected(route)


def find_receipts(
    index: RouteIndex,
    route: Route,
    *,
    key_begins_with: str = "",
    since: str = "",
    run_id: str = "",
    scan: bool = False,
) -> Iterator[IndexedReceipt]:
    """Yield the receipts of a route; for its present destination by key, and for each key by time.

    Costs what the keys cost that begin so, whatever else is asked for: DynamoDB charges for what it reads.

    Args:
        key_begins_with: Beginning of the keys of the objects, exactly.
        since: ISO 8601 in UTC; empty for any time.
        run_id: Only this run's.
        scan: Read the whole table, and so find the receipts of all destinations the route has had; in no order.

    Raises:
        TransferError: The table cannot be read.
    """
    place = IndexPlace(route=route.id, destination=route.request().destination)
    query = IndexQuery(
        hash_key="" if scan else place.hash_key,
        range_begins_with=range_prefix(key_begins_with),
        equal=_equal(route.id if scan else "", run_id),
        since=since,
    )
    for item in index.find(query):
        found = receipt_of(item)
        if found.receipt.key.startswith(key_begins_with):
            yield found


def _equal(route_id: str, run_id: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in (("route", route_id), ("run_id", run_id)) if value)
