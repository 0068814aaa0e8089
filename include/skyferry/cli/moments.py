"""Times as people give them on the command line: how long ago, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since_time(text: str) -> datetime | None:
    """Return the instant that `7d` or a date stands for; None for an empty text.

    Raises:
        typer.BadParameter: It is neither.
    """
    if not text:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if match:
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f'"{text[:40]}" is no time; expected for example 90m, 12h, 7d, 4w, 2026-11-21 or 2026-11-21T05:00',
            param_hint="'--since'",
        ) from None
    return moment.astimezone()
