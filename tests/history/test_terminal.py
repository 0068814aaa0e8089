"""`transfer run --wait` on a terminal: the bar moves, and ctrl-C asks whether to cancel the run or to leave it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skyferry.config_folder import project_folder
from skyferry.history.airflow_api import AirflowApi
from skyferry.history.transfer_run import TransferRun
from tests.history.pausing import pause
from tests.local_airflow import LocalAirflow
from tests.unit.cli.command import CODE

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 180
CTRL_C = "\x03"
# What runs in the background of a shell inherits that ctrl-C is ignored; what is started on a terminal does not.
_ON_TERMINAL = "import os, signal; os.login_tty(0); signal.signal(signal.SIGINT, signal.default_int_handler); "
Folders = Callable[[int], tuple[Path, Path]]


class Terminal:
    """The command on a terminal of its own, as a person sits before it."""

    def __init__(self, *arguments: str, environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL + CODE, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "PYTHONPATH": str(project_folder() / "include"), "TERM": "xterm", **environ},
            cwd=project_folder(),
        )
        os.close(slave)
        self.shown = ""

    def wait_for(self, pattern: str) -> None:
        """Read until the screen has shown this."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, f"{pattern!r} was not shown: {self.shown[-2000:]!r}"
            assert self._read(), f"it ended without {pattern!r}: {self.shown[-2000:]!r}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def ended(self) -> int:
        """Return the exit code, with all that was shown read."""
        while self._read():
            pass
        return self._process.wait(timeout=DEADLINE_SECONDS)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=DEADLINE_SECONDS)
        os.close(self._master)

    def _read(self) -> bool:
        """Take what is shown next; false at the end."""
        ready, _, _ = select.select([self._master], [], [], 1)
        if not ready:
            return self._process.poll() is None
        try:
            some = os.read(self._master, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            return False
        self.shown += some.decode(errors="replace")
        return bool(some)


@pytest.fixture
def open_terminal(airflow_services: LocalAirflow) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        environ = {"SKYFERRY_STACK": str(airflow_services.layout.state), "COLUMNS": "110", "LINES": "40"}
        opened.append(Terminal(*arguments, environ=environ))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def places(api: AirflowApi, folders: Folders) -> Iterator[list[str]]:
    """The arguments of a transfer; whatever was put on hold goes on afterwards."""
    source, destination = folders(2)
    yield ["--source", f"file://{source}/", "--destination", f"file://{destination}/", "--create-destination"]
    api.unpause("transfer")


def hold(terminal: Terminal, api: AirflowApi) -> TransferRun:
    """Wait until the run is there, and keep Airflow from starting its next task."""
    terminal.wait_for(r"manual__\S+")
    pause(api)
    return api.list_runs(["transfer"], newest_first=True, limit=1).runs[0]


@pytest.mark.parametrize(
    ("answer", "words", "state"), [("y", "cancelled; what was copied", "failed"), ("n", "left running", "")]
)
def test_ctrl_c_asks_and_does_what_is_answered(
    api: AirflowApi,
    open_terminal: Callable[..., Terminal],
    places: list[str],
    answer: str,
    words: str,
    state: str,
) -> None:
    terminal = open_terminal("run", *places, "--wait")
    run = hold(terminal, api)
    terminal.type(CTRL_C)
    terminal.wait_for(r"Cancel the run\? \(No leaves it running\.\) \[y/N\]: ")
    terminal.type(f"{answer}\n")
    terminal.wait_for(words)
    assert terminal.ended() == 130
    assert "Traceback" not in terminal.shown
    found = api.run(run.dag_id, run.run_id)
    if state:
        assert (found.state, found.note) == (state, "cancelled by admin")
    else:
        assert found.note == ""


def test_a_bar_shows_where_the_run_is_and_gives_way_to_the_report(
    open_terminal: Callable[..., Terminal], places: list[str]
) -> None:
    terminal = open_terminal("run", *places, "--wait")
    assert terminal.ended() == 0, terminal.shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)
    assert re.search(r"manual__\S+ ━{24} (queued|plan|running)", text)
    assert "2 of 2 objects, 20 B of 20 B" in text
    assert re.search(r"copied +2 \(20 B\)", text[text.rindex("━") :])
    assert "\x1b[2K" in terminal.shown[terminal.shown.rindex("━") :], "the bar is taken away"
