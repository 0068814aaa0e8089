"""Choosing which of the receipts count that the consumers of a queue left for one route.

A message may be handed out again, to anybody, so one object may have many receipts. They are sorted out on disk, in a
temporary SQLite database, so that memory stays flat.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from skyferry.detect.mirrored_deletes import ALREADY_GONE
from skyferry.detect.route_worker import SUPERSEDED
from skyferry.objects import json_line
from skyferry.records import Outcome, Receipt

_FAILED, _GONE, _SKIPPED, _DONE, _MOVED = range(5)

_SCHEMA = """
CREATE TABLE receipts (
    name BLOB PRIMARY KEY, key BLOB, weight INTEGER, finished_at TEXT, ordinal INTEGER, receipt TEXT
) WITHOUT ROWID;
CREATE TABLE dealt_with (key BLOB PRIMARY KEY, last_at TEXT, is_known INTEGER) WITHOUT ROWID;
"""
_OFFER = """
INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
SET weight = excluded.weight, finished_at = excluded.finished_at, ordinal = excluded.ordinal, receipt = excluded.receipt
WHERE (excluded.weight, excluded.finished_at, excluded.ordinal) > (weight, finished_at, ordinal)
"""
_DEAL_WITH = """
INSERT INTO dealt_with VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
SET last_at = max(last_at, excluded.last_at), is_known = max(is_known, excluded.is_known)
"""
_CHOSEN = """
SELECT receipt FROM receipts LEFT JOIN dealt_with USING (key) WHERE CASE weight
    WHEN :failed THEN finished_at > coalesce(last_at, '')
    WHEN :gone THEN NOT is_known
    ELSE TRUE END
ORDER BY ordinal
"""


_STANDING = """
SELECT receipt FROM receipts AS one WHERE weight >= :done AND NOT EXISTS (
    SELECT 1 FROM receipts AS other WHERE other.key = one.key AND other.weight >= :done
    AND (other.finished_at, other.ordinal) > (one.finished_at, one.ordinal))
"""


class ReceiptChoice:
    """The receipts of one route that count, so that each version of an object counts once; a context that ends it.

    | receipt | counts unless |
    |---|---|
    | copied, deleted, or skipped for what is at the destination | another one of that version says more, or later |
    | skipped because the object is gone | anything else is known of the key |
    | refused or failed | the key was dealt with later |

    What was done stays done: a consumer that is given a message again reports "identical" for what it has copied.

    Attributes:
        retries: Of all receipts, the ones that do not count included; error class to number.
    """

    def __init__(self) -> None:
        # An empty name: in memory up to SQLite's cache size, then in a file that is already deleted, as in
        # ordered_listing.py.
        self._database = sqlite3.connect("")
        self._database.executescript(_SCHEMA)
        self._count = 0
        self.retries: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def offer(self, row: Mapping[str, Any]) -> None:
        """Take in the next receipt, as it is on record."""
        receipt = Receipt.from_json(row)
        if not _repeats_retries(receipt):
            self.retries.update(receipt.retries)
        weight, key = _weight(receipt), _digest(receipt.key)
        self._database.execute(
            _OFFER, (_name(receipt), key, weight, receipt.finished_at, self._count, json_line(receipt.to_json()))
        )
        self._count += 1
        if weight > _FAILED:
            self._database.execute(_DEAL_WITH, (key, receipt.finished_at, weight > _GONE))

    def chosen(self) -> Iterator[Receipt]:
        """Yield the receipts that count, in the order they came; without their retries, which `retries` has."""
        for (line,) in self._database.execute(_CHOSEN, {"failed": _FAILED, "gone": _GONE}):
            yield replace(Receipt.from_json(json.loads(line)), retries={})

    def standing(self) -> Iterator[Receipt]:
        """Yield the last copy of each object, unless it was deleted at the destination after that; in no order."""
        self._database.execute("CREATE INDEX IF NOT EXISTS receipts_by_key ON receipts (key)")
        for (line,) in self._database.execute(_STANDING, {"done": _DONE}):
            receipt = Receipt.from_json(json.loads(line))
            if receipt.outcome is Outcome.COPIED:
                yield receipt


def _repeats_retries(receipt: Receipt) -> bool:
    """Tell whether it is the second receipt of a move, which says how it went on after the copy was on record."""
    return receipt.deleted_at_source or bool(receipt.kept_because or receipt.not_deleted_because)


def _weight(receipt: Receipt) -> int:
    if receipt.outcome in (Outcome.FAILED, Outcome.REFUSED):
        return _FAILED
    if receipt.outcome is Outcome.SKIPPED:
        return _GONE if receipt.reason in (SUPERSEDED, ALREADY_GONE, "source_gone") else _SKIPPED
    return _MOVED if receipt.deleted_at_source else _DONE


def _name(receipt: Receipt) -> bytes:
    """Return what two receipts of one version have in common; failures and absences are about the key as such."""
    weight = _weight(receipt)
    if weight <= _GONE:
        return _digest(receipt.key, str(weight))
    if receipt.outcome is Outcome.DELETED:
        return _digest(receipt.key, "deleted", receipt.destination_etag)
    return _digest(receipt.key, "version", receipt.source_etag)


def _digest(*parts: str) -> bytes:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
