"""When a route runs by itself: the spellings of a schedule, and whether a text is one of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from croniter import croniter  # type: ignore[import-untyped]

from skyferry.validation_text import reason_error

EVENT = "event"
CONTINUOUS = "@continuous"
DEFAULT_BACKSTOP = "@hourly"

_TIMES = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
SCHEDULE_PRESETS = ("@once", CONTINUOUS, *_TIMES)

_CRON_RULE = 'a cron expression of five fields such as "0 5 * * *"'
SCHEDULE_RULE = f"{_CRON_RULE}, event, one of {', '.join(SCHEDULE_PRESETS)}, or none"
TIMES_RULE = f"{_CRON_RULE}, or one of {', '.join(_TIMES)}"


def schedule_from(text: str | None) -> str | None:
    """Return the schedule of a route; None when it has none.

    Raises:
        PydanticCustomError: The text is no schedule; for a validator to let through.
    """
    if text is None or text == "none":
        return None
    if text == EVENT or text in SCHEDULE_PRESETS or _is_cron(text):
        return text
    raise _unknown(text, SCHEDULE_RULE, (EVENT, *SCHEDULE_PRESETS))


def times_from(text: str) -> str:
    """Return the times at which something is done again and again.

    Raises:
        PydanticCustomError: The text says none; for a validator to let through.
    """
    if text in _TIMES or _is_cron(text):
        return text
    raise _unknown(text, TIMES_RULE, _TIMES)


def _unknown(text: str, rule: str, names: tuple[str, ...]) -> Exception:
    close = difflib.get_close_matches(text[:40], names, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return reason_error(f'found "{text[:80]}"; expected {rule}{hint}')


def _is_cron(text: str) -> bool:
    # croniter also takes seconds, years and random fields (R), which would give another schedule at each parse.
    is_plain = len(text) <= 100 and len(text.split()) == 5 and not _has_random_field(text)
    if not is_plain or not croniter.is_valid(text):
        return False
    return _fires(lambda: croniter(text).get_next(float))


def _has_random_field(text: str) -> bool:
    return any(field[:1] in {"R", "r", "H", "h"} for field in text.split())


def _fires(next_time: Callable[[], object]) -> bool:
    try:
        next_time()
    except ValueError:  # 31 February
        return False
    return True
