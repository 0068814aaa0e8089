"""Shows a run while it is under way, until it is over: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from skyferry.cli.output import counts_text, rate_text, say, seconds_text, size_text
from skyferry.errors import AirflowRefusedError, AirflowUnreachableError, printable

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi
    from skyferry.history.run_progress import RunProgress
    from skyferry.history.transfer_run import TransferRun

_Answer = TypeVar("_Answer")

POLL_SECONDS = 1.0
LINE_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
"""How long an Airflow that does not answer is asked again before watching ends."""


def watch(api: AirflowApi, run: TransferRun) -> TransferRun:
    """Show the run on standard error until it is over, and return it with its report.

    Raises:
        AirflowUnreachableError: Airflow did not answer for a minute; the run goes on.
        KeyboardInterrupt: Ctrl-C; the run goes on.
    """
    from skyferry.history.run_history import RunHistory
    from skyferry.history.run_progress import ProgressReader

    reader = ProgressReader(api, run, records=api.access.records)
    with _display(printable(f"{run.route} {run.run_id}")) as show:
        while True:
            progress = patiently(reader.read)
            show(progress)
            if progress.run.is_finished:
                break
            time.sleep(POLL_SECONDS)
    return RunHistory(api).with_report(progress.run)


def watch_quietly(api: AirflowApi, run: TransferRun) -> TransferRun:
    """Wait until a run is over and return it.

    Raises:
        AirflowUnreachableError: Airflow did not answer for a minute; the run goes on.
    """
    dag_id, run_id = run.dag_id, run.run_id
    while not run.is_finished:
        time.sleep(POLL_SECONDS)
        run = patiently(lambda: api.run(dag_id, run_id))
    return run


def await_result(api: AirflowApi, run: TransferRun, *, task_id: str) -> Mapping[str, Any]:
    """Wait until a run that is no transfer is over, and return the result of its task.

    Raises:
        AirflowRefusedError: The task left none.
        AirflowUnreachableError: Airflow did not answer for a minute; the run goes on.
    """
    ended = watch_quietly(api, run)
    found = api.result(ended.dag_id, ended.run_id, task_id)
    if not isinstance(found, Mapping):
        page = api.page_url(ended.dag_id, ended.run_id)
        raise AirflowRefusedError(
            f"the DAG {ended.dag_id} did not come to a result", hint=f"the log of its task says why: {page}"
        )
    return found


def progress_text(progress: RunProgress) -> str:
    """Return where a run is, in one line."""
    parts = [progress.phase]
    if progress.objects_total == 0:
        parts.append("nothing to copy")
    elif progress.objects_total is not None:
        parts.append(f"{progress.objects_done:,} of {progress.objects_total:,} objects")
        parts.append(f"{size_text(progress.bytes_done)} of {size_text(progress.bytes_total or 0)}")
    elif progress.objects_done:
        parts.append(f"{progress.objects_done:,} objects, {size_text(progress.bytes_done)}")
    if progress.bytes_per_second:
        parts.append(rate_text(progress.bytes_per_second))
    if progress.seconds_left is not None:
        parts.append(f"about {seconds_text(progress.seconds_left)} left")
    parts.append(_batches_text(progress))
    return ", ".join(part for part in parts if part)


def _batches_text(progress: RunProgress) -> str:
    states: dict[str, int] = {}
    for batch in progress.batches:
        states[batch.state] = states.get(batch.state, 0) + 1
    return f"batches: {counts_text(states)}" if len(progress.batches) > 1 else ""


def patiently(ask: Callable[[], _Answer]) -> _Answer:
    """Return what Airflow answers, asking again for a minute while it does not.

    Raises:
        AirflowUnreachableError: It did not answer for a minute.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except AirflowUnreachableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


@contextmanager
def _display(title: str) -> Iterator[Callable[[RunProgress], None]]:
    if not sys.stderr.isatty():
        yield _Lines(title).show
        return
    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24))
    with Progress(*columns, TextColumn("{task.fields[text]}", markup=False), console=console, transient=True) as bars:
        task = bars.add_task(title, total=None, text="")

        def show(progress: RunProgress) -> None:
            by_bytes = bool(progress.bytes_total)
            bars.update(
                task,
                total=progress.bytes_total if by_bytes else progress.objects_total,
                completed=progress.bytes_done if by_bytes else progress.objects_done,
                text=progress_text(progress),
            )

        yield show


class _Lines:
    """Says where the run is when that has changed, at most every few seconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._said = ""
        self._said_at = 0.0

    def show(self, progress: RunProgress) -> None:
        text = progress_text(progress)
        is_due = time.monotonic() - self._said_at >= LINE_SECONDS or progress.run.is_finished
        if is_due and text != self._said:
            self._said, self._said_at = text, time.monotonic()
            say(f"{self._title}: {text}")
