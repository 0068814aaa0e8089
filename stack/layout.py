"""Where one local stack keeps its state, and on which ports it listens."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.components import STACK, Component

ROOT: Final = Path(__file__).resolve().parent.parent
STATE_VARIABLE: Final = "SKYFERRY_STACK"


class StackError(Exception):
    """Something the user can put right; the message is all that is shown."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and ports of one stack.

    Args:
        state: The folder with everything the stack writes; deleting it (after `down`) resets the stack.
        ports: Port by variable name, for every component of the stack.
    """

    state: Path
    ports: Mapping[str, int]

    @property
    def airflow_home(self) -> Path:
        return self.state / "airflow"

    @property
    def exchange(self) -> Path:
        """The local folder that transfers of the stack may read and write."""
        return self.state / "exchange"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def recorded_ports(self) -> Path:
        return self.state / "ports.json"

    @property
    def access_file(self) -> Path:
        """Where the command `transfer` finds address and login of this stack's Airflow."""
        return self.state / "airflow.yaml"

    def data(self, component: Component) -> Path:
        """The folder in which an emulator may keep its data."""
        return self.state / component.name

    def log(self, component: Component) -> Path:
        return self.logs / f"{component.name}.log"

    def port(self, component: Component) -> int:
        return self.ports[component.port_variable]

    def url(self, component: Component) -> str:
        return component.url(self.port(component))

    def record_ports(self) -> None:
        """Write the ports down, so that later commands find this stack without being told again."""
        self.recorded_ports.write_text(json.dumps(dict(self.ports), indent=2) + "\n", encoding="utf-8")


def state_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(STATE_VARIABLE) or ROOT / ".stack").absolute()


def wanted_layout(environ: Mapping[str, str] = os.environ) -> Layout:
    """The layout that the environment asks for: a port variable where it is set, the default where not.

    Raises:
        StackError: A variable is not a port number, or two components would share one port.
    """
    ports = {each.port_variable: _port(each, environ) for each in STACK}
    for variable, port in ports.items():
        for other, taken in ports.items():
            if variable < other and port == taken:
                raise StackError(f"{variable} and {other} are both {port}; each component needs its own port.")
    return Layout(state_folder(environ), ports)


def recorded_layout(environ: Mapping[str, str] = os.environ) -> Layout | None:
    """The layout of the stack that was started last, or None if none was."""
    state = state_folder(environ)
    try:
        ports = json.loads((state / "ports.json").read_text(encoding="utf-8"))
        return Layout(state, {each.port_variable: int(ports[each.port_variable]) for each in STACK})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _port(component: Component, environ: Mapping[str, str]) -> int:
    text = environ.get(component.port_variable, "")
    if not text:
        return component.default_port
    # isascii: int() would also take digits of other scripts, which no other tool would read as this port.
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise StackError(f"{component.port_variable} is {text!r}; expected a port number from 1 to 65535.")
    return int(text)
