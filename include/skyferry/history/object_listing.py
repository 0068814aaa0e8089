"""The objects of a run, one by one, through the REST API in Airflow: who asks needs no credentials of a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from skyferry.run_objects import BEGINNING, RunObject

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi
    from skyferry.history.transfer_run import TransferRun

PAGE_OBJECTS = 100
FAILED_OUTCOMES = ("failed", "refused")
"""How objects end that make their run fail."""


def list_objects(api: AirflowApi, run: TransferRun, *, outcomes: Sequence[str] = ()) -> Iterator[tuple[RunObject, ...]]:
    """Yield what became of the objects of a run, page by page; memory holds one.

    Costs one request for each hundred objects, and for each outcome asked for about one for each 16 batches.

    Args:
        outcomes: Only objects that ended so, those of the first one first.

    Raises:
        UnknownRunError: There is no such run.
        AirflowRefusedError: The records cannot be read, or that Airflow has no REST API of Skyferry.
    """
    for outcome in outcomes or ("",):
        cursor: str | None = BEGINNING
        while cursor is not None:
            page = api.objects(run.dag_id, run.run_id, outcome=outcome, cursor=cursor, limit=PAGE_OBJECTS)
            if page["objects"]:
                yield tuple(_object(each) for each in page["objects"])
            cursor = page["next_cursor"]


def _object(values: Mapping[str, Any]) -> RunObject:
    # A newer server may say more.
    known = {one.name: values[one.name] for one in fields(RunObject) if one.name in values}
    return RunObject(**{**known, "lost": tuple(known.get("lost", ()))})
