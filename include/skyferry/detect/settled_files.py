"""New files of a local folder, counted once nobody writes them any more.

A file is settled when its size, modification time and inode were the same in two looks at least `settle_seconds` apart.
With a done-marker (`orders.csv.done` beside `orders.csv`) the writer says so instead, and only marked files count.

Files that stay in the folder are remembered by size, times and inode, so that each version counts once. Beyond 2,000
files they are remembered by groups (`skyferry.detect.seen_objects`); then a group settles as a whole, and a removal may
count as something new.

Modification times can be set to anything, so they are compared with a clock only where a minimum age is asked for.
The folder is scanned on every look, so network file systems, restarts and lost notifications need no special care; see
`skyferry.detect.folder_wakeup`.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime

from skyferry.detect.new_objects import MAX_FIRST_KEYS, Detection, shown_key
from skyferry.detect.seen_objects import MAX_EXACT, SeenObjects, version_token
from skyferry.detect.watch_scope import scope_of
from skyferry.errors import RequestError
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectInfo, json_line
from skyferry.stores.base import Store

DEFAULT_SETTLE_SECONDS = 10.0
_ENTRY = struct.Struct(">QQI")
"""A unit, its value, and since when it is unchanged, in whole seconds since 1970."""


async def find_settled_files(
    store: Store,
    *,
    selected: ObjectFilter,
    watermark: str = "",
    settle_seconds: float = DEFAULT_SETTLE_SECONDS,
    done_suffix: str = "",
    now: datetime | None = None,
) -> Detection:
    """Look for files that are new since the watermark was made, and settled.

    The first look finds none unless they are marked: there is nothing to compare it with. `watermark` of each look is
    for the next one, whether or not anything was found.
    Costs one scan of the folder, with a done-marker also a look at the marker of each file that is not known.
    Memory holds the names of one folder level and what `Detection.watermark` holds.

    Args:
        selected: What counts. A file that is too young is not there yet: it settles once it is old enough.
        watermark: Of the look before; empty, one for another folder or filter, or one that cannot be read makes
            everything new.
        settle_seconds: 0 and more; rounded up to whole seconds.
        done_suffix: What a marker's name has at the end, such as `.done`; empty: files settle.
        now: For tests; the time of this machine otherwise.

    Raises:
        RequestError: `settle_seconds` or `done_suffix` cannot be used.
        BucketMissingError, AccessDeniedError: The folder is missing or cannot be read.
    """
    _check(settle_seconds, done_suffix)
    now = now or datetime.now(UTC)
    look = _Look(scope_of(store.url(), selected, done_suffix=done_suffix), watermark)
    async for info in store.list_objects(selected.literal_prefix):
        if not selected.counts(info, info.key, now=now) or (done_suffix and info.key.endswith(done_suffix)):
            continue
        if not done_suffix or look.knows(info) or await store.stat(info.key + done_suffix):
            look.add(info)
    return look.detection(now.timestamp(), settle_seconds=0 if done_suffix else math.ceil(settle_seconds))


def _check(settle_seconds: float, done_suffix: str) -> None:
    if settle_seconds < 0:
        raise RequestError(f"settle_seconds is {settle_seconds}; expected 0 or more seconds")
    if "/" in done_suffix or "\0" in done_suffix:
        raise RequestError('done_suffix holds "/" or a zero byte; expected the end of a name such as ".done"')


@dataclass(slots=True)
class _Memory:
    """What earlier looks saw: what counted, and since when the rest is unchanged (unit to value and seconds)."""

    seen: SeenObjects = field(default_factory=SeenObjects)
    waiting: dict[int, tuple[int, int]] = field(default_factory=dict)

    @staticmethod
    def read(text: str, scope: str) -> _Memory:
        try:
            values = json.loads(text) if text else {}
            if values.get("scope") != scope:
                return _Memory()
            packed = base64.b64decode(values["waiting"], validate=True)
            waiting = {unit: (value, since) for unit, value, since in _ENTRY.iter_unpack(packed)}
            return _Memory(SeenObjects.from_json(values["seen"]), waiting)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error):
            # Written by another version, or by a person: a look too many is better than a file too few.
            return _Memory()

    def text(self, scope: str) -> str:
        packed = b"".join(_ENTRY.pack(unit, value, since) for unit, (value, since) in sorted(self.waiting.items()))
        waiting = base64.b64encode(packed).decode("ascii")
        return json_line({"scope": scope, "seen": self.seen.to_json(), "waiting": waiting})


class _Look:
    """One scan on its way."""

    def __init__(self, scope: str, watermark: str) -> None:
        self._scope = scope
        self._before = _Memory.read(watermark, scope)
        self._now = SeenObjects()
        self._unknown: dict[int, tuple[str, int]] = {}

    def knows(self, info: ObjectInfo) -> bool:
        """Whether this very version has counted already; a memory by groups cannot tell."""
        return self._before.seen.is_exact and version_token(info) in self._before.seen

    def add(self, info: ObjectInfo) -> None:
        token = version_token(info)
        self._now.add(token)
        is_unknown = not self._before.seen.is_exact or token not in self._before.seen
        if is_unknown and len(self._unknown) <= MAX_EXACT:
            self._unknown[token] = (shown_key(info.key), info.size_bytes)

    def detection(self, now_seconds: float, *, settle_seconds: int) -> Detection:
        is_exact = self._now.is_exact and self._before.seen.is_exact
        seen, now = (one if is_exact else one.folded() for one in (self._before.seen, self._now))
        known, units = seen.units(), now.units()
        changed = {unit: value for unit, value in units.items() if known.get(unit) != value}
        since = {unit: self._since(unit, value, now_seconds) for unit, value in changed.items()}
        settled = {unit for unit in changed if not settle_seconds or now_seconds - since[unit] >= settle_seconds}
        waiting = {unit: (changed[unit], since[unit]) for unit in changed.keys() - settled}
        counted = {unit: value for unit, value in units.items() if unit not in waiting}
        after = counted | {unit: known[unit] for unit in waiting if unit in known}
        # Once nothing waits, a folder that has become small enough is remembered exactly again.
        memory = self._now if not waiting else SeenObjects.from_units(after, is_exact=is_exact)
        found = [self._unknown[unit] for unit in settled if unit in self._unknown] if is_exact else []
        return Detection(
            objects=len(settled),
            size_bytes=sum(size for _, size in found),
            first_keys=tuple(sorted(key for key, _ in found)[:MAX_FIRST_KEYS]),
            waiting=len(waiting),
            settles_in_seconds=min(
                (since + settle_seconds - now_seconds for _, since in waiting.values()), default=None
            ),
            is_exact=is_exact,
            watermark=_Memory(memory, waiting).text(self._scope),
        )

    def _since(self, unit: int, value: int, now_seconds: float) -> int:
        """Return since when a unit is unchanged; rounded up, so that no file settles early."""
        known_value, known_since = self._before.waiting.get(unit, (None, 0))
        return known_since if known_value == value else math.ceil(now_seconds)
