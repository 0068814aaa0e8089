"""Keeps libraries from logging what is secret, while it is in their hands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def silenced(names: tuple[str, ...]) -> Iterator[None]:
    """Drop what these loggers write, whoever listens to them and at whatever level."""

    def drop(_: logging.LogRecord) -> bool:
        return False

    with ExitStack() as stack:
        for name in names:
            logger = logging.getLogger(name)
            logger.addFilter(drop)
            stack.callback(logger.removeFilter, drop)
        yield
