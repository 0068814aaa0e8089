"""Runs a function over many items on a few threads, and stops at the first error or Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Final, TypeVar

THREADS: Final = 8
"""More do not help: an emulator works on one request at a time."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def run_parallel(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield the results as they come; what has not begun when something is raised never begins."""
    executor = ThreadPoolExecutor(THREADS)
    try:
        futures: list[Future[_Result]] = [executor.submit(function, item) for item in items]
        for future in as_completed(futures):
            yield future.result()
    finally:
        executor.shutdown(cancel_futures=True)
