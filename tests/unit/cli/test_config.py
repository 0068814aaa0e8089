"""`transfer config ...` as a person types it: output, exit codes, and one message for each mistake."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from skyferry import __version__
from skyferry.config_folder import project_folder
from tests.unit.cli.command import transfer as run_transfer

ROUTE = "id: {id}\nsource: {{url: s3://shop/{id}}}\ndestination: {{url: az://lake/{id}}}\n"


def transfer(
    *arguments: str, config: Path | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return run_transfer(*arguments, environ={"SKYFERRY_CONFIG": str(config)} if config else {}, folder=folder)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two good routes and one that is wrong."""
    (tmp_path / "routes").mkdir()
    for route_id in ("orders", "invoices"):
        (tmp_path / "routes" / f"{route_id}.yaml").write_text(ROUTE.format(id=route_id))
    (tmp_path / "routes" / "wrong.yaml").write_text(ROUTE.format(id="wrong") + "copi: {}\n")
    return tmp_path


def test_list_shows_the_routes_and_names_wrong_files_on_standard_error(config: Path) -> None:
    done = transfer("config", "list", config=config)
    assert done.returncode == 0
    for text in ("orders", "s3://shop/orders/", "az://lake/invoices/"):
        assert text in done.stdout
    assert "wrong" not in done.stdout
    assert 'wrong.yaml:4: "copi" is not a known name; did you mean "copy"?' in done.stderr


def test_list_as_json_is_data_only(config: Path) -> None:
    done = transfer("config", "list", "--json", config=config)
    assert [route["id"] for route in json.loads(done.stdout)] == ["invoices", "orders"]


def test_show_has_every_value(config: Path) -> None:
    done = transfer("config", "show", "orders", config=config)
    assert done.returncode == 0
    for text in ("transfer__orders", "source_conn_id", "aws_default", "replace_if_different", "4294967296"):
        assert text in done.stdout
    shown = json.loads(transfer("config", "show", "orders", "--json", config=config).stdout)
    assert shown["route"]["source"]["url"] == "s3://shop/orders/"
    assert shown["request"]["copy"] is True


def test_an_unknown_route_is_one_line_and_exit_code_2(config: Path) -> None:
    done = transfer("config", "show", "order", config=config)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'no route "order"; did you mean "orders"? Known routes: invoices, orders, wrong. See: transfer config list\n'
    )


def test_a_wrong_route_is_one_line_and_exit_code_2(config: Path) -> None:
    done = transfer("config", "show", "wrong", config=config)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "wrong.yaml:4" in done.stderr


def test_validate_names_each_file_and_fails_if_one_is_wrong(config: Path) -> None:
    done = transfer("config", "validate", config=config, folder=config)
    assert done.returncode == 2
    assert "routes/orders.yaml" in done.stdout
    assert "1 wrong" in done.stdout
    assert done.stderr.startswith("routes/wrong.yaml:4:")
    (config / "routes" / "wrong.yaml").unlink()
    assert transfer("config", "validate", config=config).returncode == 0


def test_validate_takes_single_files(config: Path) -> None:
    assert transfer("config", "validate", "routes/orders.yaml", config=config, folder=config).returncode == 0
    done = transfer("config", "validate", "routes/orders.yaml", "absent.yaml", config=config, folder=config)
    assert done.returncode == 2
    assert done.stderr == "absent.yaml: the file cannot be read: No such file or directory\n"


def test_validate_checks_the_defaults(config: Path) -> None:
    (config / "routes" / "wrong.yaml").unlink()
    (config / "defaults.yaml").write_text("local_root: []\n")
    done = transfer("config", "validate", config=config)
    assert done.returncode == 2
    assert 'defaults.yaml:1: "local_root" is not a known name; did you mean "local_roots"?' in done.stderr


def test_validate_as_json(config: Path) -> None:
    done = transfer("config", "validate", "--json", config=config, folder=config)
    assert (done.returncode, done.stderr) == (2, "")
    answer = json.loads(done.stdout)
    assert answer["valid"] is False
    assert answer["files"][-1]["problems"] == [
        {"line": 4, "message": '"copi" is not a known name; did you mean "copy"?'}
    ]


def test_schema_is_a_json_schema() -> None:
    done = transfer("config", "schema")
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))
    assert done.stdout == (project_folder() / "include/config/route.schema.json").read_text()


def test_the_version() -> None:
    assert transfer("--version").stdout == f"transfer {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        *([], ["run"], ["status"], ["statistic"], ["cancel"], ["retry"]),
        *(["config", *rest] for rest in ([], ["remove"], ["list"], ["show"], ["validate"], ["schema"])),
    ],
)
def test_help_ends_with_an_example_of_the_command(command: list[str], transfer_here: Callable[..., Any]) -> None:
    done = transfer_here(*command, "--help")
    assert done.returncode == 0
    example = done.stdout.strip().splitlines()[-1].strip()
    assert example.startswith(" ".join(["Example: transfer", *command]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["confg"], "Did you mean 'config'?"),
        (["config", "shw"], "Did you mean 'show'?"),
        (["config", "list", "--jsn"], "--json"),
        (["config", "show"], "ID"),
    ],
)
def test_usage_mistakes_exit_with_2_and_a_hint(arguments: list[str], message: str) -> None:
    done = transfer(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_control_characters_and_markup_in_a_route_are_shown_literally(config: Path) -> None:
    text = ROUTE.format(id="orders") + 'description: "[red]x[/red] \\e[2J"\ndata: "[a-z]"\n'
    (config / "routes" / "orders.yaml").write_text(text)
    done = transfer("config", "show", "orders", config=config)
    assert "[red]x[/red] \\x1b[2J" in done.stdout
    assert "[a-z]" in done.stdout


def test_validate_names_routes_that_disagree_about_their_queue(config: Path) -> None:
    queue = "detect: {{kind: sqs, queue_url: 'https://sqs.example.com/1/orders', consumers: {}}}\n"
    for number, route_id in enumerate(("orders", "invoices"), start=1):
        (config / "routes" / f"{route_id}.yaml").write_text(ROUTE.format(id=route_id) + queue.format(number))
    done = transfer("config", "validate", config=config, folder=config)
    assert done.returncode == 2
    expected = 'orders.yaml:4: detect.consumers is "1" here and "2" in invoices.yaml, which reads the same queue\n'
    assert done.stderr.count(expected) == 1


def test_a_file_is_registered_once_and_replaced_only_when_that_is_said(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "from-a-colleague.yaml"
    file.write_text("# why\n" + ROUTE.format(id="new"))
    done = transfer("config", "--file", str(file), config=config)
    assert (done.returncode, done.stdout) == (0, "")
    assert "its DAG is transfer__new" in done.stderr
    stored = config / "routes" / "new.yaml"
    assert stored.read_text() == file.read_text()
    file.write_text("# changed\n" + ROUTE.format(id="new"))
    again = transfer("config", "--file", str(file), config=config)
    assert again.returncode == 2
    assert 'there is a route "new" already' in again.stderr
    assert "add --replace" in again.stderr
    assert stored.read_text().startswith("# why")
    replaced = transfer("config", "--file", str(file), "--replace", "--json", config=config)
    assert json.loads(replaced.stdout)["dag_id"] == "transfer__new"
    assert stored.read_text().startswith("# changed")


def test_a_wrong_file_is_not_registered_and_is_named_itself(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTE.format(id="mine") + "copi: {}\n")
    for name in (file, tmp_path / "gone.yaml"):
        done = transfer("config", "--file", str(name), config=config)
        assert done.returncode == 2
        assert name.name in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (config / "routes" / "mine.yaml").exists()


def test_a_route_is_removed(config: Path) -> None:
    assert transfer("config", "remove", "order", config=config).returncode == 2
    done = transfer("config", "remove", "orders", config=config)
    assert done.returncode == 0
    assert not (config / "routes" / "orders.yaml").exists()
