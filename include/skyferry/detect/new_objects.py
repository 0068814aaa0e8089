"""New and changed objects below a prefix: one listing compared with a watermark that stays small.

The watermark is the newest modification time seen, and a bounded memory of the versions that are at most
`overlap_seconds` older. An object is new when it is younger than all that was seen, or inside that overlap and not
among the seen versions:

| object | counts |
|---|---|
| modified after the newest one seen | yes |
| inside the overlap, version not seen (a late or an overwritten one) | yes |
| inside the overlap, version seen | no |
| older than the overlap | no: it was there when the overlap passed over it |
| its store tells no time, or it is a local file | as if it were inside the overlap |

An object can appear with an old time: S3 dates an object that was uploaded in parts at the *start* of its upload, and a
listing may lag. The overlap has to be longer than the longest upload.

Nothing is consumed, and the answer is a doorbell: the run that follows lists for itself.
Source: Last-Modified, https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from skyferry.detect.seen_objects import SeenObjects, version_token
from skyferry.detect.watch_scope import scope_of
from skyferry.errors import printable
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectInfo, json_line
from skyferry.stores.base import Store

DEFAULT_OVERLAP_SECONDS = 24 * 3600.0
"""Longer than the uploads people wait for; costs no request, since the listing is whole anyway."""

MAX_FIRST_KEYS = 5
_MAX_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What a look at a source found; nothing of it was consumed.

    Attributes:
        objects: How many are new; 0 means that there is no work. When not `is_exact`, about how many, and never 0
            when there are some.
        size_bytes: Their content, as far as it is known.
        first_keys: The first of them, each printable and at most 200 characters long, for a log.
        waiting: How many are new but not settled yet (see `skyferry.detect.settled_files`).
        settles_in_seconds: When the first of those will be, if it stays as it is; None when none waits.
        is_exact: Whether each version was compared by itself, or thousands of them by groups.
        watermark: What the next look is to be given, JSON of at most 60,000 bytes.
    """

    objects: int
    size_bytes: int
    first_keys: tuple[str, ...]
    waiting: int = 0
    settles_in_seconds: float | None = None
    is_exact: bool = True
    watermark: str

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values; no key is in them, so they may travel through Airflow."""
        return {"objects": self.objects, "size_bytes": self.size_bytes, "is_exact": self.is_exact}


def shown_key(key: str) -> str:
    """Return a key as a log may show it: on one line, and not endless."""
    shown = printable(key)
    return shown if len(shown) <= _MAX_SHOWN_CHARACTERS else shown[: _MAX_SHOWN_CHARACTERS - 3] + "..."


async def find_new_objects(
    store: Store,
    prefix: str,
    *,
    selected: ObjectFilter,
    watermark: str = "",
    overlap_seconds: float = DEFAULT_OVERLAP_SECONDS,
    now: datetime | None = None,
) -> Detection:
    """Look for objects that are new since the watermark was made.

    The answer never misses a new version that is inside the overlap or has no time. It may count one that is not new:
    after a removal, while more than 2,000 versions are inside the overlap.
    Costs one listing of the prefix; memory holds a page of it and the watermark.

    Args:
        prefix: Empty, or ends in `/`.
        watermark: Of the look before; empty, one made for another prefix or filter, or one that cannot be read makes
            everything new.
        overlap_seconds: How much later than its time an object may appear; 0 and more.
        now: For tests; the time of this machine otherwise.

    Raises:
        BucketMissingError, AccessDeniedError: The prefix cannot be listed; the message says what is missing.
        RetryableError: The store did not answer properly; look again later.
    """
    now = now or datetime.now(UTC)
    overlap = timedelta(seconds=overlap_seconds)
    look = _Look(_Watermark.read(watermark, scope_of(store.url(prefix), selected)), now=now, overlap=overlap)
    async for info in store.list_objects(prefix + selected.literal_prefix):
        if selected.counts(info, info.key[len(prefix) :], now=now):
            # Files come into a folder with old times when a folder of them is moved there: only versions tell.
            look.add(replace(info, modified_at=None) if store.kind == "file" else info)
    return look.detection()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watermark:
    """What earlier looks saw.

    Attributes:
        floor: Objects modified before this are old news; None while there is no such time.
        newest: The newest modification time seen; None when none was.
        seen: The versions at or after the floor; None before the first look.
    """

    scope: str
    floor: datetime | None = None
    newest: datetime | None = None
    seen: SeenObjects | None = None

    @staticmethod
    def read(text: str, scope: str) -> _Watermark:
        try:
            values = json.loads(text) if text else {}
            if values.get("scope") != scope:
                return _Watermark(scope=scope)
            floor, newest = (datetime.fromisoformat(values[name]) if values[name] else None for name in _TIMES)
            return _Watermark(scope=scope, floor=floor, newest=newest, seen=SeenObjects.from_json(values["seen"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            # Written by another version, or by a person: a look too many is better than an object too few.
            return _Watermark(scope=scope)

    def text(self) -> str:
        times = {
            name: value.isoformat() if value else ""
            for name, value in zip(_TIMES, (self.floor, self.newest), strict=True)
        }
        return json_line({"scope": self.scope, **times, "seen": self.seen.to_json() if self.seen else {}})


_TIMES = ("floor", "newest")


class _Look:
    """One listing on its way."""

    def __init__(self, before: _Watermark, *, now: datetime, overlap: timedelta) -> None:
        self._before = before
        self._newest = before.newest
        self._floor = before.floor
        if before.newest is not None:
            # A time in the future must not take the present out of the overlap.
            floor = min(before.newest, now) - overlap
            self._floor = max(floor, before.floor) if before.floor else floor
        self._seen = SeenObjects()
        self._compared = SeenObjects()
        self._objects = self._size_bytes = 0
        self._first_keys: list[str] = []

    def add(self, info: ObjectInfo) -> None:
        if _is_before(info, self._before.floor):
            return
        token = version_token(info)
        if not _is_before(info, self._floor):
            self._seen.add(token)
        if info.modified_at is not None:
            self._newest = max(info.modified_at, self._newest or info.modified_at)
        if self._is_new(info, token):
            self._objects += 1
            self._size_bytes += info.size_bytes
            if len(self._first_keys) < MAX_FIRST_KEYS:
                self._first_keys.append(shown_key(info.key))

    def _is_new(self, info: ObjectInfo, token: int) -> bool:
        seen, newest = self._before.seen, self._before.newest
        if seen is None:
            return True
        if seen.is_exact:
            return token not in seen
        if info.modified_at is not None and newest is not None and info.modified_at > newest:
            return True
        self._compared.add(token)
        return False

    def detection(self) -> Detection:
        seen = self._before.seen
        is_exact = seen is None or seen.is_exact
        if seen is not None and not is_exact:
            now, before = self._compared.folded().units(), seen.units()
            self._objects += sum(now[group] != before[group] for group in now)
        after = _Watermark(scope=self._before.scope, floor=self._floor, newest=self._newest, seen=self._seen)
        return Detection(
            objects=self._objects,
            size_bytes=self._size_bytes,
            first_keys=tuple(self._first_keys),
            is_exact=is_exact,
            watermark=after.text(),
        )


def _is_before(info: ObjectInfo, floor: datetime | None) -> bool:
    return floor is not None and info.modified_at is not None and info.modified_at < floor
