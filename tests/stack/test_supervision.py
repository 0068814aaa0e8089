"""supervisord's configuration is valid, and holds nothing that a folder's name could turn into something else."""

import configparser
from pathlib import Path

import pytest

from stack.components import STACK
from stack.layout import Layout
from stack.supervision import CONFIGURATION, Supervisor, configuration

PORTS = {each.port_variable: each.default_port for each in STACK}


def parsed(text):
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def test_every_component_is_a_program_that_ends_with_its_whole_group():
    file = parsed(configuration(STACK, "/tmp/x.sock"))
    for each in STACK:
        program = file[f"program:{each.name}"]
        assert program["command"] == f"python -m stack exec {each.name}"
        assert program["stopasgroup"] == program["killasgroup"] == "true"
        assert program["autostart"] == ("true" if each.kind == "emulator" else "false")


@pytest.mark.parametrize("name", ["short", "x" * 120, "a b;c#d", "100%(here)s"])
def test_the_socket_is_reachable_from_any_folder(tmp_path, name):
    state = tmp_path / name
    state.mkdir()
    supervisor = Supervisor(Layout(state, PORTS))
    socket = supervisor._new_socket_path()
    (state / CONFIGURATION).write_text(configuration(STACK, socket))
    assert supervisor._socket_path() == socket
    assert len(socket.encode()) <= 90
    if Path(socket).parent != state:
        Path(socket).parent.rmdir()


def test_nothing_runs_where_nothing_was_started(tmp_path):
    assert not Supervisor(Layout(tmp_path, PORTS)).is_running()
