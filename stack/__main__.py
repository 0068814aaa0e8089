"""The commands behind `make up`, `down`, `status`, `env`, `producer`, `consumer` and `pipeline`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from stack.components import STACK, Component, component
from stack.environment import PASSWORD, USER, export_lines, stack_environment, write_login
from stack.health import is_healthy, is_port_free, last_lines
from stack.layout import ROOT, Layout, StackError, recorded_layout, wanted_layout
from stack.supervision import Supervisor, kill_survivors

_POLL_SECONDS: Final = 0.25
_REMINDER_SECONDS: Final = 5.0
_MIGRATION_SECONDS: Final = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m stack", description="Run the local stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, action in _ACTIONS.items():
        commands.add_parser(name, help=action.__doc__)
    commands.add_parser("exec", help="Become one component; for supervisord.").add_argument("name")
    commands.add_parser("on", help="Switch DAGs on.").add_argument("dag", nargs="+")
    options = parser.parse_args(arguments)
    try:
        if options.command == "exec":
            _become(component(options.name))
        if options.command == "on":
            return on(options.dag)
        return _ACTIONS[options.command]()
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def up() -> int:
    """Start whatever is not running and wait until everything is healthy."""
    running = _running_layout()
    layout = running or wanted_layout()
    started = time.monotonic()
    if running is None:
        _launch(layout)
    else:
        _refuse_other_ports(running)
    try:
        _bring_up(layout, started)
    except StackError:
        if running is None:
            _take_down(Supervisor(layout))  # the failed half of a stack is of no use, and its ports would be taken
        raise
    print(f"The stack is up after {time.monotonic() - started:.0f} s; logs are in {layout.logs}")
    print(f"Airflow: {layout.url(component('api-server'))} (user {USER}, password {PASSWORD})")
    print(f"Lineage: {layout.state / 'lineage.ndjson'}")
    print('For a shell that belongs to it: eval "$(make -s env)"')
    return 0


def down() -> int:
    """Stop everything that `up` started."""
    layout = _running_layout()
    if layout is None:
        print("The stack is not running.")
        return 0
    _take_down(Supervisor(layout))
    print("The stack is down.")
    return 0


def status() -> int:
    """Show every component with process id, address and health; exit code 1 unless all are healthy."""
    layout = _running_layout()
    if layout is None:
        print("The stack is not running; `make up` starts it.")
        return 1
    processes = Supervisor(layout).processes()
    print(f"{'COMPONENT':<16} {'PID':>8}  {'STATE':<9} {'HEALTH':<10} ADDRESS")
    all_healthy = True
    for each in STACK:
        process = processes[each.name]
        healthy = process.state == "RUNNING" and is_healthy(each, layout.port(each))
        all_healthy = all_healthy and healthy
        health, address = "healthy" if healthy else "unhealthy", layout.url(each) if each.listens else "-"
        print(f"{each.name:<16} {process.pid or '-':>8}  {process.state.lower():<9} {health:<10} {address}")
    return 0 if all_healthy else 1


def on(dag_ids: Sequence[str]) -> int:
    """Switch DAGs on, waiting for those that Airflow has yet to parse."""
    from stack.dag_switch import switch_on  # here, because Airflow's client takes a second to import

    layout = _running_layout()
    if layout is None:
        raise StackError("the stack is not running; start it with: make up")
    switch_on(layout, dag_ids)
    for dag_id in dag_ids:
        print(f"on: {dag_id}  {layout.url(component('api-server'))}/dags/{dag_id}")
    return 0


def env() -> int:
    """Print shell commands that make a shell part of the stack, running or not."""
    print(export_lines(stack_environment(_running_layout() or wanted_layout())), end="")
    return 0


_ACTIONS: Final[dict[str, Callable[[], int]]] = {"up": up, "down": down, "status": status, "env": env}


def check_ports(layout: Layout) -> None:
    """Refuse to start while a port is taken, with the name of the variable that moves it.

    Raises:
        StackError: One line for each port in use.
    """
    taken = [
        f"port {layout.port(each)} for {each.name} is in use by another program; "
        f"choose another one: make up {each.port_variable}=<port>"
        for each in STACK
        if each.listens and not is_port_free(layout.port(each))
    ]
    if taken:
        raise StackError("\n       ".join(taken))


def _running_layout() -> Layout | None:
    """The layout of the stack that runs at this moment, if one does."""
    layout = recorded_layout()
    return layout if layout and Supervisor(layout).is_running() else None


def _refuse_other_ports(running: Layout) -> None:
    for each in STACK:
        asked = os.environ.get(each.port_variable)
        if asked and asked != str(running.port(each)):
            raise StackError(
                f"the stack is running with {each.port_variable}={running.port(each)}; run `make down` first."
            )


def _launch(layout: Layout) -> None:
    check_ports(layout)
    data = [layout.data(each) for each in STACK if each.kind == "emulator"]
    for folder in (layout.logs, layout.airflow_home, layout.exchange, *data):
        folder.mkdir(parents=True, exist_ok=True)
    layout.state.chmod(0o700)  # it holds the signing secrets and all logs
    layout.record_ports()
    write_login(layout)
    for each in STACK:
        layout.log(each).unlink(missing_ok=True)  # or an error message would quote the last run
    Supervisor(layout).launch(STACK)


def _bring_up(layout: Layout, started: float) -> None:
    supervisor = Supervisor(layout)
    emulators = [each for each in STACK if each.kind == "emulator"]
    airflow = [each for each in STACK if each.kind == "airflow"]
    for each in emulators:
        supervisor.start(each)
    # The emulators come up while the database is being migrated; both take most of a processor.
    _migrate(layout)
    for each in airflow:
        supervisor.start(each)
    _await_health(layout, supervisor, started)


def _migrate(layout: Layout) -> None:
    """Create or upgrade Airflow's database, once for each version of the lock."""
    stamp = layout.airflow_home / "migrated"
    lock = ROOT / "requirements.txt"
    if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
        return
    log = layout.logs / "migrate.log"
    with log.open("wb") as output:
        migration = subprocess.Popen(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            cwd=ROOT,
            env={**os.environ, **stack_environment(layout)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_migration(migration)
    finally:
        if migration.poll() is None:
            migration.kill()
            migration.wait()
    if migration.returncode:
        raise StackError(f"the migration of Airflow's database failed; its log is {log}\n{last_lines(log)}")
    stamp.touch()


def _await_migration(migration: subprocess.Popen[bytes]) -> None:
    for elapsed in range(0, int(_MIGRATION_SECONDS), int(_REMINDER_SECONDS)):
        print(f"preparing Airflow's database ... {elapsed} s", flush=True)
        try:
            migration.wait(_REMINDER_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def _await_health(layout: Layout, supervisor: Supervisor, started: float) -> None:
    waiting_since = reminded = time.monotonic()
    waiting = list(STACK)
    while waiting:
        processes = supervisor.processes()
        for each in list(waiting):
            process = processes[each.name]
            if process.has_failed:
                raise _failure(layout, each, f"ended ({process.state.lower()})")
            if process.state == "RUNNING" and is_healthy(each, layout.port(each)):
                waiting.remove(each)
                reminded = time.monotonic()
                address = layout.url(each) if each.listens else ""
                print(f"{each.name:<16} healthy after {reminded - started:3.0f} s  {address}".rstrip(), flush=True)
            elif time.monotonic() - waiting_since > each.deadline_seconds:
                raise _failure(layout, each, f"was not healthy within {each.deadline_seconds} seconds")
        if waiting and time.monotonic() - reminded > _REMINDER_SECONDS:
            reminded = time.monotonic()
            print(f"waiting for {', '.join(each.name for each in waiting)} ...", flush=True)
        time.sleep(_POLL_SECONDS if waiting else 0)


def _take_down(supervisor: Supervisor) -> None:
    print("Stopping the stack ...", flush=True)
    started_by_us = supervisor.descendants()
    supervisor.stop_all()
    reminded = time.monotonic()
    while left := [name for name, process in supervisor.processes().items() if not process.has_ended]:
        if time.monotonic() - reminded > _REMINDER_SECONDS:
            reminded = time.monotonic()
            print(f"waiting for {', '.join(sorted(left))} to end ...", flush=True)
        started_by_us |= supervisor.descendants()
        time.sleep(_POLL_SECONDS)
    supervisor.shut_down()
    kill_survivors(started_by_us)


def _failure(layout: Layout, failed: Component, what: str) -> StackError:
    log = layout.log(failed)
    return StackError(f"{failed.name} {what}; its log is {log}\n{last_lines(log)}")


def _become(wanted: Component) -> None:
    """Replace this process by a component of the recorded stack: then supervisord's child is the component itself."""
    layout = recorded_layout()
    if layout is None:
        raise StackError("no stack was started here")
    environment = {**os.environ, **stack_environment(layout), **wanted.environment}
    command = wanted.command(layout.port(wanted), layout.data(wanted))
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    sys.exit(main())
