"""The shape of a receipt as an item of the table, and the keys it is found by.

| attribute | what it is |
|---|---|
| `route_destination` | hash key: `<route>|<destination URL>` |
| `key_time` | range key: `<object key>|<time>|<digest>`; the digest tells apart what ended in the same millisecond |
| `receipt` | the receipt as it is on record, JSON |
| `route`, `destination`, `dag_id`, `run_id`, `outcome`, `finished_at` | for filters, and for other programs |

In keys `%` is written `%25`, `|` is `%7C`, and a byte that is no UTF-8 (names of local files) `%uDC80` to `%uDCFF`. No
such word begins with another one, so a text begins with another exactly if what is written of them does. A range key
has at most 1,024 bytes, and so has an object key; of a key that takes more than 900 the rest is a digest, `%~<sha256>`.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skyferry.objects import json_line
from skyferry.records import Receipt
from skyferry.state import Run

HASH_KEY = "route_destination"
RANGE_KEY = "key_time"

_SEPARATOR = "|"
_MAX_KEY_BYTES = 900
_MAX_DESTINATION_BYTES = 1_800
"""A hash key has at most 2,048 bytes, and a route's id 63."""

_DIGEST_CHARACTERS = 32
_TELLING_APART_CHARACTERS = 16
_SPECIAL = re.compile("[%|\ud800-\udfff]")
_WORD = re.compile("%u[0-9A-F]{4}|%..|[^%]", re.DOTALL)

Item = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlace:
    """Under which hash key receipts are written.

    Attributes:
        destination: URL of the destination.
    """

    route: str
    destination: str

    @property
    def hash_key(self) -> str:
        """The value of the hash key."""
        return f"{self.route}{_SEPARATOR}{_fitting(self.destination, _MAX_DESTINATION_BYTES)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedReceipt:
    """A receipt as the table has it."""

    route: str
    destination: str
    dag_id: str
    run_id: str
    receipt: Receipt

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values: the receipt, and which run it is of."""
        names = ("route", "destination", "dag_id", "run_id")
        return {name: getattr(self, name) for name in names} | self.receipt.to_json()


def item_of(receipt: Receipt, *, place: IndexPlace, run: Run) -> dict[str, str]:
    """Return the item of a receipt; the same one for the same receipt, so that writing it twice changes nothing."""
    same = (run.dag_id, run.run_id, receipt.outcome.value, receipt.source_etag, receipt.destination_etag)
    telling_apart = _digest(json_line({"same": same}))[:_TELLING_APART_CHARACTERS]
    key = _fitting(receipt.key, _MAX_KEY_BYTES)
    return {
        HASH_KEY: place.hash_key,
        RANGE_KEY: _SEPARATOR.join((key, receipt.finished_at, telling_apart)),
        "receipt": json_line(receipt.to_json()),
        "route": place.route,
        "destination": _written(place.destination),
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "outcome": receipt.outcome.value,
        "finished_at": receipt.finished_at,
    }


def receipt_of(item: Item) -> IndexedReceipt:
    """Undo `item_of`; the destination stays as it is written."""
    return IndexedReceipt(
        route=item["route"],
        destination=item["destination"],
        dag_id=item["dag_id"],
        run_id=item["run_id"],
        receipt=Receipt.from_json(json.loads(item["receipt"])),
    )


def range_prefix(key_prefix: str) -> str:
    """Return what the range keys of all objects begin with whose keys begin with a text.

    For a text that takes more than 900 bytes others may begin with it too: compare the keys of what is found.
    """
    return _cut(_written(key_prefix), _MAX_KEY_BYTES)


def _fitting(text: str, max_bytes: int) -> str:
    written = _written(text)
    short = _cut(written, max_bytes)
    return short if len(short) == len(written) else f"{short}%~{_digest(text)[:_DIGEST_CHARACTERS]}"


def _written(text: str) -> str:
    return _SPECIAL.sub(_word_of, text)


def _word_of(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"%u{code:04X}" if code > 0xFF else f"%{code:02X}"


def _cut(written: str, max_bytes: int) -> str:
    """Return as many words of a written text as fit."""
    if len(written.encode()) <= max_bytes:
        return written
    size_bytes, end = 0, 0
    for word in _WORD.finditer(written):
        size_bytes += len(word[0].encode())
        if size_bytes > max_bytes:
            break
        end = word.end()
    return written[:end]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
