"""The order of keys: that of their UTF-8 bytes, in which S3 and Cloud Storage list."""

from __future__ import annotations


def key_bytes(key: str) -> bytes:
    """Return what keys are ordered by; keys that are no Unicode come with surrogates and go back to their bytes."""
    return key.encode("utf-8", "surrogateescape")
