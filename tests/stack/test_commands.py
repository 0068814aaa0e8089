"""`up` refuses a taken port with the way out, and the commands that need no stack work without one."""

import socket

import pytest

from stack.__main__ import check_ports, main
from stack.components import STACK
from stack.health import free_port
from stack.layout import Layout, StackError


@pytest.fixture
def free_layout(tmp_path):
    return Layout(tmp_path, {variable: free_port() for variable in {each.port_variable for each in STACK}})


def test_a_port_in_use_is_named_with_the_variable_that_moves_it(free_layout):
    with socket.create_server(("127.0.0.1", free_layout.ports["AZURITE_PORT"])):
        with pytest.raises(StackError) as caught:
            check_ports(free_layout)
    [line] = str(caught.value).splitlines()
    port = free_layout.ports["AZURITE_PORT"]
    assert (
        line == f"port {port} for azurite is in use by another program; choose another one: make up AZURITE_PORT=<port>"
    )


def test_free_ports_pass(free_layout):
    check_ports(free_layout)


def test_up_reports_a_taken_port_and_starts_nothing(free_layout, monkeypatch, capsys):
    monkeypatch.setenv("SKYFERRY_STACK", str(free_layout.state))
    for variable, port in free_layout.ports.items():
        monkeypatch.setenv(variable, str(port))
    with socket.create_server(("127.0.0.1", free_layout.ports["MOTO_PORT"])):
        assert main(["up"]) == 1
    assert capsys.readouterr().err.startswith(f"error: port {free_layout.ports['MOTO_PORT']} for moto is in use")
    assert list(free_layout.state.iterdir()) == []


def test_without_a_stack_down_is_harmless_and_status_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SKYFERRY_STACK", str(tmp_path))
    assert main(["down"]) == 0
    assert main(["status"]) == 1
    assert "not running" in capsys.readouterr().out
    assert main(["on", "transfer"]) == 1
    assert main(["env"]) == 0
    assert "export AIRFLOW_HOME=" in capsys.readouterr().out
