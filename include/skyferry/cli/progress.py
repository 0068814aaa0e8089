"""Shows how far a command of this machine is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from skyferry.cli.output import say

_BAR_SECONDS = 0.2
_LINE_SECONDS = 10.0

State = Callable[[], tuple[float, float, str]]
"""What is done, how much that is of, and both in words."""


@asynccontextmanager
async def shown_progress(state: State) -> AsyncIterator[None]:
    """Show a state while the block runs."""
    shown = asyncio.create_task(_bar(state) if sys.stderr.isatty() else _lines(state))
    try:
        yield
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)


async def _bar(state: State) -> None:
    columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bars:
        task = bars.add_task("", total=None)
        while True:
            done, total, text = state()
            bars.update(task, completed=done, total=total or None, description=text)
            await asyncio.sleep(_BAR_SECONDS)


async def _lines(state: State) -> None:
    told = ""
    while True:
        await asyncio.sleep(_LINE_SECONDS)
        _, total, text = state()
        if total and text != told:
            told = text
            say(text)
