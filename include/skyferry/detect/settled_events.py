"""Which events are old news: what was acted on lately, so that doubled and overtaken events cost no request.

Forgetting is harmless: an event that is not remembered leads to a look at the source, which decides in any case.
"""

from __future__ import annotations

from collections import OrderedDict

from skyferry.detect.event_order import Order, event_order, sequencer_order
from skyferry.detect.object_records import ObjectRecord

MAX_REMEMBERED = 10_000
"""Keys of whose last event something is known; about 10 MB."""


class SettledEvents:
    """The last event acted on for each key; memory is bounded by `max_remembered` keys."""

    def __init__(self, *, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max_remembered = max_remembered
        self._settled: OrderedDict[tuple[str, str], ObjectRecord] = OrderedDict()

    def add(self, record: ObjectRecord) -> None:
        """Note that the source was looked at after this event had arrived, and that what it showed was dealt with."""
        place = record.bucket, record.key
        known = self._settled.get(place)
        if known is None or not _is_covered(record, known):
            self._settled[place] = record
        self._settled.move_to_end(place)
        if len(self._settled) > self._max_remembered:
            self._settled.popitem(last=False)

    def covers(self, record: ObjectRecord) -> bool:
        """Tell whether this event is one that was acted on, or older than one that was.

        Times are not asked: clocks of several machines could make a newer event look older, and its object be missed.
        """
        known = self._settled.get((record.bucket, record.key))
        return known is not None and _is_covered(record, known)


def _is_covered(record: ObjectRecord, known: ObjectRecord) -> bool:
    if event_order(record, known) is Order.SAME:
        return True
    # Ceph's sequencers are good for equality only; see event_order.
    is_ordered = "ceph" not in {record.producer, known.producer}
    return is_ordered and sequencer_order(record.sequencer, known.sequencer) is Order.OLDER
