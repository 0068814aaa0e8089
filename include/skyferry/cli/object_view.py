"""Shows the objects of a run: page by page in a table for people, one by one as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from skyferry.cli.output import say, size_text, write_json_items, write_table

if TYPE_CHECKING:
    from pydantic import JsonValue

    from skyferry.history.transfer_run import TransferRun
    from skyferry.run_objects import RunObject

Pages = Iterable[tuple["RunObject", ...]]

_HEADINGS = ("outcome", "size", "proof", "key", "reason")
_NUMBERS = ("size",)
_WIDTHS = (8, 9, 9)
"""Of outcome, size and proof: enough for `readback` and `1,000.0 GB`."""


def write_objects(pages: Pages) -> None:
    """Write the objects of a run, each page as a table; what is missing or lost is said with the reason."""
    total = 0
    for page in pages:
        write_table(_HEADINGS, (_row(one) for one in page), numbers=_NUMBERS, widths=_WIDTHS)
        total += len(page)
    say(f"{total:,} objects" if total != 1 else "1 object")


def write_objects_json(run: TransferRun, pages: Pages) -> None:
    """Write the document of a run's objects, as they come."""
    from skyferry.cli.documents import as_json, objects_document

    head = cast("dict[str, JsonValue]", as_json(objects_document(run)))
    del head["objects"]
    write_json_items(head, "objects", (as_json(one) for page in pages for one in page))


def _row(one: RunObject) -> tuple[str, ...]:
    proof = one.verified_by or (one.evidence if one.outcome == "skipped" else "")
    return one.outcome, size_text(one.size_bytes), proof, one.key, "; ".join(_reasons(one))


def _reasons(one: RunObject) -> Iterator[str]:
    if one.reason:
        yield one.reason
    yield from one.lost
    if one.deleted_at_source:
        yield "deleted at the source"
