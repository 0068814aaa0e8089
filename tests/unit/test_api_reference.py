"""The OpenAPI document and its page are those of the code."""

from __future__ import annotations

import json

import pytest

from skyferry import reference
from transfer_api.api_reference import generated_files


def test_the_generated_files_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"], files=generated_files(), module="x") == 0, capsys.readouterr().out


def test_every_operation_says_what_its_errors_are() -> None:
    document = json.loads(next(text for path, text in generated_files().items() if path.suffix == ".json"))
    for path, methods in document["paths"].items():
        for operation in methods.values():
            errors = {status: each for status, each in operation["responses"].items() if int(status) >= 400}
            assert path == "/health" or {"401", "403", "422", "503"} <= set(errors)
            assert all(list(each["content"]) == ["application/problem+json"] for each in errors.values())
            assert operation["summary"]
            assert operation["description"]
    assert document["components"]["schemas"]["Problem"]["required"] == ["title", "status", "code", "detail"]
