"""The texts of the command line for its reference page: names, help and exit codes, as the commands have them."""

from __future__ import annotations

from collections.abc import Mapping

from typer.testing import CliRunner

from skyferry.cli import app

_COLUMNS = "80"

EXIT_CODES: Mapping[int, str] = {
    0: "done; for what waits for a run: the run succeeded",
    1: "the run failed, or left no report; of storage verbs: there is nothing of that name, or something failed",
    2: "usage or configuration: nothing was started or changed",
    3: "Airflow is unreachable; try again later",
    130: "interrupted with Ctrl-C; the run goes on unless you cancelled it",
}


def command_names() -> list[str]:
    """Return all commands in the order of the help, as `transfer config list`."""
    names = ["transfer"]
    names += [f"transfer {_name(command.name, command.callback)}" for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names.append(f"transfer {group.name}")
        names += [
            f"transfer {group.name} {_name(command.name, command.callback)}"
            for command in group.typer_instance.registered_commands
        ]
    return names


def help_text(name: str) -> str:
    """Return what a command says about itself, lines of at most 80 characters."""
    arguments = [*name.split()[1:], "--help"]
    done = CliRunner().invoke(app, arguments, prog_name="transfer", env={"COLUMNS": _COLUMNS})
    return "\n".join(line.rstrip() for line in done.output.splitlines()).strip("\n")


def _name(name: str | None, callback: object) -> str:
    return name or str(getattr(callback, "__name__", ""))
