"""Which of two events about one object came later, as far as the events themselves can tell.

S3 delivers events at least once and in no order. The answer saves work (an older event is dropped, a doubled one is
acknowledged); it is never what keeps an older object from overwriting a newer one. That is the copy, which asks the
source what it holds. So everything unsure is UNDECIDED, which means: look at the source.

| sequencers | version ids | times | answer |
|---|---|---|---|
| equal, and kind, etag and version too | | | SAME |
| same length, different | any | any | by sequencer |
| any other | equal, one event is the removal of that version | any | the removal is NEWER |
| any other | equal, both created, etags agree | any | SAME |
| different lengths | else | any | UNDECIDED |
| equal, unusable or missing | else | equal, and all facts too | SAME |
| equal, unusable or missing | else | a second apart or more | by time |
| equal, unusable or missing | else | else | UNDECIDED |

The user guide compares sequencers as text after padding the shorter with zeros: on the right by its newer editions, on
the left by older ones. Where lengths differ, padding therefore decides nothing here. Ceph's sequencers are unusable
except for equality: they are a time in the byte order of the machine (on most the lowest byte first). moto's
EventBridge events all carry the same sequencer, so an equal one alone proves nothing either.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html; Ceph,
src/rgw/driver/rados/rgw_notify.cc (`boost::algorithm::hex((const char*)&ts, ...)`)
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import TypeGuard

from skyferry.detect.object_records import ObjectRecord

TIME_MARGIN = timedelta(seconds=1)
"""Times closer than this decide nothing: they come from the clocks of several machines, some in whole seconds."""

_HEX = re.compile(r"[0-9A-Fa-f]+")
_NO_VERSIONS = frozenset({"null", "1"})
"""Ids that new content takes again and again: S3's without versioning, and the one MinIO wrote before it had any."""


class Order(StrEnum):
    """Where the first of two events stands to the second."""

    OLDER = "older"
    NEWER = "newer"
    SAME = "same"
    UNDECIDED = "undecided"


def sequencer_order(first: str | None, second: str | None) -> Order:
    """Return the order of two sequencers of one key; UNDECIDED unless both are hexadecimal and of the same length.

    Sequencers of different keys, and Ceph's, must not be given here: nothing in them shows that.
    """
    if not _is_sequencer(first) or not _is_sequencer(second) or len(first) != len(second):
        return Order.UNDECIDED
    # EventBridge's examples are in lower case, those of notifications in upper case.
    return _compared(first.upper(), second.upper())


def event_order(first: ObjectRecord, second: ObjectRecord) -> Order:
    """Return the order of two events of one object by the table above.

    NEWER and OLDER are each other's mirror image. UNDECIDED is not SAME: two events that cannot be told apart from a
    third may well be told apart from each other.

    Raises:
        ValueError: The events are about different objects, which have no order.
    """
    if (first.bucket, first.key) != (second.bucket, second.key):
        raise ValueError("events of different objects have no order")
    by_sequencer = sequencer_order(first.sequencer, second.sequencer)
    if by_sequencer is Order.SAME and _facts(first) == _facts(second):
        return Order.SAME
    is_by_time_of_machine = "ceph" in {first.producer, second.producer}
    if by_sequencer in {Order.OLDER, Order.NEWER} and not is_by_time_of_machine:
        return by_sequencer
    by_version = _version_order(first, second)
    if by_version is not Order.UNDECIDED:
        return by_version
    if _is_sequencer(first.sequencer) and _is_sequencer(second.sequencer) and by_sequencer is Order.UNDECIDED:
        return Order.UNDECIDED
    return _time_order(first, second)


def _is_sequencer(sequencer: str | None) -> TypeGuard[str]:
    return sequencer is not None and _HEX.fullmatch(sequencer) is not None


def _facts(record: ObjectRecord) -> tuple[object, ...]:
    return record.kind, record.is_delete_marker, record.version_id, record.etag


def _version_order(first: ObjectRecord, second: ObjectRecord) -> Order:
    """Return what a version id tells: it is given once, and after its removal nothing happens to it."""
    if first.version_id is None or first.version_id != second.version_id or first.version_id in _NO_VERSIONS:
        return Order.UNDECIDED
    if _ends_version(first) != _ends_version(second):
        return Order.NEWER if _ends_version(first) else Order.OLDER
    if first.kind == second.kind == "created" and (first.etag == second.etag or None in {first.etag, second.etag}):
        return Order.SAME
    return Order.UNDECIDED


def _ends_version(record: ObjectRecord) -> bool:
    return record.kind == "removed" and not record.is_delete_marker


def _time_order(first: ObjectRecord, second: ObjectRecord) -> Order:
    if first.event_time is None or second.event_time is None:
        return Order.UNDECIDED
    if first.event_time == second.event_time and _facts(first) == _facts(second) and _is_told_apart(first):
        return Order.SAME
    apart = first.event_time - second.event_time
    if abs(apart) < TIME_MARGIN:
        return Order.UNDECIDED
    return Order.NEWER if apart > timedelta(0) else Order.OLDER


def _is_told_apart(record: ObjectRecord) -> bool:
    """Tell whether another event of that moment would differ: a removal has no content, a creation shows its etag."""
    return record.kind == "removed" or record.etag is not None


def _compared(first: str, second: str) -> Order:
    if first == second:
        return Order.SAME
    return Order.OLDER if first < second else Order.NEWER
