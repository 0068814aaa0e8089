"""Runs `transfer` as a person does: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from skyferry.config_folder import project_folder

CODE = "import sys; sys.argv[0] = 'transfer'; from skyferry.cli import main; main()"
_OURS = ("SKYFERRY_", "TRANSFER_", "XDG_")


def transfer(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout_seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Return what the command did; of the variables of this process it sees none of ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        capture_output=True,
        text=True,
        env={**inherited, "PYTHONPATH": str(project_folder() / "include"), "COLUMNS": "100", **(environ or {})},
        cwd=folder or project_folder(),
        timeout=timeout_seconds,
        check=False,
        stdin=subprocess.DEVNULL,
    )
