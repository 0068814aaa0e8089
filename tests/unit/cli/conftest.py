"""The command line in this process: what a person sees, a hundred times quicker than in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def transfer_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return a function that runs `transfer` with these arguments; it sees none of this process's own variables."""

    def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Done:
        from skyferry.cli import main

        for name in list(os.environ):
            if name.startswith(("SKYFERRY_", "TRANSFER_", "XDG_")):
                monkeypatch.delenv(name)
        for name, value in {"COLUMNS": "100", **(environ or {})}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["transfer", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    return run
