"""The order of keys: that of their UTF-8 bytes, in which S3 and Cloud Storage list."""

from __future__ import annotations

from collections.abc import Iterable

from skyferry.objects import ObjectInfo, Prefix


def key_bytes(key: str) -> bytes:
    """Return what keys are ordered by; keys that are no Unicode come with surrogates and go back to their bytes."""
    return key.encode("utf-8", "surrogateescape")


def in_key_order(entries: Iterable[ObjectInfo | Prefix]) -> list[ObjectInfo | Prefix]:
    """Return the entries of a page of `Store.list_level`, each once, in the order of their keys' bytes."""
    by_key = {key_bytes(entry.key): entry for entry in entries}
    return [by_key[key] for key in sorted(by_key)]
