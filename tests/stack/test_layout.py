"""Ports and folders of a stack: from the environment, or from what a running stack wrote down."""

import pytest

from stack.components import STACK
from stack.layout import StackError, recorded_layout, wanted_layout


def test_unset_and_empty_variables_mean_the_default_ports():
    assert dict(wanted_layout({"MOTO_PORT": ""}).ports) == {each.port_variable: each.default_port for each in STACK}


@pytest.mark.parametrize("text", ["0", "65536", "-1", "80a", " 80", "٨٠", "5000.0"])
def test_a_port_that_is_none_is_named_with_its_variable(text):
    with pytest.raises(StackError, match="MOTO_PORT is .*expected a port number from 1 to 65535"):
        wanted_layout({"MOTO_PORT": text})


def test_two_components_cannot_share_a_port():
    with pytest.raises(StackError, match="AIRFLOW_PORT and MOTO_PORT are both 8080"):
        wanted_layout({"MOTO_PORT": "8080"})


def test_recorded_ports_are_found_again(tmp_path):
    environ = {"SKYFERRY_STACK": str(tmp_path), "GCS_PORT": "4999"}
    layout = wanted_layout(environ)
    layout.record_ports()
    assert recorded_layout({"SKYFERRY_STACK": str(tmp_path)}) == layout


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"MOTO_PORT": "x"}'])
def test_a_damaged_record_means_that_nothing_runs(tmp_path, text):
    (tmp_path / "ports.json").write_text(text)
    assert recorded_layout({"SKYFERRY_STACK": str(tmp_path)}) is None
