"""What commands say when there is no Airflow, when it is gone, and when options are wrong."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Transfer = Callable[..., Any]

COMMANDS = [
    ["--id", "orders"],
    ["run", "--id", "orders"],
    ["status"],
    ["statistic"],
    ["cancel", "a-run"],
    ["retry", "a-run", "--failed-only"],
]


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no Airflow is known."""
    (tmp_path / "airflow.yaml").write_text("url: http://127.0.0.1:1\n")
    return {"XDG_CONFIG_HOME": str(tmp_path), "TRANSFER_AIRFLOW_FILE": str(tmp_path / "airflow.yaml")}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_login_each_command_ends_with_2(
    command: list[str], nowhere: dict[str, str], transfer_here: Transfer
) -> None:
    done = transfer_here(*command, environ=nowhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert "write token, or user and password, into that file" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_airflow_that_does_not_answer_is_exit_code_3(command: list[str], transfer_here: Transfer) -> None:
    with socket.socket() as bound:  # bound, and nobody listens: the port is nobody else's meanwhile
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        done = transfer_here(*command, environ={"TRANSFER_AIRFLOW_URL": url, "TRANSFER_AIRFLOW_TOKEN": "sentinel"})
    assert (done.returncode, done.stdout) == (3, "")
    assert f"Airflow is unreachable at {url} (from TRANSFER_AIRFLOW_URL): connection refused" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "sentinel" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--copy", "maybe"], '"maybe" is neither true nor false'),
        (["run", "--on-conflict", "overwrite"], "replace_if_different"),
        (["run", "--batch-objects", "many"], "--batch-objects"),
        (["run", "--sorce", "s3://x"], "--source"),
        (["statistic", "--since", "yesterday"], '"yesterday" is no time; expected for example 90m, 12h, 7d'),
        (["doctor", "--id", "orders", "--timeout", "15m"], "goes with --send-probe"),
        (["statistic", "--by", "week"], "route"),
        (["status", "--limit", "0"], "--limit"),
        (["status", "--objects"], "it goes with --run"),
        (["status", "--run", "r", "--objects", "--watch"], "and not with --watch"),
        (["--id", "orders", "status"], "stand after the command: transfer status"),
        (["statistics"], "Did you mean 'statistic'"),
        (["cancel"], "RUN"),
    ],
)
def test_a_wrong_option_is_exit_code_2_and_says_what_is_right(
    arguments: list[str], message: str, transfer_here: Transfer
) -> None:
    done = transfer_here(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_there_is_an_option_for_each_parameter(transfer_here: Transfer) -> None:
    from skyferry.request import parameter_names

    text = transfer_here("run", "--help").stdout
    for name in parameter_names():
        assert f"--{name.replace('_', '-')}" in text
