"""What the demo shows: progress bars on a terminal, a line every three seconds elsewhere, and the table at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

_LINE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One transfer in the table at the end.

    Attributes:
        seconds: Of the DAG run.
        verified_by: How the transfer itself proved its copies.
        checked: How the demo checked them, or what it found wrong.
    """

    title: str
    objects: str
    size_bytes: int
    verified_by: str
    seconds: float
    checked: str
    is_good: bool


class Activity:
    """Something that takes a while; safe to advance from several threads."""

    def __init__(self, title: str, objects: int) -> None:
        self.title = title
        self.objects = objects
        self._done = 0
        self._size_bytes = 0
        self._note = ""
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, objects: int, size_bytes: int = 0) -> None:
        with self._lock:
            self._done += objects
            self._size_bytes += size_bytes

    def reach(self, done: int, objects: int) -> None:
        with self._lock:
            self._done, self.objects = done, objects

    def show(self, objects: int, size_bytes: int, note: str) -> None:
        with self._lock:
            self._done, self._size_bytes, self._note = objects, size_bytes, note

    @property
    def done(self) -> int:
        return self._done

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def text(self) -> str:
        """How far it is, in words."""
        parts = [f"{self._done:,} of {self.objects:,}" if self.objects else ""]
        parts += [f"{self._size_bytes / 1e6:,.1f} MB" if self._size_bytes else "", f"{self.seconds:.0f} s", self._note]
        return ", ".join(part for part in parts if part)


class Display:
    """Talks to the person at the terminal, or to the log of a build."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str = "") -> None:
        self._console.print(Text(text), soft_wrap=True)

    def complain(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(f"  {line}", style="red"), soft_wrap=True)

    @contextmanager
    def activity(self, title: str, *, objects: int = 0) -> Iterator[Activity]:
        """Show something as it goes on; a line stays when it has ended well."""
        activity = Activity(title, objects)
        over = threading.Event()
        show = self._show_bar if self._console.is_terminal else self._show_lines
        thread = threading.Thread(target=show, args=(activity, over), daemon=True)
        thread.start()
        try:
            yield activity
        finally:
            over.set()
            thread.join()
        self.say(f"  {title}: {activity.text}")

    def _show_lines(self, activity: Activity, over: threading.Event) -> None:
        while not over.wait(_LINE_SECONDS):
            self.say(f"    {activity.title}: {activity.text} ...")

    def _show_bar(self, activity: Activity, over: threading.Event) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(30), TextColumn("{task.fields[text]}"))
        with Progress(*columns, console=self._console, transient=True) as progress:
            task: TaskID = progress.add_task(activity.title, total=activity.objects or None, text="")
            while not over.wait(0.2):
                progress.update(task, completed=activity.done, total=activity.objects or None, text=activity.text)

    def show_table(self, rows: Iterable[Row]) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("transfer", "objects", "MB", "verified by", "seconds", "checked"):
            table.add_column(heading, justify="right" if heading in {"objects", "MB", "seconds"} else "left")
        for row in rows:
            table.add_row(
                *(row.title, row.objects, f"{row.size_bytes / 1e6:,.1f}", row.verified_by, f"{row.seconds:,.1f}"),
                Text(row.checked, style="green" if row.is_good else "red"),
            )
        self._console.print(table)
