"""Which objects a run brought to its destination, by its receipts; for what is to follow the transfer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from skyferry.queue_report import receipts_folder
from skyferry.records import Outcome, Receipt
from skyferry.run_objects import BEGINNING, read_objects
from skyferry.stages import open_state
from skyferry.state import Run, StoreOpener
from skyferry.urls import Location

_OBJECTS_PER_PAGE = 1_000


async def copied_keys(
    run: Run, *, open_store: StoreOpener, state: Location, state_conn_id: str, route_id: str | None = None
) -> list[str]:
    """Return the destination keys of all objects a run copied, each once, in the order of the keys.

    Costs the run's records once; memory grows with the number of keys (about 150 bytes each).

    Args:
        route_id: Only what was copied for this route, where a run serves several (one that consumes a queue).

    Raises:
        TransferError: The records cannot be read.
    """
    keys: set[str] = set()
    if route_id is None:
        cursor: str | None = BEGINNING
        while cursor is not None:
            page = await read_objects(
                run,
                open_store=open_store,
                state=state,
                state_conn_id=state_conn_id,
                is_finished=True,
                outcome=Outcome.COPIED.value,
                limit=_OBJECTS_PER_PAGE,
                cursor=cursor,
            )
            keys.update(one.destination_key for one in page.objects)
            cursor = page.next_cursor
        return sorted(keys)
    async with open_state(open_store, state, state_conn_id, run) as records:
        receipts: AsyncIterator[dict[str, object]] = records.rows(receipts_folder(route_id))
        async for row in receipts:
            receipt = Receipt.from_json(row)
            if receipt.outcome is Outcome.COPIED:
                keys.add(receipt.destination_key)
    return sorted(keys)
