"""Which receipts of a run belong into a route's index, and under which place: read from what the run has on record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from skyferry.errors import RequestError
from skyferry.queue_report import REPORTS_FOLDER, receipts_folder
from skyferry.receipts_index.indexing import Indexing
from skyferry.receipts_index.items import IndexPlace
from skyferry.receipts_index.writing import MAX_SECONDS, IndexKeeper, IndexWriter
from skyferry.stages import open_state
from skyferry.state import Run, StateFolder, StoreOpener, plan_folder
from skyferry.urls import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTarget:
    """One route's index, as a run has to do with it.

    Attributes:
        folder: The receipts, of one batch or consumer; empty for all batches of the newest plan.
    """

    place: IndexPlace
    writer: IndexWriter
    folder: str = ""


async def keep_index(
    targets: Sequence[IndexTarget],
    *,
    run: Run,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
    max_seconds: float | None = MAX_SECONDS,
) -> Indexing:
    """Bring the index of each route up to what a run has on record; see `IndexKeeper`.

    Args:
        max_seconds: After this time, for all targets together, the rest is left; None for as long as it takes.

    Raises:
        TransferError: The records cannot be read or written. What the index itself refuses is in the result.
    """
    total, begun = Indexing(), time.monotonic()
    async with open_state(open_store, state, state_conn_id, run) as records:
        for target in targets:
            folder = target.folder or await _all_receipts(records)
            if not folder:
                continue
            keeper = IndexKeeper(
                records=records,
                run=run,
                place=target.place,
                writer=target.writer,
                max_seconds=max_seconds,
                begun=begun,
            )
            total.add(await keeper.keep_up(folder))
    return total


async def rebuild_index(
    route_id: str,
    run_id: str,
    *,
    dag_ids: Sequence[str],
    writer: IndexWriter,
    open_store: StoreOpener,
    state: Location,
    state_conn_id: str,
) -> Indexing:
    """Write all receipts of a finished run again.

    Args:
        dag_ids: DAGs whose run it may be.

    Raises:
        RequestError: None of them has left a report of such a run, or it is about other routes.
        TransferError: The records cannot be read.
    """
    for dag_id in dag_ids:
        run = Run(dag_id=dag_id, run_id=run_id, route=route_id, started_at="")
        async with open_state(open_store, state, state_conn_id, run) as records:
            found = await _reported(records, route_id)
            if found is not None:
                destination, folder = found
                place = IndexPlace(route=route_id, destination=destination)
                keeper = IndexKeeper(records=records, run=run, place=place, writer=writer, max_seconds=None, again=True)
                return await keeper.keep_up(folder)
    raise RequestError(
        f'no finished run "{run_id}" of route "{route_id}" has left its records in {state.url}',
        hint="name a run by its whole id, as `transfer status --id ROUTE` shows it, that has come to its report",
    )


async def _all_receipts(records: StateFolder) -> str:
    _, number = await records.plan_numbers()
    return f"{plan_folder(number)}receipts/" if number else ""


async def _reported(records: StateFolder, route_id: str) -> tuple[str, str] | None:
    """Return where a run copied to for a route, as its report says, and the folder of its receipts."""
    plan = await _all_receipts(records)
    folder = plan.replace("receipts/", "reports/") if plan else REPORTS_FOLDER
    names = await records.names(folder)
    if not names:
        return None
    report = (await records.read(names[-1]))[0]
    if plan:
        return (report["destination"], plan) if report["route"] == route_id else None
    share = report["by_route"].get(route_id)
    return (share["destination"], receipts_folder(route_id)) if share else None
