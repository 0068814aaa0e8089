"""The entry points that this checkout declares, for processes in which another one may be installed."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from skyferry.config_folder import project_folder


def declared_path(folder: Path) -> str:
    """Return a PYTHONPATH with this checkout and its entry points, whatever was installed before.

    Args:
        folder: The entry points are written there.
    """
    project = project_folder()
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]["entry-points"]
    about = folder / "installed" / "skyferry-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: skyferry\nVersion: 0\n")
    lines = [f"[{group}]\n{name} = {value}\n" for group, found in declared.items() for name, value in found.items()]
    (about / "entry_points.txt").write_text("".join(lines))
    return os.pathsep.join(str(place) for place in (about.parent, project / "include", project / "plugins"))
