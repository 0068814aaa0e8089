"""What became of each object a verb has worked on, told one by one as it is decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one object.

    Attributes:
        url: Of the object that was named.
        destination: Of what it was copied or renamed to; empty for `rm`.
        outcome: `copied`, `renamed`, `removed`; `skipped` (it was there already, or is unwanted), `already_gone`,
            `refused`, `failed`; `planned` in a dry run.
        verified_by: What proved a copy: an algorithm's name, `etag` or `readback`.
        reason: Why, where there is something to say.
    """

    url: str
    destination: str = ""
    outcome: str
    size_bytes: int
    verified_by: str = ""
    reason: str = ""


OnRow = Callable[[Row], None]
"""Is told of every object; must not take long, and holds what it wants to keep."""
