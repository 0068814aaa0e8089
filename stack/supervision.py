"""supervisord in the background: it keeps the components of one stack running and ends them all with itself.

supervisord is reached over a Unix socket that only its owner can open. The generated configuration holds names only:
each program is `python -m stack exec <name>`, which looks up its command and environment when it starts. So nothing in
the file needs quoting, whatever the folder is called, and no secret is in it.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from stack.components import Component
from stack.layout import ROOT, STATE_VARIABLE, Layout, StackError

CONFIGURATION: Final = "supervisord.conf"
# The kernel's limit is 108 bytes with the closing zero (104 on macOS); supervisord first binds to `<name>.<pid>`.
_LONGEST_SOCKET: Final = 90
_SHUTDOWN_SECONDS: Final = 60.0

_HEAD: Final = """\
; Written by `make up`.
[unix_http_server]
file = {socket}
chmod = 0700

[supervisord]
logfile = %(here)s/logs/supervisord.log
pidfile = %(here)s/supervisord.pid
childlogdir = %(here)s/logs
loglevel = info

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM: Final = """
[program:{name}]
command = python -m stack exec {name}
autostart = {autostart}
startsecs = 2
startretries = 2
stopwaitsecs = 20
; The whole process group: Airflow's schedulers and processors fork workers.
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = %(here)s/logs/{name}.log
stdout_logfile_maxbytes = 50MB
stdout_logfile_backups = 1
"""


@dataclass(frozen=True, slots=True)
class Process:
    """What supervisord says of one component: its state in supervisord's words, and its process id (0 if none)."""

    state: str
    pid: int

    @property
    def has_ended(self) -> bool:
        return self.pid == 0

    @property
    def has_failed(self) -> bool:
        """Whether it will not come up by itself any more."""
        return self.state in {"FATAL", "EXITED", "UNKNOWN", "STOPPED"}


def configuration(components: Iterable[Component], socket_path: str) -> str:
    """The text of supervisord's configuration; emulators start with it, Airflow when it is told to."""
    programs = (
        _PROGRAM.format(name=each.name, autostart="true" if each.kind == "emulator" else "false") for each in components
    )
    # `%` introduces supervisord's own expansions.
    return _HEAD.format(socket=socket_path.replace("%", "%%")) + "".join(programs)


class Supervisor:
    """The supervisord of one stack, running or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def is_running(self) -> bool:
        try:
            self._ask("getState")
        except (OSError, xmlrpc.client.Error, StackError):
            return False
        return True

    def launch(self, components: Iterable[Component]) -> None:
        """Start supervisord, which starts the emulators; returns when it can be talked to.

        Raises:
            StackError: It could not be started; the message is its own.
        """
        state = self._layout.state
        text = configuration(components, self._new_socket_path())
        (state / CONFIGURATION).write_text(text, encoding="utf-8")
        launched = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(state / CONFIGURATION)],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if launched.returncode:
            raise StackError(f"supervisord did not start: {(launched.stdout + launched.stderr).strip()}")
        deadline = time.monotonic() + 20
        while not self.is_running():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer; its log is {self._layout.logs / 'supervisord.log'}")
            time.sleep(0.05)

    def start(self, component: Component) -> None:
        """Start a component unless it is running; returns without waiting for it."""
        try:
            self._ask("startProcess", component.name, False)  # noqa: FBT003 - the RPC takes it by position
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise StackError(f"supervisord could not start {component.name}: {fault.faultString}") from fault

    def processes(self) -> dict[str, Process]:
        """The components supervisord knows, by name."""
        rows = cast("list[dict[str, Any]]", self._ask("getAllProcessInfo"))
        return {row["name"]: Process(row["statename"], row["pid"]) for row in rows}

    def stop_all(self) -> None:
        """Ask every component to end, with its children; returns at once."""
        self._ask("stopAllProcesses", False)  # noqa: FBT003 - the RPC takes it by position

    def descendants(self) -> set[psutil.Process]:
        """Every process that stems from supervisord at this moment.

        The components' process groups do not cover them: Airflow runs each task in a group of its own, and a task that
        is not in the mood to end outlives the worker that would have ended it.
        """
        try:
            return set(psutil.Process(int(self._ask("getPID"))).children(recursive=True))
        except psutil.NoSuchProcess:
            return set()

    def shut_down(self) -> None:
        """Stop what still runs, then supervisord; returns when it is gone.

        Raises:
            StackError: It is still there after a minute.
        """
        pid, socket_path = int(self._ask("getPID")), Path(self._socket_path())
        self._ask("shutdown")
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        while _exists(pid):
            if time.monotonic() > deadline:
                raise StackError(f"supervisord (process {pid}) is still stopping; see {self._layout.logs}")
            time.sleep(0.05)
        if socket_path.parent != self._layout.state:
            with suppress(OSError):
                socket_path.parent.rmdir()

    def _ask(self, method: str, *arguments: Any) -> Any:
        path = self._socket_path()
        transport = SupervisorTransport(None, None, f"unix://{path}")
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def _socket_path(self) -> str:
        parser = configparser.RawConfigParser()
        try:
            parser.read(self._layout.state / CONFIGURATION, encoding="utf-8")
            return parser["unix_http_server"]["file"].replace("%%", "%")
        except (configparser.Error, KeyError) as error:
            raise StackError("no stack was started here") from error

    def _new_socket_path(self) -> str:
        beside = str(self._layout.state / "supervisor.sock")
        if len(os.fsencode(beside)) <= _LONGEST_SOCKET and not set(beside) & set(" ;#\t"):
            return beside
        # Too deep for the kernel, or with characters an INI file gives a meaning to.
        return str(Path(tempfile.mkdtemp(prefix="skyferry-")) / "supervisor.sock")

    def _environment(self) -> dict[str, str]:
        tools = str(Path(sys.executable).parent)
        path = os.pathsep.join([tools, os.environ.get("PATH", os.defpath)])
        return {**os.environ, "PATH": path, STATE_VARIABLE: str(self._layout.state)}


def kill_survivors(processes: Iterable[psutil.Process]) -> None:
    """End those of the processes that still run, at once and with their children.

    A process is known by its start time too, so a stranger that was given the same id is left alone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for each in (*process.children(recursive=True), process):
                each.kill()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
