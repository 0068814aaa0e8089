"""Which objects below a source count: by name, size and age. The plan, the sensors and the queues all ask here."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from skyferry.errors import RequestError
from skyferry.keys import is_probe_key
from skyferry.objects import ObjectInfo
from skyferry.selection import Selection

MAX_PATTERNS = 64
"""Patterns in one list; each costs time for every object that is listed."""

TOO_SMALL = "too_small"
TOO_LARGE = "too_large"
TOO_YOUNG = "too_young"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFilter:
    """What counts; everything below the source unless it says otherwise. Keys are relative to the source.

    Attributes:
        data: A key, a folder or a glob as in the parameter `data`; empty for everything.
        include: Keys, folders or globs; one of them must take the object. None of them: all do.
        exclude: The same; none may take it.
        min_age_seconds: Younger objects count later, once they are that old by this machine's clock. Objects whose
            store tells no time count at once.
        min_size_bytes: Smaller objects never count.
        max_size_bytes: Larger objects never count; None for no limit.

    Raises:
        RequestError: A pattern is no selection, or a bound is out of range; the message says which.
    """

    data: str = ""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    min_age_seconds: float = 0.0
    min_size_bytes: int = 0
    max_size_bytes: int | None = None
    _data: Selection = field(init=False, repr=False, compare=False)
    _included: tuple[Selection, ...] = field(init=False, repr=False, compare=False)
    _excluded: tuple[Selection, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_data", Selection.parse(self.data))
        object.__setattr__(self, "_included", parse_patterns(self.include, what="include"))
        object.__setattr__(self, "_excluded", parse_patterns(self.exclude, what="exclude"))
        if self.min_age_seconds < 0:
            raise RequestError(f"min_age_seconds is {self.min_age_seconds}; expected 0 or more seconds")
        largest = self.max_size_bytes
        if self.min_size_bytes < 0 or (largest is not None and largest < self.min_size_bytes):
            raise RequestError(
                f"min_size_bytes is {self.min_size_bytes} and max_size_bytes is {largest}; expected 0 or more bytes, "
                "and a maximum that is not below the minimum"
            )

    @property
    def literal_prefix(self) -> str:
        """Every key that `names` takes begins with this, so a listing may be narrowed to it."""
        # When neither begins with the other nothing is taken, and either of them lists little.
        return max(_literal_prefix(self._data), self.included_prefix, key=len)

    @property
    def included_prefix(self) -> str:
        """Every key that `includes` takes begins with this."""
        return os.path.commonprefix([_literal_prefix(one) for one in self._included])  # noqa: RUF071 - characters

    def to_json(self) -> dict[str, Any]:
        """Return the filter as plain JSON values."""
        return {
            "data": self.data,
            "include": list(self.include),
            "exclude": list(self.exclude),
            "min_age_seconds": self.min_age_seconds,
            "min_size_bytes": self.min_size_bytes,
            "max_size_bytes": self.max_size_bytes,
        }

    def names(self, relative_key: str) -> bool:
        """Return whether an object of this name may count; takes time in proportion to patterns times key."""
        return _takes(self._data, relative_key) and self.includes(relative_key) and not is_probe_key(relative_key)

    def includes(self, relative_key: str) -> bool:
        """Return the same by `include` and `exclude` only, for callers who have dealt with `data`."""
        is_included = not self._included or any(_takes(one, relative_key) for one in self._included)
        return is_included and not any(_takes(one, relative_key) for one in self._excluded)

    def unwanted_because(self, info: ObjectInfo, *, now: datetime) -> str:
        """Return why an object of a right name does not count: `too_small`, `too_large`, `too_young`; else nothing."""
        if info.size_bytes < self.min_size_bytes:
            return TOO_SMALL
        if self.max_size_bytes is not None and info.size_bytes > self.max_size_bytes:
            return TOO_LARGE
        return TOO_YOUNG if self.seconds_too_young(info, now=now) else ""

    def seconds_too_young(self, info: ObjectInfo, *, now: datetime) -> float:
        """Return in how many seconds an object reaches the minimum age; 0 when it has."""
        if not self.min_age_seconds or info.modified_at is None:
            return 0.0
        ripe_at = info.modified_at + timedelta(seconds=self.min_age_seconds)
        return max((ripe_at - now).total_seconds(), 0.0)

    def counts(self, info: ObjectInfo, relative_key: str, *, now: datetime) -> bool:
        """Return whether a listed object is work: by name, size and age, and no folder marker, link or pipe."""
        if info.unreadable_because or (not info.size_bytes and info.key.endswith("/")):
            return False
        return self.names(relative_key) and not self.unwanted_because(info, now=now)


def parse_patterns(patterns: Sequence[str], *, what: str) -> tuple[Selection, ...]:
    """Return the selections of a list of patterns.

    Args:
        what: The name of the list, for messages.

    Raises:
        RequestError: It is no list, too long, or one of them is no selection.
    """
    if isinstance(patterns, str):
        raise RequestError(f"{what} is a text; expected a list of keys, folders or globs", hint=f'write ["{patterns}"]')
    if len(patterns) > MAX_PATTERNS:
        raise RequestError(f"{what} has {len(patterns)} patterns; expected at most {MAX_PATTERNS}")
    if not all(patterns):
        raise RequestError(f"{what} holds an empty pattern", hint="leave it out")
    try:
        return tuple(Selection.parse(pattern) for pattern in patterns)
    except RequestError as error:
        raise RequestError(f"a pattern of {what} {error.message.removeprefix('data ')}", hint=error.hint) from error


def _takes(selection: Selection, relative_key: str) -> bool:
    return relative_key == selection.data or selection.matches(relative_key)


def _literal_prefix(selection: Selection) -> str:
    """Return what the object of exactly the pattern's name begins with too (`{ab,ac}` takes `ab`, and `{ab,ac}`)."""
    return os.path.commonprefix([selection.literal_prefix, selection.data])  # noqa: RUF071 - characters are meant
