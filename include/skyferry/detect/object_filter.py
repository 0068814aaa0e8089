"""Which objects below a prefix a sensor counts: by name, size and age."""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from skyferry.errors import RequestError
from skyferry.objects import ObjectInfo, json_line
from skyferry.selection import Selection

_MAX_PATTERNS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFilter:
    """What a sensor counts; everything below the prefix unless it says otherwise.

    Attributes:
        include: Keys, folders or globs as in the parameter `data`, relative to the prefix; one must take the object.
            None of them: all do.
        exclude: The same; none may take it.
        min_age_seconds: Younger objects are counted later, once they are that old by this machine's clock. Objects
            whose store tells no time count at once.
        min_size_bytes: Smaller objects are never counted.
        max_size_bytes: Larger objects are never counted; None for no limit.

    Raises:
        RequestError: A pattern is no selection, or a bound is out of range; the message says which.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    min_age_seconds: float = 0.0
    min_size_bytes: int = 0
    max_size_bytes: int | None = None
    _included: tuple[Selection, ...] = field(init=False, repr=False, compare=False, default=())
    _excluded: tuple[Selection, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_included", _selections(self.include, "include"))
        object.__setattr__(self, "_excluded", _selections(self.exclude, "exclude"))
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
        """Every counted key begins with this below the prefix, so a listing may be narrowed to it."""
        return os.path.commonprefix([one.literal_prefix for one in self._included])  # noqa: RUF071 - characters are meant

    def to_json(self) -> dict[str, Any]:
        """Return the filter as plain JSON values."""
        return {
            "include": list(self.include),
            "exclude": list(self.exclude),
            "min_age_seconds": self.min_age_seconds,
            "min_size_bytes": self.min_size_bytes,
            "max_size_bytes": self.max_size_bytes,
        }

    def takes(self, info: ObjectInfo, relative_key: str) -> bool:
        """Return whether an object counts, whatever its age: no folder marker, no symbolic link or pipe."""
        if info.unreadable_because or (not info.size_bytes and info.key.endswith("/")):
            return False
        if info.size_bytes < self.min_size_bytes or info.size_bytes > (self.max_size_bytes or info.size_bytes):
            return False
        is_included = not self._included or any(_takes(one, relative_key) for one in self._included)
        return is_included and not any(_takes(one, relative_key) for one in self._excluded)

    def is_old_enough(self, info: ObjectInfo, *, now: datetime) -> bool:
        """Return whether an object has reached the minimum age."""
        if not self.min_age_seconds or info.modified_at is None:
            return True
        return info.modified_at <= now - timedelta(seconds=self.min_age_seconds)


def scope_of(url: str, selected: ObjectFilter, **settings: Any) -> str:
    """Return a short text that changes when a sensor looks at other objects than before; it reveals nothing."""
    text = json_line({"url": url, **selected.to_json(), **settings})
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _takes(selection: Selection, relative_key: str) -> bool:
    return relative_key == selection.data or selection.matches(relative_key)


def _selections(patterns: Sequence[str], what: str) -> tuple[Selection, ...]:
    if isinstance(patterns, str):
        raise RequestError(f"{what} is a text; expected a list of keys, folders or globs", hint=f'write ["{patterns}"]')
    if len(patterns) > _MAX_PATTERNS:
        raise RequestError(f"{what} has {len(patterns)} patterns; expected at most {_MAX_PATTERNS}")
    try:
        return tuple(Selection.parse(pattern) for pattern in patterns)
    except RequestError as error:
        raise RequestError(f"{what}: {error.message}", hint=error.hint) from error
