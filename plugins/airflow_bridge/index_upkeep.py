"""Writes the receipts of a run to the indexes of its routes, inside its tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skyferry.errors import TransferError
from skyferry.receipts_index.indexing import Indexing
from skyferry.receipts_index.items import IndexPlace
from skyferry.receipts_index.settings import ReceiptsIndex

if TYPE_CHECKING:
    from airflow_bridge.queue_setup import QueueSetup
    from airflow_bridge.store_opener import PreparedStores
    from airflow_bridge.transfer_setup import TransferSetup
    from skyferry.receipts_index.items import Item
    from skyferry.receipts_index.writing import IndexWriter
    from skyferry.request import TransferRequest
    from skyferry.routes import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexUse:
    """The index of one route in one run.

    Attributes:
        folder: The receipts it is about; empty for all batches of the newest plan.
    """

    settings: ReceiptsIndex
    conn_id: str
    place: IndexPlace
    folder: str = ""

    def of(self, folder: str) -> IndexUse:
        """Return the same index for the receipts of one folder."""
        return replace(self, folder=folder)


def index_use(route: Route | None, request: TransferRequest) -> IndexUse | None:
    """Return the index of a route, for what is copied to the destination of a request; None without one."""
    if route is None or route.receipts_index is None:
        return None
    place = IndexPlace(route=route.id, destination=request.destination)
    return IndexUse(settings=route.receipts_index, conn_id=route.index_conn_id, place=place)


def keep_indexes(
    uses: Sequence[IndexUse],
    setup: TransferSetup | QueueSetup,
    stores: PreparedStores,
    run_coroutine: Callable[[Coroutine[Any, Any, Indexing]], Indexing],
) -> Indexing:
    """Bring indexes up to what a run has on record; what cannot be written is in the result, and raises nothing.

    Call it outside an event loop: it asks Airflow for connections.

    Raises:
        TransferError: The records themselves cannot be read or written.
    """
    if not uses:
        return Indexing()
    # Imported here, because most routes have no index.
    from skyferry.receipts_index.upkeep import IndexTarget, keep_index

    coroutine = keep_index(
        [IndexTarget(place=use.place, writer=_writer(use), folder=use.folder) for use in uses],
        run=setup.run,
        open_store=stores,
        state=setup.state.location,
        state_conn_id=setup.state.conn_id,
    )
    return run_coroutine(coroutine)


def _writer(use: IndexUse) -> IndexWriter:
    from airflow_bridge.dynamodb_index import DynamoDbIndex

    try:
        return DynamoDbIndex(use.settings, conn_id=use.conn_id)
    except TransferError as error:
        return _UnusableIndex(error)


class _UnusableIndex:
    """Stands for an index whose connection is of no use, so that what it lacks is counted."""

    def __init__(self, error: TransferError) -> None:
        self._error = error

    def write(self, items: Sequence[Item]) -> None:
        """Write nothing, and say why."""
        del items
        raise self._error
