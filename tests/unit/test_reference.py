"""The generated files are current, and --check notices when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry import reference
from skyferry.config_folder import project_folder
from skyferry.request import parameter_names


def test_the_generated_files_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"]) == 0, capsys.readouterr().out


def test_check_shows_the_difference_and_writing_settles_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = Path("include/config/routes/orders_to_lake.yaml")
    (tmp_path / example).parent.mkdir(parents=True)
    (tmp_path / example).write_text((project_folder() / example).read_text())
    monkeypatch.setattr(reference, "project_folder", lambda: tmp_path)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    page = tmp_path / "docs/reference/parameters.md"
    page.write_text(page.read_text().replace("`on_conflict`", "`on_confluct`"))
    capsys.readouterr()
    assert reference.main(["--check"]) == 1
    shown = capsys.readouterr()
    assert "-| `on_confluct`" in shown.out
    assert "+| `on_conflict`" in shown.out
    assert "python -m skyferry.reference" in shown.err


def test_every_parameter_is_in_the_reference() -> None:
    page = (project_folder() / "docs/reference/parameters.md").read_text()
    assert [name for name in parameter_names() if f"| `{name}` |" not in page] == []


def test_another_argument_is_a_usage_error() -> None:
    assert reference.main(["--chekc"]) == 2
