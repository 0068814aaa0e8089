"""A bounded memory of object versions: exact for few, by groups for many.

Up to `MAX_EXACT` versions are remembered one by one, as 64 bits of a digest of key and etag. Beyond that each falls
into one of `GROUPS` groups, and a group remembers the sum of its digests: a group whose sum is the same holds the same
versions; one whose sum is another has changed, and it is not known how. So what is new is never taken for known,
whatever the number (but for a coincidence of 64 bits); only the other way round, after a removal.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from skyferry.key_order import key_bytes
from skyferry.objects import ObjectInfo

MAX_EXACT = 2_000
"""Eight bytes each; with what `skyferry.detect.settled_files` keeps beside them, 54 kB of JSON at most."""

GROUPS = 1_024

_TOKEN_BYTES = 8
_MODULUS = 2 ** (8 * _TOKEN_BYTES)


def version_token(info: ObjectInfo) -> int:
    """Return 64 bits that stand for this version of this key."""
    text = key_bytes(info.key) + b"\0" + info.etag.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_TOKEN_BYTES).digest(), "big")


class SeenObjects:
    """Which object versions were seen; memory and JSON are bounded.

    Args:
        tokens: What `version_token` returned for each.
    """

    def __init__(self, tokens: set[int] | None = None) -> None:
        self._tokens: set[int] | None = set()
        self._sums: list[int] = []
        for token in tokens or ():
            self.add(token)

    @property
    def is_exact(self) -> bool:
        """Whether each version is remembered by itself."""
        return self._tokens is not None

    def add(self, token: int) -> None:
        """Remember a version; each is added once."""
        if self._tokens is None:
            self._sums[token % GROUPS] = (self._sums[token % GROUPS] + token) % _MODULUS
            return
        self._tokens.add(token)
        if len(self._tokens) > MAX_EXACT:
            self._sums, self._tokens = _sums_of(self._tokens), None

    def folded(self) -> SeenObjects:
        """Return the same memory by groups."""
        copy = SeenObjects()
        copy._sums = list(self._sums) if self._tokens is None else _sums_of(self._tokens)
        copy._tokens = None
        return copy

    def units(self) -> dict[int, int]:
        """Return what can be compared: each version's token to itself, or the number of each group to its sum."""
        if self._tokens is None:
            return dict(enumerate(self._sums))
        return {token: token for token in self._tokens}

    @classmethod
    def from_units(cls, units: Mapping[int, int], *, is_exact: bool) -> SeenObjects:
        """Undo `units`."""
        if is_exact:
            return cls(set(units))
        made = cls().folded()
        for group, value in units.items():
            made._sums[group] = value
        return made

    def __contains__(self, token: int) -> bool:
        """Whether a version is remembered; only an exact memory knows."""
        if self._tokens is None:
            raise ValueError("a memory by groups cannot tell single versions; compare its units")
        return token in self._tokens

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values, of at most 22 kB."""
        values = self._sums if self._tokens is None else sorted(self._tokens)
        packed = b"".join(value.to_bytes(_TOKEN_BYTES, "big") for value in values)
        return {"exact" if self.is_exact else "groups": base64.b64encode(packed).decode("ascii")}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SeenObjects:
        """Undo `to_json`.

        Raises:
            ValueError: These are no such values.
        """
        is_exact = "exact" in values
        packed = base64.b64decode(str(values.get("exact", values.get("groups", ""))), validate=True)
        numbers = [
            int.from_bytes(packed[start : start + _TOKEN_BYTES], "big") for start in range(0, len(packed), _TOKEN_BYTES)
        ]
        if is_exact:
            return cls(set(numbers))
        if len(numbers) != GROUPS:
            raise ValueError(f"a memory by groups has {GROUPS} sums; found {len(numbers)}")
        return cls.from_units(dict(enumerate(numbers)), is_exact=False)


def _sums_of(tokens: set[int]) -> list[int]:
    sums = [0] * GROUPS
    for token in tokens:
        sums[token % GROUPS] = (sums[token % GROUPS] + token) % _MODULUS
    return sums
