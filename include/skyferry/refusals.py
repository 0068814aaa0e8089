"""Why objects are refused, in a few short words that reports count; the sentence for people is the reason beside it.

| code | the object |
|---|---|
| `name` | has a name the destination cannot hold, or one that collides with another |
| `too_large` | is larger than the destination holds |
| `lands_in_source` | would be copied into the source |
| `archived` | must be restored before it can be read |
| `conflict` | would replace other content, and `on_conflict` is `fail` |
| `not_an_object` | has at its destination something that is no object |
| `access_denied` | may not be read or looked at with these credentials |
| `not_claimed` | is a file that could not be taken out of the watched folder |
| `several_moves` | is to be moved by several routes of a queue |
| `other` | cannot be transferred for another reason, until somebody changes something |
"""

from __future__ import annotations

from skyferry.errors import (
    AccessDeniedError,
    KeyRefusedError,
    ObjectArchivedError,
    ObjectTooLargeError,
    TransferError,
)

ARCHIVED = "archived"
CONFLICT = "conflict"
LANDS_IN_SOURCE = "lands_in_source"
NOT_AN_OBJECT = "not_an_object"
NOT_CLAIMED = "not_claimed"
OTHER = "other"
SEVERAL_MOVES = "several_moves"

_OF_ERRORS: tuple[tuple[type[TransferError], str], ...] = (
    (KeyRefusedError, "name"),
    (ObjectTooLargeError, "too_large"),
    (ObjectArchivedError, ARCHIVED),
    (AccessDeniedError, "access_denied"),
)


def refusal_of(error: TransferError) -> str:
    """Return the code of the refusal that an error leads to."""
    return next((code for kind, code in _OF_ERRORS if isinstance(error, kind)), OTHER)
